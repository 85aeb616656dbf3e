// Flags: how strict to be, and for each cluster that fits no prototype the reason and the next action beside it.
import type { Desk, LabelResult } from "./desk";
import { h, say, set, svg, type Scope } from "./dom";
import type { Flag, FlagsFrame } from "./frames";
import { NameBox } from "./name_box";
import { brief, count, percent, plural, pValue, when } from "./words";

const USUAL = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

export function flagsPane(desk: Desk): { pane: HTMLElement; focusName: () => void; next: () => void } {
  const { store, scope } = desk;
  const cards = new Map<number, Card>();
  const known = new Set<number>();
  const small = h("small");
  const slider = h("input", { class: "ll-slider", type: "range", min: 0, step: 1, "aria-label": "target false-positive rate", "data-testid": "ll-target-fpr", disabled: desk.ask === null });
  const rate = h("b", { class: "ll-rate" });
  const curve = svg("svg", { class: "ll-curve", role: "img", preserveAspectRatio: "none" });
  const reading = h("div", { class: "ll-reading" });
  const calibration = h("div", { class: "ll-dim ll-calibration" });
  const threshold = h("div", { class: "ll-threshold" }, h("span", {}, "false alarms"), slider, rate, curve, reading, calibration);
  const empty = h("p", { class: "ll-empty", "data-testid": "ll-no-flags" });
  const list = h("div", { class: "ll-cards", role: "list", "aria-label": "Flagged clusters" });
  const pane = h("section", { class: "ll-section", "aria-label": "Flags" }, h("div", { class: "ll-tools" }, h("h2", {}, "Flags ", small)), threshold, empty, list);
  let wanted: number | null = null; // the rate that was asked for and is not in force yet
  let timer: ReturnType<typeof setTimeout> | undefined;
  scope.add(() => clearTimeout(timer));

  const grid = (frame: FlagsFrame | null): number[] => {
    const rates = frame && frame.curve.target_fpr.length > 1 ? [...frame.curve.target_fpr] : [...USUAL];
    if (frame && !rates.some((r) => same(r, frame.target_fpr))) rates.push(frame.target_fpr);
    return rates.sort((a, b) => a - b);
  };

  const paint = () => {
    const frame = store.flags;
    threshold.hidden = !frame || frame.n_scored === 0;
    const flags = frame?.flags ?? [];
    const open = flags.filter((flag) => flag.state !== "dismissed");
    const n_cells = frame?.n_flagged ?? 0;
    say(small, frame && frame.n_scored > 0 ? `${plural(open.length, "cluster")} · ${count(n_cells)} of ${plural(frame.n_scored, "cell")} ${n_cells === 1 ? "fits" : "fit"} no prototype` : "");
    empty.hidden = flags.length > 0;
    say(empty, emptyText(frame));
    if (frame) paintThreshold(frame);
    const fresh = flags.filter((flag) => !known.has(flag.id));
    const first = known.size === 0;
    for (const flag of fresh) known.add(flag.id);
    if (fresh.length && !first) desk.announce(`${plural(fresh.length, "new flag")}: ${fresh.map((flag) => `${flag.id}, ${flag.n_cells} cells`).join("; ")}`);
    for (const [id, card] of cards) if (!flags.some((flag) => flag.id === id)) { card.close(); cards.delete(id); }
    for (const flag of flags) {
      const card = cards.get(flag.id) ?? new Card(desk, flag.id);
      cards.set(flag.id, card);
      card.paint(flag);
      card.box?.suggest(store.status?.vocabulary ?? []);
    }
    // In order, and moved only where the order differs: a moved input would lose its focus.
    const want = [...flags].sort((a, b) => Number(a.state === "dismissed") - Number(b.state === "dismissed")).map((flag) => cards.get(flag.id)!.element);
    want.forEach((element, i) => { if (list.children[i] !== element) list.insertBefore(element, list.children[i] ?? null); });
  };

  const paintThreshold = (frame: FlagsFrame) => {
    const rates = grid(frame);
    if (wanted !== null && same(wanted, frame.target_fpr)) wanted = null;
    const now = wanted ?? frame.target_fpr;
    set(slider, { max: rates.length - 1 });
    slider.value = String(rates.findIndex((r) => same(r, now)));
    say(rate, percent(now));
    slider.setAttribute("aria-valuetext", `${percent(now)} false alarms`);
    say(calibration, frame.calibration);
    drawCurve(frame, rates, now);
  };

  const drawCurve = (frame: FlagsFrame, rates: number[], now: number) => {
    const { target_fpr, n_flagged, precision, coverage } = frame.curve;
    const [w, top, bottom] = [400, 4, 48];
    curve.toggleAttribute("hidden", target_fpr.length < 2);
    reading.hidden = target_fpr.length < 2;
    if (target_fpr.length < 2) return;
    // The slider's thumb is 14 pixels wide: its middle runs from 7 to the width less 7, and so does the curve.
    const x = (r: number) => (w * rates.findIndex((other) => same(other, r))) / Math.max(1, rates.length - 1);
    const path = (values: (number | null)[], highest: number) => {
      let pen = "M";
      return values.map((v, i) => {
        if (v === null) { pen = "M"; return ""; }
        const piece = `${pen}${x(target_fpr[i]).toFixed(1)} ${(bottom - ((bottom - top) * v) / highest).toFixed(1)}`;
        pen = "L";
        return piece;
      }).join("");
    };
    const at = target_fpr.findIndex((r) => same(r, now));
    const lines: [string, string, (number | null)[], number, (v: number) => string][] = [
      ["ll-line-flag", "", n_flagged, Math.max(1, ...n_flagged), (v) => `${plural(v, "cell")} flagged`],
      ...(precision ? [["ll-line-accent", "precision", precision, 1, percent] as [string, string, (number | null)[], number, (v: number) => string]] : []),
      ...(coverage ? [["ll-line-dash", "coverage", coverage, 1, percent] as [string, string, (number | null)[], number, (v: number) => string]] : []),
    ];
    const held = lines.flatMap(([kind, name, values, , text]) => {
      const v = at >= 0 ? values[at] : null;
      return v == null ? [] : [[kind, `${name} ${text(v)}`.trim()] as const];
    });
    const mark = x(now);
    set(curve, { viewBox: `0 0 ${w} 52`, "aria-label": `At ${percent(now)} false alarms: ${held.map(([, text]) => text).join(", ")}` });
    curve.replaceChildren(svg("line", { class: "ll-line-mark", x1: mark, x2: mark, y1: 0, y2: 52 }),
      ...lines.map(([kind, , values, highest]) => svg("path", { class: kind, d: path(values, highest) })));
    reading.replaceChildren(...held.map(([kind, text]) => h("span", {}, h("i", { class: kind }), text)));
  };

  scope.on(slider, "input", () => {
    const frame = store.flags;
    if (!frame) return;
    wanted = grid(frame)[Number(slider.value)];
    paintThreshold(frame);
    clearTimeout(timer);
    timer = setTimeout(ask, 250); // while it is dragged, only where it rests is asked for
  });
  const ask = () => {
    const rate_wanted = wanted;
    if (rate_wanted === null) return;
    desk.ask?.("threshold", { target_fpr: rate_wanted }).catch((error: Error) => {
      wanted = null;
      store.setError(`threshold: ${error.message}`);
      paint();
    });
  };

  const emptyText = (frame: FlagsFrame | null): string => {
    const state = store.status?.state;
    if (!frame || frame.n_scored === 0) return state === "training" ? "Flags appear once the types have settled." : "No cell was scored yet.";
    return `No flags at ${percent(frame.target_fpr)}: every cluster of the ${plural(frame.n_scored, "cell")} scored fits a prototype. Allow more false alarms to look closer.`;
  };

  const pickNext = () => {
    const ids = (store.flags?.flags ?? []).filter((flag) => flag.state !== "dismissed").map((flag) => flag.id);
    if (ids.length === 0) return desk.announce("There are no flags.");
    const id = ids[(ids.indexOf(desk.flag ?? -1) + 1) % ids.length];
    desk.pickFlag(id);
    const card = cards.get(id);
    card?.element.scrollIntoView({ block: "nearest" });
    card?.element.focus({ preventScroll: true });
  };

  desk.onPick(() => { for (const [id, card] of cards) card.pick(id === desk.flag); });
  store.listen(["flags", "status"], () => desk.painter.request(paint), scope.signal);
  paint();
  return {
    pane,
    next: pickNext,
    focusName: () => {
      if (desk.flag === null || !cards.has(desk.flag)) pickNext();
      cards.get(desk.flag ?? -1)?.box?.input.focus();
    },
  };
}

/** One cluster. It lives as long as its flag, so that what is typed survives every update. */
class Card {
  readonly element: HTMLElement;
  readonly box: NameBox | null;
  private readonly title = h("b");
  private readonly facts = h("span", { class: "ll-dim" });
  private readonly why = h("div", { class: "ll-why", dir: "auto" });
  private readonly genes = h("div", { class: "ll-genes" });
  private readonly dismiss = h("button", { class: "ll-button ll-small", type: "button" });
  private flag: Flag | null = null;

  constructor(private readonly desk: Desk, readonly id: number) {
    const scope: Scope = desk.scope;
    const show = h("button", { class: "ll-button ll-small", type: "button", "data-testid": "ll-flag-show", "aria-label": `Show flag ${id} on the map` }, "Show");
    this.box = desk.ask === null ? null : new NameBox(scope, {
      label: `name flag ${id}`, testid: "ll-flag", placeholder: "name this cluster",
      save: (name) => desk.ask!<LabelResult>("label", { flag: id, name }),
      saved: (result) => desk.announce(`saved: ${brief(result.label, 60)}, ${plural(result.n_cells, "cell")}`),
    });
    this.element = h("div", { class: "ll-card", role: "listitem", tabindex: -1, "data-testid": "ll-flag", "data-flag": id },
      h("div", { class: "ll-top" }, h("span", { class: "ll-n" }, String(id)), this.title, this.facts, h("span", { class: "ll-grow" }), desk.ask ? this.dismiss : null, show),
      this.why, this.genes, this.box?.form ?? null);
    scope.on(this.element, "focusin", () => { if (desk.flag !== id) desk.pickFlag(id); });
    scope.on(this.element, "click", () => { if (desk.flag !== id) desk.pickFlag(id); });
    scope.on(show, "click", () => desk.showFlag(id));
    scope.on(this.dismiss, "click", () => desk.try(this.flag?.state === "dismissed" ? "reopen" : "dismiss", { flag: id }));
  }

  pick(is_picked: boolean): void {
    this.element.classList.toggle("ll-on", is_picked);
  }

  paint(flag: Flag): void {
    const before = this.flag;
    this.flag = flag;
    this.pick(this.desk.flag === flag.id);
    this.element.dataset.state = flag.state;
    say(this.title, plural(flag.n_cells, "cell"));
    const in_batches = flag.batches.filter(([, n]) => n > 0).length;
    const batches = flag.n_batches > 1 && flag.batches.length ? ` · ${in_batches === 1 ? "1 batch only" : `${in_batches} of ${flag.n_batches} batches`}` : "";
    say(this.facts, `${pValue(flag.p_value)}${batches}${flag.state === "dismissed" ? " · dismissed" : ""}`);
    this.facts.title = [`from ${flag.atlas}`, ...flag.batches.map(([name, n]) => `${name}: ${n}`)].join("\n").slice(0, 600);
    say(this.why, flag.reason);
    const nearest = flag.nearest[0]?.[0];
    const chips = (genes: string[]) => genes.slice(0, 6).map((gene) => h("code", { title: gene }, brief(gene, 20)));
    this.genes.replaceChildren(
      ...(flag.higher.length ? [h("span", {}, `higher${nearest ? ` than ${brief(nearest, 24)}` : ""}: `), ...chips(flag.higher)] : []),
      ...(flag.lower.length ? [h("span", {}, flag.higher.length ? " lower: " : `lower${nearest ? ` than ${brief(nearest, 24)}` : ""}: `), ...chips(flag.lower)] : []));
    say(this.dismiss, flag.state === "dismissed" ? "Reopen" : "Dismiss");
    set(this.dismiss, { "aria-label": `${flag.state === "dismissed" ? "Reopen" : "Dismiss"} flag ${flag.id}` });
    const box = this.box;
    if (!box) {
      if (flag.label) this.genes.append(h("span", { class: "ll-saved", "data-state": "saved", dir: "auto" }, ` named ${flag.label}`));
      return;
    }
    // What Python says is taken over unless a person is at it right now.
    if (box.isPending || (before && before.label === flag.label && before.saved_at === flag.saved_at)) return;
    if (document.activeElement !== box.input && this.element.getRootNode() === document && flag.label !== null) box.input.value = flag.label;
    else if (flag.label !== null && box.input.value === "") box.input.value = flag.label;
    else if (flag.label === null && before?.label != null && box.input.value === before.label) box.clear(); // undone
    box.show(flag.label !== null && flag.saved_at ? { state: "saved", text: `✓ saved ${when(flag.saved_at)}` } : null);
    box.input.dispatchEvent(new Event("input"));
  }

  close(): void {
    this.element.remove();
  }
}

function same(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-9 + 1e-6 * Math.abs(b);
}
