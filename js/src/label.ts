// Naming what the lasso caught, and taking a label back.
import type { Desk, LabelResult } from "./desk";
import { h, say } from "./dom";
import { NameBox } from "./name_box";
import { brief, plural } from "./words";

export interface Selection { cells: [number, number][]; selector: object }

/** The bar under the map; it is there while cells are selected. */
export function selectionBar(desk: Desk, selection: () => Selection | null, clear: () => void): { bar: HTMLElement; paint: () => void; focus: () => boolean } {
  const text = h("b", { "data-testid": "ll-selected" });
  let held: { n_saved: number; seen: boolean } | null = null; // seen: a status has told of that label too
  const box = desk.ask === null ? null : new NameBox(desk.scope, {
    label: "name the selected cells", testid: "ll-selection", placeholder: "name these cells",
    save: (name) => {
      const chosen = selection();
      if (!chosen) return Promise.reject(new Error("nothing is selected"));
      return desk.ask!<LabelResult>("label", { ...chosen, name });
    },
    saved: (result) => {
      held = { n_saved: result.n_saved, seen: false };
      desk.announce(`saved: ${brief(result.label, 60)}, ${plural(result.n_cells, "cell")}`);
    },
  });
  const drop = h("button", { class: "ll-button", type: "button", "aria-label": "Clear the selection" }, "Clear");
  const bar = h("div", { class: "ll-selection", role: "group", "aria-label": "Selected cells", hidden: true }, text, box?.form ?? null, drop);
  desk.scope.on(drop, "click", clear);
  let shown: [number, number][] | null = null;
  return {
    bar,
    paint: () => {
      const cells = selection()?.cells ?? null;
      bar.hidden = cells === null;
      if (cells && cells !== shown) {
        say(text, `${plural(cells.length, "cell")} selected`);
        box?.show(null); // "saved" was said of other cells
        desk.announce(`${plural(cells.length, "cell")} selected`);
      }
      shown = cells;
      if (held && (desk.store.status?.n_saved ?? 0) >= held.n_saved) held.seen = true;
      else if (held?.seen) {
        held = null;
        box?.show(null); // what was saved has been undone
      }
      box?.suggest(desk.store.status?.vocabulary ?? []);
    },
    focus: () => {
      if (bar.hidden || !box) return false;
      box.input.focus();
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
  return h("span", { class: "ll-history" }, text, desk.ask ? undo : null, desk.ask ? redo : null);
}

export function takeBack(desk: Desk, name: "undo" | "redo"): void {
  desk.ask?.<{ what?: string | null }>(name)
    .then((result) => desk.announce(`${name === "undo" ? "undone" : "done again"}${result?.what ? `: ${brief(result.what, 80)}` : ""}`))
    .catch((error: Error) => desk.store.setError(`${name}: ${error.message}`));
}
