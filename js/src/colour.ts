// Which colour each cell has, and which cells come last, on top of the rest.
import { NONE, type FlagsFrame, type MapFrame, type ValuesFrame } from "./frames";
import { categoryColours, hex, mixColours, word } from "./palette";
import type { Look } from "./renderer";
import { brief } from "./words";

export type Mode = "label" | "predicted" | "batch" | "novelty" | "given" | "source" | "values";
export interface Inks { background: number; unknown: number; flag: number; accent: number; dark: boolean }
export interface Coloured { look: Look; names: string[]; codes: Uint16Array | Uint8Array; colours: number[]; scale: Scale | null }
/** The values that numbers are coloured between; those above `high` look like it. */
export interface Scale { low: number; high: number; is_cut: boolean; n_none: number }

/** The modes that mean something for this map. */
export function modes(frame: MapFrame, values: ValuesFrame | null = null): [Mode, string][] {
  const all: [Mode, string, boolean][] = [
    ["label", "label", frame.label_names.length > 0],
    ["predicted", "predicted label", frame.predicted_names.length > 0],
    ["batch", "batch", frame.batch_names.length > 1],
    ["novelty", "novelty p", frame.p_value.some((p) => !Number.isNaN(p))],
    ["given", "label given here", frame.given_names.length > 0],
    ["source", "atlas or query", frame.n_query > 0],
    ["values", valuesName(values), fits(frame, values)],
  ];
  return all.filter(([, , is_on]) => is_on).map(([mode, text]) => [mode, text]);
}

/** Whether fetched values are of the cells shown. */
export function fits(frame: MapFrame, values: ValuesFrame | null): values is ValuesFrame {
  return values?.state === "ready" && values.panel === frame.panel && values.n === frame.n;
}

export function valuesName(values: ValuesFrame | null): string {
  return `${{ gene: "gene", obs: "column", prototype: "distance to" }[values?.by ?? ""] ?? ""} ${brief(values?.name ?? "", 40)}`;
}

export function category(frame: MapFrame, mode: Mode, values: ValuesFrame | null = null): { names: string[]; codes: Uint16Array | Uint8Array } {
  switch (mode) {
    case "label": return { names: frame.label_names, codes: frame.label };
    case "predicted": return { names: frame.predicted_names, codes: frame.predicted };
    case "batch": return { names: frame.batch_names, codes: frame.batch };
    case "given": return { names: frame.given_names, codes: frame.given };
    case "source": return { names: ["atlas", "query"], codes: frame.is_query };
    case "values":
    case "novelty":
      if (mode === "values" && values?.names) return { names: values.names, codes: values.values as Uint16Array };
      return category(frame, frame.label_names.length ? "label" : "predicted"); // numbers have no names: the types say where one is
  }
}

/** The data's own colours of some names (scanpy's `uns["<column>_colors"]`), whoever gave or predicted the name. */
function ownColours(frame: MapFrame, mode: Mode, values: ValuesFrame | null): Map<string, number> {
  const [names, colours] = mode === "batch" ? [frame.batch_names, frame.batch_colours]
    : mode === "values" && values?.names ? [values.names, values.colours] : mode === "source" ? [[]] : [frame.label_names, frame.label_colours];
  return new Map(names.flatMap((name, i): [string, number][] => (/^#[0-9a-f]{6}$/i.test(colours?.[i] ?? "") ? [[name, hex(colours![i]!)]] : [])));
}

/** 0 where a cell fits (p = 1), 1 at p = 0.001 and below. */
export function strangeness(p: number): number {
  return Math.min(1, Math.max(0, -Math.log10(Math.max(p, 1e-3)) / 3));
}

/** What a gate on this colour compares; null where the colour is no number. */
export function numbersOf(frame: MapFrame, mode: Mode | null, values: ValuesFrame | null): Float32Array | null {
  if (mode === "novelty") return frame.p_value;
  return mode === "values" && fits(frame, values) && !values.names ? (values.values as Float32Array) : null;
}

// From pale to strong by lightness alone, which colour-blind people see as well; strong is dark on white, bright on black.
const RAMPS = { light: [0xd3d9df, 0x5b93d3, 0x0a2a66], dark: [0x3a434c, 0x3f8fd9, 0xe6f2ff] };

export function rampColour(share: number, dark: boolean): number {
  const [a, b, c] = RAMPS[dark ? "dark" : "light"];
  return share < 0.5 ? mixColours(a, b, 2 * share) : mixColours(b, c, 2 * share - 1);
}

/** Between the smallest and the 99th of a hundred: one cell of 50 counts would make all others pale. */
export function scaleOf(values: Float32Array): Scale {
  const known = values.filter((v) => !Number.isNaN(v)).sort();
  const n_none = values.length - known.length;
  if (known.length === 0) return { low: 0, high: 1, is_cut: false, n_none };
  const low = known[0];
  const last = known[known.length - 1];
  const most = known[Math.floor(0.99 * (known.length - 1))];
  const high = most > low ? most : last;
  return { low, high: high > low ? high : low + 1, is_cut: last > high, n_none };
}

export interface Emphasis { focus: number | null; selected: Uint8Array | null }

const RARE_CELLS = 500;

/** Draw order: greyed or plain cells, those of rare categories, then those in focus, selected or flagged. */
export function colourCells(frame: MapFrame, mode: Mode, flags: FlagsFrame | null, { focus, selected }: Emphasis, inks: Inks, values: ValuesFrame | null = null): Coloured {
  const { names, codes } = category(frame, mode, values);
  const numbers = mode === "values" ? numbersOf(frame, mode, values) : null;
  const scale = numbers && scaleOf(numbers);
  const strong = Array.from({ length: 64 }, (_, i) => word(rampColour(i / 63, inks.dark), 0.45 + 0.5 * (i / 63)));
  const own = ownColours(frame, mode, values);
  const colours = categoryColours(names.length, inks.dark).map((ours, i) => own.get(names[i]) ?? ours);
  const open = new Set((flags?.flags ?? []).filter((flag) => flag.state !== "dismissed").map((flag) => flag.id));
  const words = colours.map((colour) => word(colour, 0.85));
  const unknown = word(inks.unknown, 0.7);
  const grey = word(mixColours(inks.unknown, inks.background, 0.45), 0.6);
  const flagged = word(inks.flag, 1);
  const ramp = Array.from({ length: 64 }, (_, i) => word(mixColours(inks.accent, inks.flag, i / 63), 0.35 + 0.6 * (i / 63)));
  const rgba = new Uint32Array(frame.n);
  const held = new Uint32Array(words.length);
  for (let i = 0; i < codes.length; i++) if (codes[i] < held.length) held[codes[i]]++;
  const plain = new Uint32Array(frame.n);
  const rare: number[] = [];
  const top = new Uint32Array(frame.n);
  let n_plain = 0;
  let n_top = 0;
  for (let i = 0; i < frame.n; i++) {
    const is_flagged = open.has(frame.flag[i]);
    const known = codes[i] !== NONE && codes[i] < words.length;
    let colour = known ? words[codes[i]] : unknown;
    if (mode === "novelty") colour = Number.isNaN(frame.p_value[i]) ? unknown : ramp[Math.round(63 * strangeness(frame.p_value[i]))];
    else if (numbers && scale) colour = Number.isNaN(numbers[i]) ? grey : strong[Math.round(63 * Math.min(1, (numbers[i] - scale.low) / (scale.high - scale.low)))];
    // A flagged cell wears the flag's colour where the colour would say what type it is: nobody knows that yet.
    else if (is_flagged && (mode === "label" || mode === "predicted" || (mode === "given" && !known))) colour = flagged;
    const stands_out = selected ? selected[i] === 1 : focus !== null ? codes[i] === focus : null;
    if (stands_out === false) colour = grey;
    rgba[i] = colour;
    if (stands_out === true || (stands_out === null && (is_flagged || (mode === "given" && known)))) top[n_top++] = i;
    else if (is_flagged || (known && held[codes[i]] < RARE_CELLS)) rare.push(i); // greyed for a selection or not, it is never thinned
    else plain[n_plain++] = i;
  }
  const order = new Uint32Array(frame.n);
  order.set(plain.subarray(0, n_plain));
  order.set(rare, n_plain);
  order.set(top.subarray(0, n_top), n_plain + rare.length);
  return { look: { rgba, order, rare: n_plain, split: n_plain + rare.length }, names, codes, colours, scale };
}
