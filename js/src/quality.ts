// A flag's cells beside the nearest known type's: depth, mitochondrial share, doublets, cell cycle, as numbers with a bar each.
import { h } from "./dom";
import type { Flag, Measure } from "./frames";
import { brief, count, percent } from "./words";

/** A measure's value in its own unit. */
export function amount(name: string, value: number | null): string {
  if (value === null) return "–";
  if (/depth/.test(name)) return count(value);
  if (/share/.test(name)) return percent(value);
  return value.toFixed(2).replace("-", "−");
}

export function qualityTable(flag: Flag): HTMLElement[] {
  const measures = flag.measures ?? [];
  if (measures.length === 0) return [];
  const type = brief(flag.nearest[0]?.[0] ?? "known types", 20);
  const phases = (flag.phases ?? []).map(([name, share]) => `${name} ${percent(share)}`).join(" · ");
  return [
    h("div", { class: "ll-quality", role: "table", "aria-label": `quality of flag ${flag.id} beside ${type}` },
      h("div", { role: "row" }, h("span", { role: "columnheader", class: "ll-dim" }, "median"), h("span", { role: "columnheader", class: "ll-dim" }, "flag"), h("span", { class: "ll-dim", "aria-hidden": "true" }, "● flag  ", h("i", { class: "ll-key" }), " 9 of 10 cells"),
        h("span", { role: "columnheader", class: "ll-dim", dir: "auto" }, type), h("span", { role: "columnheader", class: "ll-dim" }, "all types")),
      ...measures.map(row)),
    ...(phases ? [h("div", { class: "ll-dim" }, `cell cycle: ${phases}`)] : []),
  ];
}

function row(measure: Measure): HTMLElement {
  const { name, flag, low, usual, high, overall } = measure;
  const known = [flag, low, usual, high, overall].filter((v): v is number => v !== null);
  const from = Math.min(0, ...known);
  const to = Math.max(...known, from + 1e-9) + 0.04 * (Math.max(...known, 0) - from);
  const at = (v: number) => (100 * (v - from)) / (to - from);
  const mark = (kind: string, v: number | null, until: number | null = v) => {
    if (v === null || until === null) return null;
    const element = h("i", { class: kind });
    element.style.left = `${at(v)}%`;
    if (until !== v) element.style.width = `${at(until) - at(v)}%`;
    return element;
  };
  if (flag === null && usual === null) return h("div", { role: "row" }, h("span", { role: "rowheader" }, name), h("span", { role: "cell", class: "ll-dim ll-wide" }, "not measured"));
  const is_odd = flag !== null && low !== null && high !== null && (flag < low || flag > high);
  return h("div", { role: "row" }, h("span", { role: "rowheader" }, name),
    h("b", { role: "cell", class: is_odd ? "ll-odd" : "" }, amount(name, flag)),
    h("span", { class: "ll-band", "aria-hidden": "true" }, mark("ll-range", low, high), mark("ll-tick", usual), mark(is_odd ? "ll-dot ll-odd" : "ll-dot", flag)),
    h("span", { role: "cell" }, amount(name, usual)), h("span", { role: "cell", class: "ll-dim" }, amount(name, overall)));
}
