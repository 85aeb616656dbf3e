// Two ways to draw points. Without a GPU, WebGL is about 30 times slower than writing pixels by hand (a million
// cells: 660 ms against 19 ms a frame), so the choice is by the real renderer; the map then times its first draws, and
// leaves a WebGL that is slow after all.
import type { PointRenderer } from "./renderer";
import { CanvasPoints } from "./renderer_2d";
import { GlPoints } from "./renderer_gl";

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
