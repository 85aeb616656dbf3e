import { describe, expect, it } from "vitest";
import type { Series } from "../src/frames";
import { average, CurveBook, smooth, thin } from "../src/series";

const piece = (start: number, values: number[], name = "loss", split: "train" | "validation" = "train"): Series =>
  ({ name, split, start, n: values.length, steps: Uint32Array.from(values, (_, i) => 10 * (start + i)), values: Float32Array.from(values) });
const held = (book: CurveBook, i = 0) => Array.from(book.curves[i].values.subarray(0, book.curves[i].n));

describe("a piece of a curve", () => {
  it("that begins where the held one ends is appended", () => {
    const book = new CurveBook();
    expect(book.add(piece(0, [5, 4]))).toBe(true);
    expect(book.add(piece(2, [3]))).toBe(true);
    expect(held(book)).toEqual([5, 4, 3]);
    expect([...book.curves[0].steps.subarray(0, 3)]).toEqual([0, 10, 20]);
  });

  it("that begins earlier cuts there", () => {
    const book = new CurveBook();
    book.add(piece(0, [5, 4, 3, 2]));
    expect(book.add(piece(1, [9]))).toBe(true);
    expect(held(book)).toEqual([5, 9]);
    book.add(piece(0, []));
    expect(held(book)).toEqual([]);
  });

  it("that begins later is refused, and what is held stays", () => {
    const book = new CurveBook();
    book.add(piece(0, [5, 4]));
    expect(book.add(piece(3, [1]))).toBe(false);
    expect(held(book)).toEqual([5, 4]);
  });

  it("grows over many appends of uneven size without losing a point", () => {
    const book = new CurveBook();
    const all: number[] = [];
    for (let i = 0; i < 200; i++) {
      const values = Array.from({ length: (i * 7) % 13 }, (_, j) => i + j / 16);
      book.add(piece(all.length, values));
      all.push(...values);
    }
    expect(held(book)).toEqual(all);
  });

  it("of the same name but another split is another curve, and only train points are counted", () => {
    const book = new CurveBook();
    book.add(piece(0, [1, 2, 3]));
    book.add(piece(0, [1], "loss", "validation"));
    book.add(piece(0, [1, 2], "other"));
    expect(book.curves.map((curve) => [curve.name, curve.split, curve.n])).toEqual([["loss", "train", 3], ["loss", "validation", 1], ["other", "train", 2]]);
    expect(book.nTrain).toBe(5);
  });
});

describe("thinning", () => {
  it("leaves a short curve as it is", () => {
    expect(thin({ steps: [1, 2, 3], values: [3, 1, 2] }, 2)).toEqual({ steps: [1, 2, 3], values: [3, 1, 2] });
  });

  it("keeps the one spike in ten thousand points, in order of steps", () => {
    const values = new Float32Array(10_000).fill(1);
    values[6_543] = 50;
    const thinned = thin({ steps: Uint32Array.from(values, (_, i) => i), values }, 100);
    expect(thinned.steps.length).toBeLessThanOrEqual(202);
    expect([thinned.steps[0], thinned.steps.at(-1)]).toEqual([0, 9_999]);
    expect(thinned.values[thinned.steps.indexOf(6_543)]).toBe(50);
    expect(thinned.steps).toEqual([...thinned.steps].sort((a, b) => a - b));
  });
});

it("thinning keeps a gap: one value that is no number for each run that has any", () => {
  const values = new Float32Array(1_000).fill(2);
  values.fill(NaN, 100, 250);
  const thinned = thin({ steps: Uint32Array.from(values, (_, i) => i), values }, 10);
  const gaps = thinned.steps.filter((_, i) => Number.isNaN(thinned.values[i]));
  expect(gaps).toEqual([100, 200]); // runs of about a hundred, from the second point on
});

it("means of runs are those of their numbers, at their last steps", () => {
  const line = { steps: [10, 20, 30, 40, 50, 60, 70], values: [1, 3, NaN, 8, NaN, NaN, NaN] };
  expect(average(line, 3)).toEqual({ steps: [20, 40, 70], values: [2, 8, NaN] });
  expect(average(line, 100).values).toEqual(line.values);
});

describe("smoothing", () => {
  it("leaves a constant alone, and a gap where it was", () => {
    expect(smooth([2, 2, 2], 10)).toEqual([2, 2, 2].map((v) => expect.closeTo(v, 9)));
    expect(smooth([4, NaN, 4], 5)).toEqual([expect.closeTo(4, 9), NaN, expect.closeTo(4, 9)]);
  });

  it("is the weighted mean that its weights say, at every point", () => {
    const values = [3, 1, NaN, 7, 2, 2, 9, 4];
    const keep = 1 - 2 / 6;
    const slow = values.map((v, i) => {
      let [sum, weight] = [0, 0];
      values.forEach((other, j) => { if (!Number.isNaN(other)) { sum += other * keep ** Math.abs(i - j); weight += keep ** Math.abs(i - j); } });
      return Number.isNaN(v) ? NaN : expect.closeTo(sum / weight, 9);
    });
    expect(smooth(values, 6)).toEqual(slow);
  });

  it("does not lag: amid a straight line it is the line", () => {
    const straight = Array.from({ length: 400 }, (_, i) => 100 - i / 4);
    const smoothed = smooth(straight, 20);
    for (let i = 150; i < 250; i++) expect(smoothed[i]).toBeCloseTo(straight[i], 4);
  });

  it("over one point changes nothing", () => {
    expect(smooth([5, 1, 4], 1)).toEqual([5, 1, 4]);
  });
});
