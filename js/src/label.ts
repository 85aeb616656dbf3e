// Naming what the lasso caught, and taking a label back.
import type { Desk, LabelResult } from "./desk";
import { h, say } from "./dom";
import type { MapFrame } from "./frames";
import { NameBox } from "./name_box";
import { retrainButton } from "./retrain";
import { isEverywhere, type Part } from "./selection";
import { brief, count, percent, plural } from "./words";

export interface Selection { cells: [number, number][]; parts: Part[]; selector: object }
interface Hands { clear(): void; invert(): void; onMap(): MapFrame | null }
type Counted = { state: "counting"; share: number } | { state: "done"; n_cells: number };

const COUNT_AGAIN_MS = 400;

/** The bar under the map; it is there while cells are selected. */
export function selectionBar(desk: Desk, selection: () => Selection | null, hands: Hands): { bar: HTMLElement; paint: () => void; focus: () => boolean } {
  const text = h("b", { "data-testid": "ll-selected" });
  let held: { n_saved: number; seen: boolean } | null = null; // seen: a status has told of that label too
  let counted: { of: Selection; n: number } | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const box = desk.ask === null ? null : new NameBox(desk, {
    label: "name the selected cells", testid: "ll-selection", placeholder: "name these cells",
    save: (name) => {
      const chosen = selection();
      if (!chosen) return Promise.reject(new Error("nothing is selected"));
      if (scope.value !== "all" || scopeLabel.hidden) return desk.ask!<LabelResult>("label", { cells: chosen.cells, selector: chosen.selector, name });
      if (counted?.of !== chosen) return Promise.reject(new Error("the cells are still being counted"));
      return desk.ask!<LabelResult>("label", { selector: { ...chosen.selector, scope: "all" }, name });
    },
    saved: (result) => {
      held = { n_saved: result.n_saved, seen: false };
      desk.announce(`saved: ${brief(result.label, 60)}, ${plural(result.n_cells, "cell")}`);
    },
  });
  const drop = h("button", { class: "ll-button", type: "button", "aria-label": "Clear the selection" }, "Clear");
  const invert = h("button", { class: "ll-button", type: "button", "aria-label": "Invert the selection", title: "All cells on the map that are not selected (I)", "data-testid": "ll-invert" }, "Invert");
  const scope = h("select", { class: "ll-select", "aria-label": "Which cells are named", "data-testid": "ll-scope" }, h("option", { value: "panel" }, "on the map"), h("option", { value: "all" }, "in all cells"));
  const scopeLabel = h("span", { hidden: true }, scope);
  const where = h("span", { class: "ll-dim", "data-testid": "ll-where" });
  const bar = h("div", { class: "ll-selection", role: "group", "aria-label": "Selected cells", hidden: true }, text, scopeLabel, where, box?.form ?? null, invert, drop);
  desk.scope.on(drop, "click", hands.clear);
  desk.scope.on(invert, "click", hands.invert);
  desk.scope.add(() => clearTimeout(timer));

  const tell = () => {
    const chosen = selection();
    const frame = hands.onMap();
    if (!chosen || !frame) return;
    const is_part = frame.n < frame.n_total;
    scopeLabel.hidden = !is_part || !desk.ask || !isEverywhere(chosen.parts);
    const all = scope.value === "all" && !scopeLabel.hidden;
    say(text, all ? (counted?.of === chosen ? `${plural(counted.n, "cell")} selected` : "counting…") : `${plural(chosen.cells.length, "cell")} selected`);
    say(where, all ? `of ${count(frame.n_total)}` : is_part && scopeLabel.hidden ? `only among the ${count(frame.n)} on the map` : "");
    if (all && counted?.of !== chosen) countAll(chosen);
  };

  const countAll = (chosen: Selection) => {
    clearTimeout(timer);
    desk.ask?.<Counted>("count", { selector: { ...chosen.selector, scope: "all" } }).then((found) => {
      if (selection() !== chosen || scope.value !== "all") return;
      if (found.state === "done") {
        counted = { of: chosen, n: found.n_cells };
        tell();
        return desk.announce(`${plural(found.n_cells, "cell")} selected in all`);
      }
      say(text, `counting… ${percent(found.share)}`);
      timer = setTimeout(() => countAll(chosen), COUNT_AGAIN_MS);
    }).catch((error: Error) => {
      if (selection() !== chosen) return;
      scope.value = "panel";
      tell();
      desk.store.setError(`count: ${error.message}`);
    });
  };
  desk.scope.on(scope, "change", tell);

  let shown: [number, number][] | null = null;
  return {
    bar,
    paint: () => {
      const cells = selection()?.cells ?? null;
      bar.hidden = cells === null;
      if (cells && cells !== shown) {
        tell();
        box?.show(null); // "saved" was said of other cells
        desk.announce(`${plural(cells.length, "cell")} selected`);
      }
      shown = cells;
      if (held && (desk.store.status?.n_saved ?? 0) >= held.n_saved) held.seen = true;
      else if (held?.seen) {
        held = null;
        box?.show(null); // what was saved has been undone
      }
    },
    focus: () => {
      if (bar.hidden || !box) return false;
      box.input.focus({ preventScroll: true });
      return true;
    },
  };
}

/** Undo and redo, and how many labels are safe on disk. */
export function historyBar(desk: Desk): HTMLElement {
  const { store, scope } = desk;
  const button = (name: "undo" | "redo", text: string) => {
    const element = h("button", { class: "ll-button ll-small", type: "button", "data-testid": `ll-${name}`, disabled: true }, text);
    scope.on(element, "click", () => takeBack(desk, name));
    return element;
  };
  const undo = button("undo", "Undo");
  const redo = button("redo", "Redo");
  const text = h("span", { "data-testid": "ll-journal", dir: "auto" });
  const paint = () => {
    const status = store.status;
    undo.disabled = !status?.n_undo;
    redo.disabled = !status?.n_redo;
    const journal = status?.journal.split(/[\\/]/).filter(Boolean).pop();
    say(text, status ? `${plural(status.n_saved, "label")} saved${journal ? ` to ${brief(journal, 40)}` : ""}` : "");
    text.title = status?.journal ?? "";
  };
  store.listen(["status"], () => desk.painter.request(paint), scope.signal);
  paint();
  return h("span", { class: "ll-history" }, retrainButton(desk), text, desk.ask ? undo : null, desk.ask ? redo : null);
}

export function takeBack(desk: Desk, name: "undo" | "redo"): void {
  desk.ask?.<{ what?: string | null }>(name)
    .then((result) => desk.announce(`${name === "undo" ? "undone" : "done again"}${result?.what ? `: ${brief(result.what, 80)}` : ""}`))
    .catch((error: Error) => desk.store.setError(`${name}: ${error.message}`));
}
