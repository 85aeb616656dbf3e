import { describe, expect, it } from "vitest";
import type { Flag, Measure } from "../src/frames";
import { amount, qualityTable } from "../src/quality";

const flag = (measures: Measure[], more: Partial<Flag> = {}): Flag => ({
  id: 3, atlas: "a", n_cells: 9, p_value: 0.01, batches: [], n_batches: 0, nearest: [["NK", 1.5]], higher: [], lower: [], reason: "", state: "open", label: null, saved_at: null, measures, ...more,
});
const measure = (name: string, own: number | null, low: number | null, usual: number | null, high: number | null, overall: number | null): Measure => ({ name, flag: own, low, usual, high, overall });
const cells = (element: HTMLElement) => [...element.querySelectorAll("[role=row]")].slice(1).map((row) => [...row.children].map((child) => child.textContent));

it("each measure is written in its own unit", () => {
  expect([amount("depth", 4120.4), amount("mitochondrial share", 0.031), amount("doublet score", 0.8149), amount("S score", -0.02), amount("depth", null)])
    .toEqual(["4\u2009120", "3.1\u2009%", "0.81", "−0.02", "–"]);
});

describe("the table of a flag's quality", () => {
  it("is not there where nothing was measured", () => {
    expect(qualityTable(flag([]))).toEqual([]);
  });

  it("has the flag's number beside the type's and everybody's, and marks what lies beyond nine of ten cells", () => {
    const [table] = qualityTable(flag([measure("depth", 6900, 1100, 2600, 4800, 3105), measure("doublet score", 0.2, 0.05, 0.16, 0.44, 0.21)]));
    expect(cells(table)).toEqual([["depth", "6\u2009900", "", "2\u2009600", "3\u2009105"], ["doublet score", "0.20", "", "0.16", "0.21"]]);
    const odd = [...table.querySelectorAll("b")].map((b) => b.className);
    expect(odd).toEqual(["ll-odd", ""]);
  });

  it("puts the marks where the numbers are, to the right for more, below zero too", () => {
    const [table] = qualityTable(flag([measure("S score", 0.4, null, -0.1, null, 0), measure("depth", 500, 1000, 2000, 4000, 1500)]));
    const left = (kind: string, i: number) => parseFloat(table.querySelectorAll<HTMLElement>(`[role=row] .ll-band`)[i].querySelector<HTMLElement>(kind)!.style.left);
    expect(left(".ll-tick", 0)).toBe(0);
    expect(left(".ll-dot", 0)).toBeGreaterThan(90);
    expect(left(".ll-dot", 1)).toBeLessThan(left(".ll-range", 1));
    expect(left(".ll-tick", 1)).toBeCloseTo(2 * left(".ll-range", 1), 3);
    for (const mark of table.querySelectorAll<HTMLElement>(".ll-band i")) expect(parseFloat(mark.style.left)).toBeLessThanOrEqual(100);
  });

  it("says what was not measured, and the phases of the cell cycle in words", () => {
    const [table, cycle] = qualityTable(flag([measure("mitochondrial share", null, null, null, null, null)], { phases: [["S", 0.31], ["G2M", 0.12], ["G1", 0.57]] }));
    expect(cells(table)).toEqual([["mitochondrial share", "not measured"]]);
    expect(cycle.textContent).toBe("cell cycle: S 31\u2009% · G2M 12\u2009% · G1 57\u2009%");
  });

  it("shows a hostile type's name as text", () => {
    const name = "<img src=x onerror=alert(1)>";
    const [table] = qualityTable(flag([measure(name, 1, 0, 1, 2, 1)], { nearest: [[name, 1]] }));
    expect(table.querySelector("img")).toBeNull();
    expect(table.textContent).toContain(name);
  });
});
