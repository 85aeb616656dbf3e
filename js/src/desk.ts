// What the panes of one view share: the state, what the person has picked, and the way to ask Python for something.
import { h, Painter, Scope } from "./dom";
import type { Part } from "./selection";
import type { Store } from "./store";

export type Ask = <T = unknown>(name: string, args?: object) => Promise<T>;
export type Saving = { state: "pending" | "saved" | "failed"; text: string };
export interface LabelResult { label: string; n_cells: number; saved_at: string; n_saved: number }

let n_lists = 0;

export class Desk {
  readonly scope = new Scope();
  readonly painter = new Painter(this.scope);
  /** What boxes for a name offer (`nameList`). */
  readonly names = h("datalist", { id: `ll-names-${++n_lists}` });
  /** The flag that is picked, by its id. */
  flag: number | null = null;
  /** The cells selected on the map, as [is_query, row]; null: none. */
  selection: [number, number][] | null = null;
  private readonly selectionListeners = new Set<() => void>();
  private readonly listeners = new Set<() => void>();
  private readonly themeListeners = new Set<() => void>();
  private readonly voice = document.createElement("div");
  showFlag: (id: number) => void = () => {};
  /** Colours the map by a gene, a column of obs or the distance to a prototype. */
  colourBy: (by: "gene" | "obs" | "prototype", name: string) => void = () => {};
  /** One more part of the selection: the rule that the journal keeps, and the cells that it means, as [is_query, row]. */
  selectPart: (part: Part, cells: readonly [number, number][]) => void = () => {};

  constructor(readonly store: Store, readonly root: HTMLElement, /** null: a snapshot, where nothing can be changed */ readonly ask: Ask | null) {
    this.voice.className = "ll-hidden";
    this.voice.setAttribute("aria-live", "polite");
    this.voice.dataset.testid = "ll-voice";
  }

  get announcer(): HTMLElement {
    return this.voice;
  }

  /** For those who listen instead of look. */
  announce(text: string): void {
    this.voice.textContent = text;
  }

  pickFlag(id: number | null): void {
    this.flag = id;
    for (const listener of this.listeners) listener();
  }

  onPick(listener: () => void): void {
    this.listeners.add(listener);
  }

  onSelection(listener: () => void): void {
    this.selectionListeners.add(listener);
  }

  selectionChanged(cells: [number, number][] | null): void {
    if (cells === this.selection) return;
    this.selection = cells;
    for (const listener of this.selectionListeners) listener();
  }

  onTheme(listener: () => void): void {
    this.themeListeners.add(listener);
  }

  themeChanged(): void {
    for (const listener of this.themeListeners) listener();
  }

  /** A style variable as the current theme has it. */
  ink(name: string): string {
    return getComputedStyle(this.root).getPropertyValue(name).trim();
  }

  /** Asks; a refusal is shown as a banner. */
  try(name: string, args: object = {}): void {
    this.ask?.(name, args).catch((error: Error) => this.store.setError(`${name}: ${error.message}`));
  }
}
