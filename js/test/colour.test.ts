import { describe, expect, it } from "vitest";
import { Colouring } from "../src/colouring";
import { colourCells, modes, strangeness, type Inks } from "../src/colour";
import type { Flag, FlagsFrame, MapFrame } from "../src/frames";
import { word } from "../src/palette";

const inks: Inks = { background: 0xffffff, unknown: 0xcccccc, flag: 0xc2410c, accent: 0x0b6bcb, dark: false };
const map: MapFrame = {
  kind: "map", seq: 1, n: 5, n_total: 5, bounds: [0, 1, 0, 1], layout: 1, panel: 1, moved: null, age_s: null, n_query: 2,
  label_names: ["B", "NK"], predicted_names: ["B", "NK"], batch_names: ["one"], given_names: [],
  xy: new Uint16Array(10), cell: Uint32Array.of(0, 1, 2, 3, 4), label: Uint16Array.of(0, 1, 65535, 65535, 1), predicted: Uint16Array.of(0, 1, 0, 1, 1),
  batch: new Uint16Array(5), p_value: Float32Array.of(NaN, 1, 0.001, 0.2, NaN), flag: Uint16Array.of(0, 0, 1, 2, 0), is_query: Uint8Array.of(0, 0, 1, 1, 0), given: new Uint16Array(5).fill(65535),
};
const flag = (id: number, state: Flag["state"]): Flag => ({ id, state, atlas: "", n_cells: 1, p_value: 0, batches: [], n_batches: 0, nearest: [], higher: [], lower: [], reason: "", label: null, saved_at: null });
const flags: FlagsFrame = { kind: "flags", seq: 1, target_fpr: 0.05, n_scored: 3, n_flagged: 2, calibration: "", curve: { target_fpr: [], n_flagged: [] }, flags: [flag(1, "open"), flag(2, "dismissed")] };
const plain = { focus: null, selected: null };
const last = (order: Uint32Array, split: number) => [...order.subarray(split)];

describe("which cells are on top", () => {
  it("flagged ones, in the flag's colour, unless the flag was dismissed", () => {
    const { look } = colourCells(map, "label", flags, plain, inks);
    expect(last(look.order, look.split)).toEqual([2]);
    expect(look.rgba[2]).toBe(word(inks.flag, 1));
    expect(look.rgba[3]).toBe(word(inks.unknown, 0.7));
  });

  it("those of the type in focus, and the rest turns grey", () => {
    const { look } = colourCells(map, "label", flags, { focus: 1, selected: null }, inks);
    expect(last(look.order, look.split)).toEqual([1, 4]);
    expect(look.rgba[0]).toBe(look.rgba[2]);
    expect([...look.order.subarray(look.rare, look.split)]).toContain(2); // flagged: greyed, and never thinned
  });

  it("those selected, before any focus", () => {
    const { look } = colourCells(map, "label", flags, { focus: 1, selected: Uint8Array.of(1, 0, 0, 0, 0) }, inks);
    expect(last(look.order, look.split)).toEqual([0]);
  });

  it("and every cell is drawn once, in every mode", () => {
    for (const [mode] of modes(map)) {
      const { look } = colourCells(map, mode, flags, plain, inks);
      expect([...look.order].sort()).toEqual([0, 1, 2, 3, 4]);
    }
  });
});

it("a rare type's cells are drawn after the common ones, where thinning takes none away", () => {
  const n = 1000;
  const label = Uint16Array.from({ length: n }, (_, i) => (i % 100 === 7 ? 1 : 0));
  const many = { ...map, n, label, flag: new Uint16Array(n), predicted: label, batch: new Uint16Array(n), is_query: new Uint8Array(n), given: new Uint16Array(n).fill(65535), p_value: new Float32Array(n).fill(NaN) };
  const { look } = colourCells(many, "label", null, plain, inks);
  expect([...look.order.subarray(look.rare, look.split)]).toEqual([7, 107, 207, 307, 407, 507, 607, 707, 807, 907]);
  expect([look.rare, look.split]).toEqual([990, 1000]);
});

it("only modes that mean something are offered", () => {
  expect(modes(map).map(([mode]) => mode)).toEqual(["label", "predicted", "novelty", "source"]);
  expect(modes({ ...map, p_value: new Float32Array(5).fill(NaN), n_query: 0 }).map(([mode]) => mode)).toEqual(["label", "predicted"]);
});

it("strangeness rises as p falls, within 0 and 1", () => {
  expect([1, 0.1, 0.01, 0.001, 0].map(strangeness)).toEqual([0, expect.closeTo(1 / 3, 9), expect.closeTo(2 / 3, 9), 1, 1]);
});

describe("colours are kept", () => {
  it("while only positions change, and made anew with anything that they come from", () => {
    const colouring = new Colouring();
    const of = (frame: MapFrame, mode = "label" as const, shown: FlagsFrame | null = flags, emphasis = plain, theme = inks) => colouring.of(frame, mode, shown, emphasis, theme, null);
    const first = of(map);
    expect(of({ ...map, layout: 2, xy: new Uint16Array(10), label_names: ["B", "NK"] })).toBe(first);
    const changes = [
      ...(["label", "predicted", "batch", "given", "p_value", "flag", "is_query"] as const).map((column) => () => of({ ...map, [column]: map[column].slice() })),
      ...(["label_names", "predicted_names", "batch_names", "given_names"] as const).map((names) => () => of({ ...map, [names]: ["B", "T"] })),
      () => of(map, "label", { ...flags }), () => of(map, "label", flags, { ...plain, focus: 1 } as never), () => of(map, "label", flags, plain, { ...inks, dark: true }),
      () => of(map, "batch" as never), () => of(map, "label", flags, { ...plain, selected: new Uint8Array(5) } as never),
      () => colouring.of(map, "label", flags, plain, inks, { state: "ready" } as never),
    ];
    for (const change of changes) {
      const before = of(map);
      expect(of(map)).toBe(before);
      expect(change()).not.toBe(before);
    }
    expect(of({ ...map, label: Uint16Array.of(1, 1, 1, 1, 1) }).look.rgba[0]).not.toBe(first.look.rgba[0]);
  });
});

describe("colours that the data bring", () => {
  const own = { ...map, label_colours: ["#1F77B4", null], batch_colours: ["#00ff00"] };

  it("are a type's wherever its name stands, and the others keep ours", () => {
    const ours = colourCells(map, "label", flags, plain, inks).colours;
    for (const mode of ["label", "predicted"] as const) expect(colourCells(own, mode, flags, plain, inks).colours).toEqual([0x1f77b4, ours[1]]);
    expect(colourCells({ ...own, given_names: ["new", "B"] }, "given", flags, plain, inks).colours).toEqual([ours[0], 0x1f77b4]);
    expect(colourCells(own, "batch", flags, plain, inks).colours).toEqual([0x00ff00]);
    expect(colourCells(own, "source", flags, plain, inks).colours).toEqual(ours);
  });

  it("are a column's as well", () => {
    const values = { kind: "values", seq: 1, by: "obs", name: "louvain", state: "ready", message: "", number: 1, panel: 1, n: 5, unit: "", names: ["0", "1"], colours: ["#010203", "#040506"], values: Uint16Array.of(0, 1, 0, 1, 1) } as const;
    expect(colourCells(own, "values", flags, plain, inks, { ...values, names: [...values.names], colours: [...values.colours] }).colours).toEqual([0x010203, 0x040506]);
  });

  it("are ours where they are no colours", () => {
    const ours = colourCells(map, "label", flags, plain, inks).colours;
    for (const bad of ["</script><img src=x>", "#12345", "red;}", "url(x)"]) expect(colourCells({ ...map, label_colours: [bad, bad] }, "label", flags, plain, inks).colours).toEqual(ours);
    expect(colourCells({ ...map, label_colours: [] }, "label", flags, plain, inks).colours).toEqual(ours);
  });

  it("are shown at once when they change", () => {
    const colouring = new Colouring();
    const before = colouring.of(map, "label", flags, plain, inks, null);
    expect(colouring.of(own, "label", flags, plain, inks, null)).not.toBe(before);
  });
});
