// The keys, the sheet that lists them, and the line at the foot. They work while the focus is inside the widget.
import type { Desk } from "./desk";
import { focusNear, h } from "./dom";
import { joinOf, type Join } from "./selection";

export interface Actions {
  lasso(): void; box(): void; pan(): void; fit(): void;
  nextFlag(): void; name(): void; undo(): void; redo(): void; pauseOrResume(): void; step(): void; keep(): void; escape(): void;
  search(): void; gate(): void; selectFlag(join: Join): void; invert(): void; read(): void;
}

const SHEET: [string[], string, boolean][] = [
  [["L"], "lasso: draw around cells", false],
  [["B"], "box: drag a rectangle", false],
  [["P"], "pan: drag the map", false],
  [["F"], "fit the whole map", false],
  [["⇧ Shift"], "add to the selection", false],
  [["⌥ Alt"], "subtract from the selection", false],
  [["← ↑ ↓ →"], "move the map, when it has the focus", false],
  [["+", "−"], "zoom the map", false],
  [["R"], "read the cell in the middle of the map; then ← ↑ ↓ → read the next, with Shift farther on; only selected cells where some are", false],
  [["C"], "colour by a gene, a column or a prototype: type, ↑ ↓, Enter", true],
  [["G"], "gate: the threshold on the colour shown; Enter selects", true],
  [["N"], "next flag", false],
  [["S"], "select that flag's cells; with Shift add, Alt subtract", false],
  [["I"], "invert the selection", false],
  [["Enter"], "name the flag, or the selected cells", true],
  [["Ctrl Z"], "undo the last label", true],
  [["⇧ Ctrl Z"], "redo it", true],
  [["Space"], "pause or resume training", true],
  [["."], "train on one minibatch, while paused", true],
  [["K"], "keep this moment, to compare it", true],
  [["?"], "this sheet", false],
  [["Esc"], "leave a box, drop the selection, close this sheet", false],
];

export function keySheet(desk: Desk): { sheet: HTMLElement; toggle: (open?: boolean) => boolean } {
  const close = h("button", { class: "ll-button", type: "button" }, "Close");
  const rows = SHEET.filter(([, , changes]) => desk.ask || !changes)
    .map(([keys, text]) => h("div", { class: "ll-key-row" }, h("dt", {}, ...keys.flatMap((key) => [h("kbd", {}, key), " "])), h("dd", {}, text)));
  const sheet = h("div", { class: "ll-sheet", role: "dialog", "aria-label": "Keys", "data-testid": "ll-keys", hidden: true },
    h("div", { class: "ll-tools" }, h("h2", {}, "Keys"), h("span", { class: "ll-grow" }), close), h("dl", {}, ...rows));
  let before: Element | null = null;
  const toggle = (open = sheet.hidden): boolean => {
    const was_open = !sheet.hidden;
    if (open && !was_open) before = focusNear(sheet);
    sheet.hidden = !open;
    if (open) close.focus();
    else if (was_open && before instanceof HTMLElement) before.focus();
    return was_open;
  };
  desk.scope.on(close, "click", () => toggle(false));
  desk.scope.on<KeyboardEvent>(sheet, "keydown", (event) => { if (event.key === "Tab") event.preventDefault(); }); // one button: nowhere else to go
  return { sheet, toggle };
}

export function keyHints(desk: Desk, toggleSheet: () => void): HTMLElement[] {
  const hint = (text: string, ...keys: string[]) => h("span", {}, ...keys.flatMap((key) => [h("kbd", {}, key), " "]), text);
  const all = h("button", { class: "ll-link", type: "button" }, h("kbd", {}, "?"), " all keys");
  desk.scope.on(all, "click", () => toggleSheet());
  return desk.ask
    ? [hint("lasso", "L"), hint("add", "⇧"), hint("subtract", "⌥"), hint("next flag", "N"), hint("name", "Enter"), hint("undo", "Ctrl Z"), hint("pause", "Space"), all]
    : [hint("lasso", "L"), hint("next flag", "N"), all];
}

export function listenKeys(desk: Desk, actions: Actions, toggleSheet: (open?: boolean) => boolean): void {
  desk.scope.on<KeyboardEvent>(desk.root, "keydown", (event) => {
    const target = event.target as HTMLElement;
    const types = target.matches("input:not([type=range]), select, textarea");
    const act = (action: () => void) => {
      action();
      event.preventDefault();
    };
    // The notebook has keys of its own (L turns on its line numbers, Enter edits a cell): ours stop here.
    const handled = () => event.stopPropagation();
    if (event.key === "Escape") {
      handled();
      if (toggleSheet(false)) return event.preventDefault();
      if (types) return act(() => desk.root.focus({ preventScroll: true }));
      return act(actions.escape);
    }
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "z" && !types) {
      handled();
      return act(event.shiftKey ? actions.redo : actions.undo);
    }
    if (types) return handled();
    const is_select = event.code === "KeyS" && !event.ctrlKey && !event.metaKey;
    if (is_select) {
      handled();
      return act(() => actions.selectFlag(joinOf(event)));
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    handled();
    const is_button = target.matches("button, a, summary, [role=button]");
    switch (event.key) {
      case "l": case "L": return act(actions.lasso);
      case "b": case "B": return act(actions.box);
      case "p": case "P": return act(actions.pan);
      case "f": case "F": return act(actions.fit);
      case "n": case "N": return act(actions.nextFlag);
      case ".": return act(actions.step);
      case "k": case "K": return act(actions.keep);
      case "c": case "C": return act(actions.search);
      case "g": case "G": return act(actions.gate);
      case "i": case "I": return act(actions.invert);
      case "r": case "R": return act(actions.read);
      case "?": return act(() => toggleSheet());
      case "Enter": return is_button ? undefined : act(actions.name);
      case " ": return is_button ? undefined : act(actions.pauseOrResume);
    }
  });
}
