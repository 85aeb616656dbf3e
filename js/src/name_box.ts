// A box for a name: pending until Python has it on disk, and only then saved. All boxes of a view offer the same names.
import type { Desk, LabelResult, Saving } from "./desk";
import { h, say } from "./dom";
import type { Store } from "./store";
import { when } from "./words";

const MOST_CHARACTERS = 120;

/** Names in use: those given here come first, then those that labels carry already. */
export function namesInUse({ status, map }: Pick<Store, "status" | "map">): string[] {
  return [...new Set([...(status?.vocabulary ?? []), ...(map?.label_names ?? [])])].filter((name) => name.length <= MOST_CHARACTERS);
}

/** The one list that every box of a view offers. */
export function nameList({ names, store, painter, scope }: Desk): HTMLElement {
  const paint = () => {
    const wanted = namesInUse(store);
    if (names.childElementCount === wanted.length && [...names.children].every((option, i) => option.getAttribute("value") === wanted[i])) return;
    names.replaceChildren(...wanted.map((name) => h("option", { value: name })));
  };
  store.listen(["status", "map"], () => painter.request(paint), scope.signal);
  paint();
  return names;
}

export class NameBox {
  readonly form: HTMLFormElement;
  readonly input: HTMLInputElement;
  private readonly button: HTMLButtonElement;
  private readonly mark: HTMLElement;
  private attempt = 0;

  constructor({ names, scope }: Pick<Desk, "names" | "scope">, private readonly what: { label: string; testid: string; placeholder: string; save: (name: string) => Promise<LabelResult>; saved: (result: LabelResult) => void }) {
    this.input = h("input", { class: "ll-input", type: "text", list: names.id, placeholder: what.placeholder, "aria-label": what.label, autocomplete: "off", spellcheck: "false", dir: "auto", maxlength: MOST_CHARACTERS, "data-testid": `${what.testid}-name` });
    this.button = h("button", { class: "ll-button ll-primary", type: "submit", "data-testid": `${what.testid}-save` }, "Save");
    this.mark = h("span", { class: "ll-saved", "data-testid": `${what.testid}-saved` });
    this.form = h("form", { class: "ll-form" }, this.input, this.button, this.mark);
    scope.on(this.form, "submit", (event) => {
      event.preventDefault();
      void this.save();
    });
    scope.on(this.input, "input", () => this.settle());
    this.settle();
  }

  show(saving: Saving | null): void {
    this.mark.dataset.state = saving?.state ?? "";
    say(this.mark, saving?.text ?? "");
  }

  /** Writes a name in; `is_meant`: and saves it. */
  offer(name: string, is_meant: boolean): void {
    this.input.value = name;
    this.settle();
    if (is_meant) void this.save();
    else this.input.focus();
  }

  get isPending(): boolean {
    return this.mark.dataset.state === "pending";
  }

  clear(): void {
    this.attempt++; // an answer that is still on its way belongs to the last name, not to the next
    this.input.value = "";
    this.show(null);
    this.settle();
  }

  private settle(): void {
    this.button.disabled = this.input.value.trim() === "";
  }

  private async save(): Promise<void> {
    const name = this.input.value.trim();
    if (name === "") return;
    const attempt = ++this.attempt;
    this.show({ state: "pending", text: "pending…" });
    try {
      const result = await this.what.save(name);
      if (attempt === this.attempt) this.show({ state: "saved", text: `✓ saved ${when(result.saved_at)}` });
      this.what.saved(result);
    } catch (error) {
      if (attempt === this.attempt) this.show({ state: "failed", text: `not saved: ${(error as Error).message}` });
    }
  }
}
