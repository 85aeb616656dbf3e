// Points by WebGL2. Positions stay on the GPU: moving the camera or the animation sets three uniforms.
import type { Look, PointRenderer, Shot } from "./renderer";

const VERTEX = `#version 300 es
in vec2 a; in vec2 b; in vec4 c;
uniform vec2 at; uniform vec2 k; uniform float mixed; uniform float size;
out vec4 colour;
void main() { gl_Position = vec4((mix(a, b, mixed) - at) * k, 0., 1.); gl_PointSize = size + 1.; colour = c; }`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec4 colour; uniform float size; out vec4 o;
void main() {
  float r = length(gl_PointCoord - .5) * (size + 1.);
  float alpha = colour.a * clamp(size * .5 - r + .5, 0., 1.);
  o = vec4(colour.rgb * alpha, alpha);
}`;

const TIMED = 5;
const TIMED_CELLS = 20_000; // fewer are quick on whatever draws them

export class GlPoints implements PointRenderer {
  readonly name = "webgl2";
  private readonly program: WebGLProgram;
  private readonly buffers: Record<"a" | "b" | "c" | "order", WebGLBuffer>;
  private readonly at: Record<"at" | "k" | "mixed" | "size", WebGLUniformLocation | null>;
  private n = 0;
  private split = 0;
  private timed = 0; // draws since the number of points changed
  private readonly lost: (event: Event) => void;

  constructor(readonly canvas: HTMLCanvasElement, private readonly gl: WebGL2RenderingContext, onLost: () => void) {
    this.program = link(gl);
    const buffer = () => gl.createBuffer()!;
    this.buffers = { a: buffer(), b: buffer(), c: buffer(), order: buffer() };
    const uniform = (name: string) => gl.getUniformLocation(this.program, name);
    this.at = { at: uniform("at"), k: uniform("k"), mixed: uniform("mixed"), size: uniform("size") };
    this.point("a", 2, gl.FLOAT, false);
    this.point("b", 2, gl.FLOAT, false);
    this.point("c", 4, gl.UNSIGNED_BYTE, true);
    this.lost = (event) => { event.preventDefault(); onLost(); };
    canvas.addEventListener("webglcontextlost", this.lost);
  }

  setPositions(from: Float32Array, to: Float32Array): void {
    const { gl, buffers } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.a);
    gl.bufferData(gl.ARRAY_BUFFER, from, gl.DYNAMIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.b);
    gl.bufferData(gl.ARRAY_BUFFER, to, gl.DYNAMIC_DRAW);
  }

  setLook({ rgba, order, split }: Look): void {
    const { gl, buffers } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.c);
    gl.bufferData(gl.ARRAY_BUFFER, rgba, gl.DYNAMIC_DRAW);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers.order);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
    if (this.n !== order.length) this.timed = 0;
    this.n = order.length;
    this.split = split;
  }

  draw({ camera, size, dpr, mix, point_px }: Shot): void {
    const { gl, canvas, at } = this;
    const w = Math.max(1, Math.round(size.w * dpr));
    const h = Math.max(1, Math.round(size.h * dpr));
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    gl.viewport(0, 0, w, h);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (this.n === 0) return;
    gl.useProgram(this.program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.uniform2f(at.at, camera.x, camera.y);
    gl.uniform2f(at.k, (2 * camera.scale * dpr) / w, (2 * camera.scale * dpr) / h);
    gl.uniform1f(at.mixed, mix);
    gl.uniform1f(at.size, point_px * dpr);
    gl.drawElements(gl.POINTS, this.split, gl.UNSIGNED_INT, 0);
    gl.uniform1f(at.size, (point_px + 1.2) * dpr);
    gl.drawElements(gl.POINTS, this.n - this.split, gl.UNSIGNED_INT, 4 * this.split);
    // Reading one pixel waits for the drawing, which else returns at once: whoever times the first draws learns the truth.
    if (this.n > TIMED_CELLS && this.timed++ < TIMED) gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  close(): void {
    this.canvas.removeEventListener("webglcontextlost", this.lost);
    this.gl.getExtension("WEBGL_lose_context")?.loseContext(); // a page has some 16 contexts; do not wait for a collection
  }

  private point(name: "a" | "b" | "c", items: number, type: number, normalised: boolean): void {
    const { gl } = this;
    const location = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, items, type, normalised, 0, 0);
  }
}

function link(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram()!;
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
    const shader = gl.createShader(type)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "WebGL could not link.");
  return program;
}
