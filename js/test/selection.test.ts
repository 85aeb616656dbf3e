import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { numbersOf, rampColour, scaleOf } from "../src/colour";
import { positions, type MapFrame, type ValuesFrame } from "../src/frames";
import { pointsInPolygon } from "../src/geometry";
import { isEverywhere, joined, passing, type Op } from "../src/selection";

interface Golden {
  xy: number[][]; bounds: [number, number, number, number]; quantised: number[][]; values: (number | null)[];
  lassos: { polygon: number[][]; inside: number[] }[]; gates: { op: Op; threshold: number; inside: number[] }[];
}
const golden = JSON.parse(readFileSync(join(import.meta.dirname, "../../tests/golden/select.json"), "utf8")) as Golden;

describe("selections, the same cells as in Python", () => {
  const frame = { xy: Uint16Array.from(golden.quantised.flat()), bounds: golden.bounds } as MapFrame;

  it.each(golden.lassos.map((lasso, i) => [i, lasso] as const))("lasso %i", (_, { polygon, inside }) => {
    expect(inside.length).toBeGreaterThan(0);
    expect(pointsInPolygon(positions(frame), polygon.flat())).toEqual(inside);
  });

  it.each(golden.gates.map((gate, i) => [i, gate] as const))("gate %i", (_, { op, threshold, inside }) => {
    const values = Float32Array.from(golden.values.map((v) => v ?? NaN));
    expect(passing(values, op, threshold)).toEqual(inside);
  });

  it("adds, subtracts, replaces and inverts", () => {
    const a = joined(null, 5, "replace", [0, 1, 2]);
    const b = joined(a, 5, "add", [4]);
    const c = joined(b, 5, "subtract", [1]);
    expect([...a]).toEqual([1, 1, 1, 0, 0]); // left as it was
    expect([...c]).toEqual([1, 0, 1, 0, 1]);
    expect([...joined(c, 5, "invert", [])]).toEqual([0, 1, 0, 1, 0]);
    expect([...joined(c, 5, "replace", [3])]).toEqual([0, 0, 0, 1, 0]);
    expect([...joined(null, 3, "invert", [])]).toEqual([1, 1, 1]);
  });

  it("means something off the map unless it was drawn there", () => {
    expect(isEverywhere([{ mode: "replace", kind: "gene" }, { mode: "invert" }, { mode: "add", kind: "flag" }])).toBe(true);
    expect(isEverywhere([{ mode: "replace", kind: "gene" }, { mode: "add", kind: "lasso" }])).toBe(false);
    expect(isEverywhere([{ mode: "replace", kind: "prototype" }])).toBe(false);
  });
});

describe("the scale of numbers", () => {
  it("is not stretched by one strange cell, and leaves out what has no value", () => {
    const values = Float32Array.from([...Array.from({ length: 300 }, (_, i) => i / 100), 500, NaN, NaN]);
    const scale = scaleOf(values);
    expect(scale.low).toBe(0);
    expect(scale.high).toBeCloseTo(2.97, 2);
    expect([scale.is_cut, scale.n_none]).toEqual([true, 2]);
  });

  it("is never of zero width", () => {
    for (const values of [[], [NaN], [2, 2, 2]]) {
      const { low, high } = scaleOf(Float32Array.from(values));
      expect(high).toBeGreaterThan(low);
    }
    expect(scaleOf(Float32Array.from([...new Array<number>(500).fill(0), 3])).high).toBe(3); // a rare gene is still seen
  });

  const light = (rgb: number) => [16, 8, 0].reduce((sum, shift, i) => sum + [0.2126, 0.7152, 0.0722][i] * (((rgb >> shift) & 255) / 255) ** 2.2, 0);

  it.each([[false, -1], [true, 1]])("goes by lightness alone, one way (dark: %s)", (dark, way) => {
    const steps = Array.from({ length: 21 }, (_, i) => light(rampColour(i / 20, dark)));
    for (let i = 1; i < steps.length; i++) expect(Math.sign(steps[i] - steps[i - 1])).toBe(way);
    expect(Math.abs(steps[20] - steps[0])).toBeGreaterThan(0.5);
  });

  it("is of the cells shown, or of none", () => {
    const map = { panel: 2, n: 3, p_value: new Float32Array(3) } as MapFrame;
    const values = { state: "ready", panel: 2, n: 3, names: null, values: new Float32Array(3) } as ValuesFrame;
    expect(numbersOf(map, "values", values)).toBe(values.values);
    expect(numbersOf(map, "values", { ...values, panel: 3 })).toBeNull();
    expect(numbersOf(map, "values", { ...values, names: ["a"] })).toBeNull();
    expect(numbersOf(map, "label", values)).toBeNull();
    expect(numbersOf(map, "novelty", null)).toBe(map.p_value);
  });
});
