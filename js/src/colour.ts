// Which colour each cell has, and which cells come last, on top of the rest.
import { NONE, type FlagsFrame, type MapFrame } from "./frames";
import { categoryColours, mixColours, word } from "./palette";
import type { Look } from "./renderer";

export type Mode = "label" | "predicted" | "batch" | "novelty" | "given" | "source";
export interface Inks { background: number; unknown: number; flag: number; accent: number; dark: boolean }
export interface Coloured { look: Look; names: string[]; codes: Uint16Array | Uint8Array; colours: number[] }

/** The modes that mean something for this map. */
export function modes(frame: MapFrame): [Mode, string][] {
  const all: [Mode, string, boolean][] = [
    ["label", "label", frame.label_names.length > 0],
    ["predicted", "predicted label", frame.predicted_names.length > 0],
    ["batch", "batch", frame.batch_names.length > 1],
    ["novelty", "novelty p", frame.p_value.some((p) => !Number.isNaN(p))],
    ["given", "label given here", frame.given_names.length > 0],
    ["source", "atlas or query", frame.n_query > 0],
  ];
  return all.filter(([, , is_on]) => is_on).map(([mode, text]) => [mode, text]);
}

export function category(frame: MapFrame, mode: Mode): { names: string[]; codes: Uint16Array | Uint8Array } {
  switch (mode) {
    case "label": return { names: frame.label_names, codes: frame.label };
    case "predicted": return { names: frame.predicted_names, codes: frame.predicted };
    case "batch": return { names: frame.batch_names, codes: frame.batch };
    case "given": return { names: frame.given_names, codes: frame.given };
    case "source": return { names: ["atlas", "query"], codes: frame.is_query };
    case "novelty": return { names: [], codes: new Uint16Array(0) };
  }
}

/** 0 where a cell fits (p = 1), 1 at p = 0.001 and below. */
export function strangeness(p: number): number {
  return Math.min(1, Math.max(0, -Math.log10(Math.max(p, 1e-3)) / 3));
}

export interface Emphasis { focus: number | null; selected: Uint8Array | null }

const RARE_CELLS = 500;

/** Draw order: greyed or plain cells, those of rare categories, then those in focus, selected or flagged. */
export function colourCells(frame: MapFrame, mode: Mode, flags: FlagsFrame | null, { focus, selected }: Emphasis, inks: Inks): Coloured {
  const { names, codes } = category(frame, mode);
  const colours = categoryColours(names.length, inks.dark);
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
    // A flagged cell wears the flag's colour where the colour would say what type it is: nobody knows that yet.
    else if (is_flagged && (mode === "label" || mode === "predicted" || (mode === "given" && !known))) colour = flagged;
    const stands_out = selected ? selected[i] === 1 : focus !== null ? codes[i] === focus : null;
    if (stands_out === false) colour = grey;
    rgba[i] = colour;
    if (stands_out === true || (stands_out === null && (is_flagged || (mode === "given" && known)))) top[n_top++] = i;
    else if (known && held[codes[i]] < RARE_CELLS) rare.push(i);
    else plain[n_plain++] = i;
  }
  const order = new Uint32Array(frame.n);
  order.set(plain.subarray(0, n_plain));
  order.set(rare, n_plain);
  order.set(top.subarray(0, n_top), n_plain + rare.length);
  return { look: { rgba, order, rare: n_plain, split: n_plain + rare.length }, names, codes, colours };
}
