// A box for a name: pending until Python has it on disk, and only then saved.
import { h, say, type Scope } from "./dom";
import { when } from "./words";
import type { LabelResult, Saving } from "./desk";

let n_lists = 0;

export class NameBox {
  readonly form: HTMLFormElement;
  readonly input: HTMLInputElement;
  private readonly button: HTMLButtonElement;
  private readonly mark: HTMLElement;
  private readonly list: HTMLDataListElement;
  private attempt = 0;

  constructor(scope: Scope, private readonly what: { label: string; testid: string; placeholder: string; save: (name: string) => Promise<LabelResult>; saved: (result: LabelResult) => void }) {
    const id = `ll-names-${++n_lists}`;
    this.list = h("datalist", { id });
    this.input = h("input", { class: "ll-input", type: "text", list: id, placeholder: what.placeholder, "aria-label": what.label, autocomplete: "off", spellcheck: "false", dir: "auto", maxlength: 120, "data-testid": `${what.testid}-name` });
    this.button = h("button", { class: "ll-button ll-primary", type: "submit", "data-testid": `${what.testid}-save` }, "Save");
    this.mark = h("span", { class: "ll-saved", "data-testid": `${what.testid}-saved` });
    this.form = h("form", { class: "ll-form" }, this.input, this.button, this.mark, this.list);
    scope.on(this.form, "submit", (event) => {
      event.preventDefault();
      void this.save();
    });
    scope.on(this.input, "input", () => this.settle());
    this.settle();
  }

  suggest(names: readonly string[]): void {
    if (this.list.childElementCount === names.length && [...this.list.children].every((option, i) => option.getAttribute("value") === names[i])) return;
    this.list.replaceChildren(...names.map((name) => h("option", { value: name })));
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
