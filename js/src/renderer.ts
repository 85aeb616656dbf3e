// Points on a canvas, drawn in one of two ways behind one interface. Without a GPU, WebGL is about 30 times slower
// than writing pixels by hand (a million cells: 660 ms against 19 ms a frame), so the choice is by the real renderer.
import type { Camera, Size } from "./camera";
import { CanvasPoints } from "./renderer_2d";
import { GlPoints } from "./renderer_gl";

/** How the points look: `order` lists those drawn, plain ones first, then from `split` on the ones to stand out. */
export interface Look { rgba: Uint32Array; order: Uint32Array; split: number }
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

let hasGpu: boolean | undefined; // asked once a page: each question costs a GL context

export function makeRenderer(onLost: () => void): PointRenderer {
  if (hasGpu !== false) {
    const canvas = document.createElement("canvas");
    const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true, powerPreference: "high-performance" });
    hasGpu = gl !== null && isHardware(gl);
    if (gl && hasGpu) {
      try {
        return new GlPoints(canvas, gl, onLost);
      } catch {
        hasGpu = false; // a driver that can't compile the shader
      }
    }
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
  }
  return new CanvasPoints();
}

function isHardware(gl: WebGL2RenderingContext): boolean {
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}
