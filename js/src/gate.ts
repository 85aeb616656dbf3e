// The scale of a colour that is a number, and a gate on it: these cells, by a rule that the journal can keep.
import { rampColour, type Mode, type Scale } from "./colour";
import type { Desk } from "./desk";
import { h, say, set } from "./dom";
import type { ValuesFrame } from "./frames";
import { css, hex, mixColours } from "./palette";
import { joinOf, passing, type Join, type Op, type Part } from "./selection";
import { brief, plural, value } from "./words";

export interface Gated { mode: Mode; numbers: Float32Array; scale: Scale | null; values: ValuesFrame | null }

/** `choose` is given a part without its mode, and the cells that it takes. */
export function gateBar(desk: Desk, choose: (join: Join, part: Omit<Part, "mode">, inside: number[]) => void) {
  const low = h("span");
  const ramp = h("i");
  const high = h("span");
  const unit = h("span", { class: "ll-dim ll-unit" });
  const op = h("select", { class: "ll-select", "aria-label": "At least or at most", "data-testid": "ll-gate-op" }, h("option", { value: ">=" }, "≥"), h("option", { value: "<=" }, "≤"));
  const threshold = h("input", { class: "ll-input ll-number", type: "number", step: "any", "aria-label": "Threshold of the gate", "data-testid": "ll-gate" });
  const n = h("span", { class: "ll-dim", "data-testid": "ll-gate-count", role: "status" });
  const button = (join: Join, text: string, name: string) => {
    const made = h("button", { class: "ll-button ll-small", type: "button", "aria-label": name, title: name, "data-testid": `ll-gate-${join}` }, text);
    desk.scope.on<MouseEvent>(made, "click", (event) => take(join === "replace" ? joinOf(event) : join));
    return made;
  };
  const gate = h("span", { class: "ll-gate", role: "group", "aria-label": "Gate" }, op, threshold,
    button("replace", "Select", "Select the cells that pass. Shift adds, Alt subtracts"), button("add", "+", "Add the cells that pass to the selection"), button("subtract", "−", "Subtract the cells that pass from the selection"), n);
  const bar = h("div", { class: "ll-scale", hidden: true, "data-testid": "ll-scale" }, h("span", { class: "ll-ramp" }, low, ramp, high), unit, gate);
  let held: Gated | null = null;
  let key = "";

  const now = () => Number(threshold.value);
  const inside = () => (held && threshold.value !== "" ? passing(held.numbers, op.value as Op, now()) : []);
  const tell = () => say(n, held && threshold.value !== "" ? plural(inside().length, "cell") : "");

  const take = (join: Join) => {
    if (!held || threshold.value === "" || !Number.isFinite(now())) return threshold.focus();
    const { mode, values } = held;
    const rule = { op: op.value, threshold: now() };
    choose(join, mode === "novelty" ? { kind: "novelty", ...rule } : { kind: values!.by, name: values!.name, values: values!.number, ...rule }, inside());
  };

  const paint = (next: Gated | null, dark: boolean) => {
    held = next;
    bar.hidden = next === null;
    if (!next) return;
    const { mode, scale, values } = next;
    const is_p = mode === "novelty";
    const colour = (share: number) => (is_p ? css(mixColours(hex(desk.ink("--ll-accent")), hex(desk.ink("--ll-flag")), share)) : css(rampColour(share, dark)));
    ramp.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(colour).join(", ")})`;
    say(low, is_p ? "fits" : value(scale!.low));
    say(high, is_p ? "strange · p 0.001" : `${scale!.is_cut ? "≥ " : ""}${value(scale!.high)}`);
    say(unit, is_p ? "" : [values!.unit, scale!.n_none ? `${plural(scale!.n_none, "cell")} without` : ""].filter(Boolean).join(" · "));
    set(bar, { "aria-label": is_p ? "Novelty p" : `${brief(values!.name, 60)}: ${value(scale!.low)} to ${value(scale!.high)} ${values!.unit}` });
    gate.hidden = desk.ask === null;
    const of = is_p ? "novelty" : `${values!.by} ${values!.name}`;
    if (of !== key) {
      // A gate that makes sense at once: what is flagged, what is near, what expresses.
      key = of;
      op.value = is_p || values!.by === "prototype" ? "<=" : ">=";
      threshold.value = String(is_p ? (desk.store.flags?.target_fpr ?? 0.05) : values!.by === "prototype" ? 1 : Number(((scale!.low + scale!.high) / 2).toPrecision(2)));
    }
    tell();
  };

  desk.scope.on(op, "change", tell);
  desk.scope.on(threshold, "input", tell);
  desk.scope.on<KeyboardEvent>(threshold, "keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    take(joinOf(event));
  });
  return { bar, paint, focus: () => { if (bar.hidden || gate.hidden) return false; threshold.focus(); threshold.select(); return true; } };
}

