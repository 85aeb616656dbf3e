// Points written into an ImageData by hand.
import type { Look, PointRenderer, Shot } from "./renderer";

export class CanvasPoints implements PointRenderer {
  readonly name = "canvas2d";
  readonly canvas = document.createElement("canvas");
  private readonly context = this.canvas.getContext("2d", { alpha: false })!;
  private image: ImageData | null = null;
  private pixels = new Uint32Array();
  private from: Float32Array = new Float32Array();
  private to: Float32Array = new Float32Array();
  private look: Look = { rgba: new Uint32Array(), order: new Uint32Array(), rare: 0, split: 0 };

  setPositions(from: Float32Array, to: Float32Array): void {
    this.from = from;
    this.to = to;
  }

  setLook(look: Look): void {
    this.look = look;
  }

  draw({ camera, size, dpr, mix, point_px, background, every }: Shot): void {
    const w = Math.max(1, Math.round(size.w * dpr));
    const h = Math.max(1, Math.round(size.h * dpr));
    if (this.canvas.width !== w || this.canvas.height !== h || !this.image) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.image = this.context.createImageData(w, h);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    this.pixels.fill(background);
    const place = { w, h, k: camera.scale * dpr, x: camera.x, y: camera.y, mix };
    const { rare, split, order } = this.look;
    const plain = disc(point_px * dpr);
    const hard = split > 150_000; // blending a million soft dots takes too long, and nobody sees their edges
    this.stamp(0, rare, every, plain, hard, place);
    this.stamp(rare, split, 1, plain, hard, place);
    this.stamp(split, order.length, 1, disc((point_px + 1.2) * dpr), order.length - split > 150_000, place);
    this.context.putImageData(this.image, 0, 0);
  }

  close(): void {
    this.canvas.width = this.canvas.height = 0; // frees the pixels now rather than at some collection
    this.image = null;
  }

  private stamp(begin: number, end: number, every: number, { d, cover }: Disc, hard: boolean, place: { w: number; h: number; k: number; x: number; y: number; mix: number }): void {
    const { w, h, k, x: cx, y: cy, mix } = place;
    const { pixels, from, to } = this;
    const { rgba, order } = this.look;
    const still = mix >= 1 || from === to;
    const left = w / 2 - d / 2;
    const top = h / 2 - d / 2;
    const is_dot = hard && d === 1;
    for (let at = begin; at < end; at += every) {
      const i = order[at];
      let x = to[2 * i];
      let y = to[2 * i + 1];
      if (!still) {
        x = from[2 * i] + (x - from[2 * i]) * mix;
        y = from[2 * i + 1] + (y - from[2 * i + 1]) * mix;
      }
      // Half a pixel more, cut off, is rounding.
      const fx = (x - cx) * k + left + 0.5;
      const fy = top - (y - cy) * k + 0.5;
      if (!(fx >= 0 && fy >= 0 && fx < w - d + 1 && fy < h - d + 1)) continue;
      const px = fx | 0;
      const py = fy | 0;
      const colour = rgba[i];
      if (is_dot) { pixels[py * w + px] = colour | 0xff000000; continue; }
      const alpha = colour >>> 24;
      let row = py * w + px;
      for (let dy = 0, c = 0; dy < d; dy++, row += w) {
        for (let dx = 0; dx < d; dx++, c++) {
          const a = (cover[c] * alpha) >> 8;
          if (a === 0) continue;
          if (hard || a > 250) { if (a > 96) pixels[row + dx] = colour | 0xff000000; continue; }
          const old = pixels[row + dx];
          const b = 256 - a;
          // Red and blue at once, then green: two multiplications a pixel.
          const rb = ((colour & 0xff00ff) * a + (old & 0xff00ff) * b) >>> 8;
          const g = ((colour & 0x00ff00) * a + (old & 0x00ff00) * b) >>> 8;
          pixels[row + dx] = 0xff000000 | (rb & 0xff00ff) | (g & 0x00ff00);
        }
      }
    }
  }
}

interface Disc { d: number; cover: Uint16Array }
const discs = new Map<number, Disc>();

/** How much of each pixel a dot of this diameter covers, 0 to 256. */
function disc(diameter: number): Disc {
  const key = Math.max(1, Math.round(diameter)); // a whole number of pixels: at 3.3 a dot looks like a diamond
  const held = discs.get(key);
  if (held) return held;
  const d = key;
  const cover = new Uint16Array(d * d);
  for (let y = 0; y < d; y++) for (let x = 0; x < d; x++) {
    const r = Math.hypot(x + 0.5 - d / 2, y + 0.5 - d / 2);
    cover[y * d + x] = Math.round(256 * Math.min(1, Math.max(0, key / 2 - r + 0.5)));
  }
  const made = { d, cover };
  discs.set(key, made);
  return made;
}
