// A selection is an ordered list of parts. This is the same rule as src/livelatent/session/selection.py; both are tested
// against tests/golden/select.json, so that a label can be replayed to the cells that were seen.

export type Join = "replace" | "add" | "subtract";
export type Op = ">=" | "<=";
export interface Part { mode: Join | "invert"; kind?: string; [key: string]: unknown }

/** Kinds that mean something for cells that are not on the map. */
const EVERYWHERE = ["flag", "novelty", "gene", "obs"];

export function isEverywhere(parts: readonly Part[]): boolean {
  return parts.every((part) => part.mode === "invert" || EVERYWHERE.includes(part.kind ?? ""));
}

/** Indices of the values that pass; NaN never does. */
export function passing(values: Float32Array, op: Op, threshold: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < values.length; i++) if (op === ">=" ? values[i] >= threshold : values[i] <= threshold) out.push(i);
  return out;
}

/** The mask after one more part. */
export function joined(mask: Uint8Array | null, n: number, mode: Part["mode"], inside: readonly number[]): Uint8Array {
  if (mode === "invert") return Uint8Array.from({ length: n }, (_, i) => 1 - (mask?.[i] ?? 0));
  const next = mode === "replace" || !mask ? new Uint8Array(n) : mask.slice();
  for (const i of inside) next[i] = mode === "subtract" ? 0 : 1;
  return next;
}

export function joinOf(event: { shiftKey: boolean; altKey: boolean }): Join {
  return event.shiftKey ? "add" : event.altKey ? "subtract" : "replace";
}
