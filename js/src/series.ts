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

/**
 * The first and the last point, and between them at most two (the lowest and the highest) for each of `buckets` runs, so
 * that a spike is never thinned away, and one that is no number, so that a gap is not either.
 */
export function thin(curve: Line, buckets: number): { steps: number[]; values: number[] } {
  const n = curve.steps.length;
  const steps: number[] = [];
  const values: number[] = [];
  const take = (i: number) => { steps.push(curve.steps[i]); values.push(curve.values[i]); };
  if (n <= 2 * buckets + 2) {
    for (let i = 0; i < n; i++) take(i);
    return { steps, values };
  }
  const edge = (bucket: number) => 1 + Math.floor((bucket * (n - 2)) / buckets);
  take(0);
  for (let bucket = 0; bucket < buckets; bucket++) {
    let [low, high, gap] = [-1, -1, -1];
    for (let i = edge(bucket); i < edge(bucket + 1); i++) {
      const v = curve.values[i];
      if (!Number.isFinite(v)) { if (gap < 0) gap = i; continue; }
      if (low < 0 || v < curve.values[low]) low = i;
      if (high < 0 || v > curve.values[high]) high = i;
    }
    for (const i of [...new Set([low, high, gap])].sort((a, b) => a - b)) if (i >= 0) take(i);
  }
  take(n - 1);
  return { steps, values };
}

/** Means of at most `buckets` runs of points, each at its last step; NaN where a run has no number. */
export function average(curve: Line, buckets: number): { steps: number[]; values: number[] } {
  const n = curve.steps.length;
  const runs = Math.min(n, buckets);
  const steps: number[] = [];
  const values: number[] = [];
  for (let run = 0; run < runs; run++) {
    const to = Math.floor(((run + 1) * n) / runs);
    let [sum, count] = [0, 0];
    for (let i = Math.floor((run * n) / runs); i < to; i++) if (Number.isFinite(curve.values[i])) { sum += curve.values[i]; count++; }
    steps.push(curve.steps[to - 1]);
    values.push(count ? sum / count : NaN);
  }
  return { steps, values };
}

/**
 * Weighted means over about `span` points on both sides, weights falling exponentially: a one-sided mean would lag, and
 * show a loss that falls as higher than it is. What is no number stays none.
 */
export function smooth(values: ArrayLike<number>, span: number): number[] {
  const keep = 1 - 2 / Math.max(2, span);
  const n = values.length;
  const sums = new Float64Array(n);
  const weights = new Float64Array(n);
  for (const [from, to, way] of [[0, n, 1], [n - 1, -1, -1]]) {
    let [sum, weight] = [0, 0];
    for (let i = from; i !== to; i += way) {
      sum *= keep;
      weight *= keep;
      // Before the point itself on the way back: it counts once.
      if (way < 0) { sums[i] += sum; weights[i] += weight; }
      if (Number.isFinite(values[i])) { sum += values[i]; weight += 1; }
      if (way > 0) { sums[i] += sum; weights[i] += weight; }
    }
  }
  return Array.from(sums, (sum, i) => (Number.isFinite(values[i]) ? sum / weights[i] : NaN));
}
