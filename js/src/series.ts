// The loss curves as the browser holds them: append, cut, or notice that points were lost.
import type { Series } from "./frames";

export interface Curve { name: string; split: "train" | "validation"; n: number; steps: Uint32Array; values: Float32Array }

export class CurveBook {
  private readonly held = new Map<string, Curve>();

  /** In the order in which they first came. */
  get curves(): Curve[] {
    return [...this.held.values()];
  }

  get nTrain(): number {
    return this.curves.reduce((sum, curve) => sum + (curve.split === "train" ? curve.n : 0), 0);
  }

  clear(): void {
    this.held.clear();
  }

  /** False where the piece begins after what is held: points were lost, and it was left out. */
  add(piece: Series): boolean {
    const key = `${piece.split}\n${piece.name}`;
    const curve = this.held.get(key) ?? { name: piece.name, split: piece.split, n: 0, steps: new Uint32Array(64), values: new Float32Array(64) };
    if (piece.start > curve.n) return false;
    const n = piece.start + piece.n;
    if (n > curve.steps.length) {
      // Doubling keeps a long run's appends linear in all its points.
      const steps = new Uint32Array(Math.max(n, 2 * curve.steps.length));
      const values = new Float32Array(steps.length);
      steps.set(curve.steps.subarray(0, piece.start));
      values.set(curve.values.subarray(0, piece.start));
      curve.steps = steps;
      curve.values = values;
    }
    curve.steps.set(piece.steps, piece.start);
    curve.values.set(piece.values, piece.start);
    curve.n = n;
    this.held.set(key, curve);
    return true;
  }
}

export interface Line { steps: ArrayLike<number>; values: ArrayLike<number> }

/** At most two points (the lowest and the highest) for each of `buckets` runs, so that a spike is never thinned away. */
export function thin(curve: Line, buckets: number): { steps: number[]; values: number[] } {
  const n = curve.steps.length;
  const steps: number[] = [];
  const values: number[] = [];
  const take = (i: number) => { steps.push(curve.steps[i]); values.push(curve.values[i]); };
  if (n <= 2 * buckets) {
    for (let i = 0; i < n; i++) take(i);
    return { steps, values };
  }
  for (let bucket = 0; bucket < buckets; bucket++) {
    const from = Math.floor((bucket * n) / buckets);
    const to = Math.floor(((bucket + 1) * n) / buckets);
    let low = from;
    let high = from;
    for (let i = from + 1; i < to; i++) {
      if (curve.values[i] < curve.values[low]) low = i;
      if (curve.values[i] > curve.values[high]) high = i;
    }
    take(Math.min(low, high));
    if (low !== high) take(Math.max(low, high));
  }
  return { steps, values };
}

/** Exponential moving average over about `span` points, corrected for its start; a NaN is passed over. */
export function smooth(values: ArrayLike<number>, span: number): number[] {
  const keep = 1 - 1 / Math.max(1, span);
  const out: number[] = [];
  let sum = 0;
  let weight = 0;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isNaN(values[i])) {
      sum = keep * sum + (1 - keep) * values[i];
      weight = keep * weight + (1 - keep);
    }
    out.push(weight > 0 ? sum / weight : NaN);
  }
  return out;
}

/** Lines of different steps on one shared axis, as uPlot wants them; null where a line has no point. */
export function join(lines: readonly Line[]): [number[], ...(number | null)[][]] {
  const all = new Set<number>();
  for (const line of lines) for (let i = 0; i < line.steps.length; i++) all.add(line.steps[i]);
  const x = [...all].sort((a, b) => a - b);
  const at = new Map(x.map((step, i) => [step, i]));
  return [x, ...lines.map((line) => {
    const column = new Array<number | null>(x.length).fill(null);
    for (let i = 0; i < line.steps.length; i++) column[at.get(line.steps[i])!] = Number.isFinite(line.values[i]) ? line.values[i] : null;
    return column;
  })];
}
