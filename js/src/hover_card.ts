// What is known of one cell of the map.
import { h } from "./dom";
import { nameOf, type MapFrame } from "./frames";
import { brief, count, pValue } from "./words";

export function cellFacts(held: MapFrame, i: number): HTMLElement[] {
  const rows: [string, string | null][] = [
    ["label", nameOf(held.label_names, held.label[i])],
    ["predicted", nameOf(held.predicted_names, held.predicted[i])],
    ["named here", nameOf(held.given_names, held.given[i])],
    ["batch", nameOf(held.batch_names, held.batch[i])],
    ["novelty", Number.isNaN(held.p_value[i]) ? null : pValue(held.p_value[i])],
    ["flag", held.flag[i] ? String(held.flag[i]) : null],
  ];
  return [h("div", { class: "ll-dim" }, `cell ${count(held.cell[i])}${held.is_query[i] ? " of the query" : ""}`),
    ...rows.filter(([, text]) => text !== null).map(([name, text]) => h("div", {}, h("span", { class: "ll-dim" }, `${name} `), h("span", { dir: "auto" }, brief(text!, 40))))];
}
