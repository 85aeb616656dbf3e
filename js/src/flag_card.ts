// One flag: the facts, the reason in a plain sentence, and the next action beside it.
import type { Desk, LabelResult } from "./desk";
import { focusNear, h, say, Scope, set } from "./dom";
import type { Flag } from "./frames";
import { NameBox } from "./name_box";
import { qualityTable } from "./quality";
import { brief, plural, pValue, when } from "./words";

/** It lives as long as its flag, so that what is typed survives every update. */
export class FlagCard {
  readonly element: HTMLElement;
  readonly box: NameBox | null;
  readonly chosen: HTMLInputElement;
  private readonly title = h("b");
  private readonly facts = h("span", { class: "ll-dim", dir: "auto" });
  private readonly verdict = h("span", { class: "ll-verdict", hidden: true }, "probably technical");
  private readonly why = h("span", { dir: "auto" });
  private readonly near = h("div", { class: "ll-dim", dir: "auto" });
  private readonly genes = h("div", { class: "ll-genes" });
  private readonly quality = h("div");
  private readonly offers = h("span", { class: "ll-offers" });
  private readonly acts: HTMLElement;
  private readonly dismiss = h("button", { class: "ll-button ll-small", type: "button" });
  private readonly split = h("button", { class: "ll-button ll-small", type: "button", hidden: true, "data-testid": "ll-flag-split" });
  private readonly apart: HTMLButtonElement;
  private readonly scope = new Scope();
  private flag: Flag | null = null;
  private held = "";

  constructor(private readonly desk: Desk, readonly id: number, choose: () => void) {
    const { scope } = this;
    desk.scope.add(() => scope.close());
    const show = h("button", { class: "ll-button ll-small", type: "button", "data-testid": "ll-flag-show", "aria-label": `Show flag ${id} on the map` }, "Show");
    this.chosen = h("input", { type: "checkbox", "data-testid": "ll-flag-choose", "aria-label": `Choose flag ${id} to merge` });
    this.apart = h("button", { class: "ll-button ll-small", type: "button", hidden: true, "aria-label": `Show flag ${id} again as it was found` }, "As found");
    this.box = desk.ask === null ? null : new NameBox({ names: desk.names, scope }, {
      label: `name flag ${id}`, testid: "ll-flag", placeholder: "name this cluster",
      save: (name) => desk.ask!<LabelResult>("label", { flag: id, name, n_cells: this.flag?.n_cells }),
      saved: (result) => desk.announce(`saved: ${brief(result.label, 60)}, ${plural(result.n_cells, "cell")}`),
    });
    this.acts = h("div", { class: "ll-acts" }, this.offers, h("span", { class: "ll-grow" }), this.split, this.apart, h("label", { class: "ll-check" }, this.chosen, "merge"));
    this.element = h("div", { class: "ll-card", role: "listitem", tabindex: -1, "data-testid": "ll-flag", "data-flag": id },
      h("div", { class: "ll-top" }, h("span", { class: "ll-n" }, String(id)), this.title, this.facts, h("span", { class: "ll-grow" }), desk.ask ? this.dismiss : null, show),
      h("div", { class: "ll-why" }, this.verdict, " ", this.why), this.near, this.genes, this.quality, this.box?.form ?? null, desk.ask ? this.acts : null);
    const pick = () => { if (desk.flag !== id) desk.pickFlag(id); };
    scope.on(this.element, "focusin", pick);
    scope.on(this.element, "click", pick);
    scope.on(show, "click", () => desk.showFlag(id));
    scope.on(this.chosen, "change", choose);
    scope.on(this.dismiss, "click", () => desk.try(this.flag?.state === "dismissed" ? "reopen" : "dismiss", { flag: id }));
    scope.on(this.split, "click", () => desk.try("split", { flag: id, cells: desk.selection ?? [] }));
    scope.on(this.apart, "click", () => desk.try("apart", { flag: id }));
    scope.on<MouseEvent>(this.offers, "click", (event) => {
      const button = (event.target as Element).closest("button");
      const name = button && this.offered()[Number(button.dataset.i)];
      if (name && this.box) this.box.offer(name, button.dataset.accept !== undefined);
    });
  }

  pick(is_picked: boolean): void {
    this.element.classList.toggle("ll-on", is_picked);
  }

  /** How many of its cells are selected on the map: some, and it can be cut there. */
  selected(n: number): void {
    this.split.hidden = !this.flag || n === 0 || n >= this.flag.n_cells;
    say(this.split, `Split off the ${n} selected`);
  }

  private offered(): string[] {
    return (this.flag?.suggested ?? []).slice(0, 3);
  }

  paint(flag: Flag): void {
    const before = this.flag;
    this.flag = flag;
    this.pick(this.desk.flag === flag.id);
    const held = JSON.stringify(flag);
    if (held === this.held) return;
    this.held = held;
    this.element.dataset.state = flag.state;
    say(this.title, plural(flag.n_cells, "cell"));
    const batches = flag.batches.filter(([, n]) => n > 0);
    const where = flag.n_batches > 1 && batches.length ? (batches.length === 1 ? `1 batch only: ${brief(batches[0][0], 20)}` : `${batches.length} of ${flag.n_batches} batches`) : "";
    say(this.facts, [pValue(flag.p_value), where, flag.is_hand_made ? "made by hand" : "", flag.state === "dismissed" ? "dismissed" : ""].filter(Boolean).join(" · "));
    this.facts.title = [`from ${flag.atlas}`, ...flag.batches.map(([name, n]) => `${name}: ${n}`)].join("\n").slice(0, 600);
    this.verdict.hidden = !flag.technical?.length;
    say(this.why, brief(flag.reason, 1000));
    say(this.near, flag.nearest.length > 1 ? `nearest, in radii: ${flag.nearest.map(([name, radii]) => `${brief(name, 20)} ${radii.toFixed(1)}`).join(" · ")}` : "");
    const nearest = flag.nearest[0]?.[0];
    const than = nearest ? ` than ${brief(nearest, 24)}` : "";
    const chips = (genes: string[]) => genes.slice(0, 6).map((gene) => h("code", { title: gene.slice(0, 200) }, brief(gene, 20)));
    this.genes.replaceChildren(
      ...(flag.higher.length ? [h("span", {}, `higher${than}: `), ...chips(flag.higher)] : []),
      ...(flag.lower.length ? [h("span", {}, flag.higher.length ? " lower: " : `lower${than}: `), ...chips(flag.lower)] : []));
    this.quality.replaceChildren(...qualityTable(flag));
    say(this.dismiss, flag.state === "dismissed" ? "Reopen" : "Dismiss");
    set(this.dismiss, { "aria-label": `${flag.state === "dismissed" ? "Reopen" : "Dismiss"} flag ${flag.id}` });
    this.apart.hidden = !flag.is_hand_made;
    const box = this.box;
    if (!box) {
      if (flag.label) this.genes.append(h("span", { class: "ll-saved", "data-state": "saved", dir: "auto" }, ` named ${brief(flag.label, 60)}`));
      return;
    }
    this.offers.hidden = flag.state !== "open" || this.offered().length === 0;
    this.offers.replaceChildren(...this.offered().map((name, i) => flag.accept === name
      ? h("button", { class: "ll-button ll-small", type: "button", dir: "auto", "data-i": i, "data-accept": true, "data-testid": "ll-flag-accept", title: name.slice(0, 200) }, `Accept ${brief(name, 24)}`)
      : h("button", { class: "ll-link ll-offer", type: "button", dir: "auto", "data-i": i, title: name.slice(0, 200) }, `${brief(name, 24)}?`)));
    // What Python says is taken over unless a person is at it right now.
    if (box.isPending || (before && before.label === flag.label && before.saved_at === flag.saved_at)) return;
    if (flag.label !== null && (focusNear(box.input) !== box.input || box.input.value === "")) box.input.value = flag.label;
    else if (flag.label === null && before?.label != null && box.input.value === before.label) box.clear(); // undone
    box.show(flag.label !== null && flag.saved_at ? { state: "saved", text: `✓ saved ${when(flag.saved_at)}` } : null);
    box.input.dispatchEvent(new Event("input"));
  }

  close(): void {
    this.scope.close();
    this.element.remove();
  }
}
