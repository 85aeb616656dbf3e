// What is known of one cell of the map: what the page holds at once, the rest as soon as Python has said it. A cell that is
// read with keys is said aloud too.
import type { Size } from "./camera";
import { fits, valuesName } from "./colour";
import type { Desk } from "./desk";
import { h } from "./dom";
import { nameOf, type MapFrame, type ValuesFrame } from "./frames";
import type { Point } from "./geometry";
import { brief, count, percent, pValue, value } from "./words";

interface Facts { name: string; nearest: string | null; radii: number | null; probability: number | null }
type Row = [name: string, text: string];

const REST_MS = 150;

export function hoverCard(desk: Desk) {
  const card = h("div", { class: "ll-hover", role: "tooltip", "data-testid": "ll-card", hidden: true });
  let shown = "";
  let read = ""; // the cell that was said: a new layout does not say it again
  let is_told = false; // with what Python knows of it
  let timer: ReturnType<typeof setTimeout> | undefined;
  const known = new Map<string, Facts>();
  desk.scope.add(() => clearTimeout(timer));

  const hide = () => {
    card.hidden = true;
    shown = read = "";
    clearTimeout(timer);
  };

  const show = (frame: MapFrame, cell: number, at: Point, size: Size, values: ValuesFrame | null, is_read = false) => {
    card.hidden = false;
    const id = `${frame.is_query[cell]} ${frame.cell[cell]}`;
    const key = `${frame.layout} ${id}`;
    const rows = () => cellFacts(frame, cell, values, known.get(key));
    const paint = () => card.replaceChildren(...cardOf(frame, cell, known.get(key), rows()));
    paint();
    const flip = at[0] > size.w - 230;
    card.style.transform = `translate(${flip ? at[0] - 12 : at[0] + 12}px, ${Math.min(at[1] + 10, size.h - 170)}px)${flip ? " translateX(-100%)" : ""}`;
    if (is_read && read !== id) {
      read = id;
      is_told = known.has(key);
      desk.announce(`${titleOf(frame, cell, known.get(key))}: ${inWords(rows())}`);
    }
    if (key === shown) return;
    shown = key;
    clearTimeout(timer);
    if (!desk.ask || known.has(key)) return;
    timer = setTimeout(() => {
      desk.ask!<Facts>("cell", { is_query: frame.is_query[cell], row: frame.cell[cell] }).then((facts) => {
        const before = inWords(rows());
        if (known.size > 500) known.clear();
        known.set(key, facts);
        if (shown !== key) return;
        paint();
        if (read !== id || is_told) return;
        is_told = true;
        desk.announce(`${titleOf(frame, cell, facts)}: ${inWords(rows().filter(([name, text]) => !before.includes(`${name} ${text}`)))}`);
      }).catch(() => { /* the card has what the page holds; a cell that has gone needs no banner */ });
    }, REST_MS);
  };
  return { card, show, hide };
}

const titleOf = (frame: MapFrame, i: number, facts?: Facts): string => `${facts ? brief(facts.name, 40) : `cell ${count(frame.cell[i])}`}${frame.is_query[i] ? " of the query" : ""}`;
const inWords = (rows: Row[]): string => rows.map(([name, text]) => `${name} ${text}`).join(", ");

function cardOf(frame: MapFrame, i: number, facts: Facts | undefined, rows: Row[]): HTMLElement[] {
  return [h("div", { class: "ll-dim" }, facts ? h("bdi", { class: "ll-name" }, brief(facts.name, 40)) : `cell ${count(frame.cell[i])}`, frame.is_query[i] ? " of the query" : ""),
    ...rows.map(([name, text]) => h("div", {}, h("span", { class: "ll-dim" }, `${name} `), h("bdi", {}, text)))];
}

function cellFacts(frame: MapFrame, i: number, values: ValuesFrame | null, facts?: Facts): Row[] {
  const predicted = nameOf(frame.predicted_names, frame.predicted[i]);
  const held = fits(frame, values) ? values : null;
  const said = !held ? null : held.names ? nameOf(held.names, held.values[i]) : Number.isNaN(held.values[i]) ? "none" : value(held.values[i]);
  const rows: [string, string | null][] = [
    ["label", nameOf(frame.label_names, frame.label[i])],
    ["predicted", predicted && `${brief(predicted, 32)}${facts?.probability != null ? ` ${percent(facts.probability)}` : ""}`],
    ["named here", nameOf(frame.given_names, frame.given[i])],
    ["batch", nameOf(frame.batch_names, frame.batch[i])],
    ["novelty", Number.isNaN(frame.p_value[i]) ? null : pValue(frame.p_value[i])],
    ["flag", frame.flag[i] ? String(frame.flag[i]) : null],
    [valuesName(held), said],
    ["nearest prototype", facts?.nearest ? `${brief(facts.nearest, 28)}, ${facts.radii!.toFixed(1)} radii` : null],
  ];
  return rows.flatMap(([name, text]): Row[] => (text === null ? [] : [[name, brief(text, 44)]]));
}
