// Points on a canvas: what either way of drawing them answers to. `make_renderer.ts` chooses.
import type { Camera, Size } from "./camera";

/** How the points look: `order` lists those drawn: plain ones, from `rare` on those that are never thinned, from `split` on the ones to stand out. */
export interface Look { rgba: Uint32Array; order: Uint32Array; rare: number; split: number }
export interface Shot { camera: Camera; size: Size; dpr: number; mix: number; point_px: number; background: number; every: number }

export interface PointRenderer {
  readonly name: "webgl2" | "canvas2d";
  readonly canvas: HTMLCanvasElement;
  /** Positions to move from and to; the same array twice where nothing moves. */
  setPositions(from: Float32Array, to: Float32Array): void;
  setLook(look: Look): void;
  draw(shot: Shot): void;
  close(): void;
}
