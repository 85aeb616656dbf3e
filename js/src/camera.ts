// From layout units to the pixels of the pane, and back. One scale for both axes; y grows upwards in the layout.
import type { Point } from "./geometry";

export interface Camera { x: number; y: number; scale: number }
export interface Size { w: number; h: number }

export function toScreen(camera: Camera, size: Size, x: number, y: number): Point {
  return [(x - camera.x) * camera.scale + size.w / 2, size.h / 2 - (y - camera.y) * camera.scale];
}

export function toLayout(camera: Camera, size: Size, px: number, py: number): Point {
  return [(px - size.w / 2) / camera.scale + camera.x, (size.h / 2 - py) / camera.scale + camera.y];
}

export function fitBounds([x0, x1, y0, y1]: readonly number[], size: Size, margin = 28): Camera {
  const room = (length: number) => Math.max(40, length - 2 * margin);
  const scale = Math.min(room(size.w) / Math.max(x1 - x0, 1e-9), room(size.h) / Math.max(y1 - y0, 1e-9));
  return { x: (x0 + x1) / 2, y: (y0 + y1) / 2, scale };
}

/** Zooms by `factor` so that the layout point under (px, py) stays there. */
export function zoomAt(camera: Camera, size: Size, px: number, py: number, factor: number): Camera {
  const [x, y] = toLayout(camera, size, px, py);
  const scale = camera.scale * factor;
  return { scale, x: x - (px - size.w / 2) / scale, y: y + (py - size.h / 2) / scale };
}

export function mixCameras(a: Camera, b: Camera, share: number): Camera {
  const scale = a.scale * (b.scale / a.scale) ** share;
  return { x: a.x + (b.x - a.x) * share, y: a.y + (b.y - a.y) * share, scale };
}
