// Learning rate and loss weights, set in mid-run; which there are is the model's to say.
import type { Desk } from "./desk";
import { h, say, set } from "./dom";
import { brief, count, value } from "./words";

interface Field { box: HTMLElement; input: HTMLInputElement; now: HTMLElement; held: number }
const RATE = "learning rate";

export function settingsForm(desk: Desk): { form: HTMLElement; paint: () => void } {
  const { store, scope } = desk;
  const fields = new Map<string, Field>();
  const list = h("span", { class: "ll-fields" });
  const button = h("button", { class: "ll-button ll-primary ll-small", type: "submit", "data-testid": "ll-set" }, "Set");
  const mark = h("span", { class: "ll-saved", role: "status", "data-testid": "ll-set-saved" });
  const summary = h("summary", {}, "Learning rate and weights");
  const form = h("form", { class: "ll-form", novalidate: true }, list, button, mark);
  const whole = h("details", { class: "ll-settings", "data-testid": "ll-settings", hidden: true }, summary, form);
  let stage = "";

  const changed = () => [...fields].filter(([, { input, held }]) => input.value.trim() !== "" && Number(input.value) !== held);
  const judge = () => { button.disabled = changed().length === 0; };
  scope.on(form, "input", () => { judge(); say(mark, ""); });
  scope.on(form, "submit", (event) => {
    event.preventDefault();
    const asked = changed();
    if (!desk.ask || asked.length === 0) return;
    const wrong = asked.find(([, { input }]) => !Number.isFinite(Number(input.value)));
    if (wrong) return show("failed", `not set: ${brief(wrong[0])} is a number, such as ${value(wrong[1].held)}`);
    const numbers = Object.fromEntries(asked.map(([name, { input }]) => [name, Number(input.value)]));
    const { [RATE]: learning_rate = null, ...weights } = numbers;
    show("pending", "pending…");
    desk.ask("set", { learning_rate, weights })
      .then(() => {
        show("saved", `✓ set from step ${count(store.status?.step ?? 0)} on`);
        for (const [, { input }] of asked) delete input.dataset.dirty;
        desk.announce(`set: ${asked.map(([name, { input }]) => `${name} ${input.value}`).join(", ")}`);
      })
      .catch((error: Error) => show("failed", `not set: ${error.message}`));
  });
  const show = (state: string, text: string) => { mark.dataset.state = state; say(mark, text); };

  const field = (name: string): Field => {
    const held = fields.get(name);
    if (held) return held;
    const input = h("input", { class: "ll-input ll-number", type: "text", inputmode: "decimal", autocomplete: "off", "data-testid": `ll-set-${fields.size}` });
    const now = h("span", { class: "ll-dim" });
    const box = h("label", { class: "ll-colour" }, h("span", { dir: "auto", title: name }, brief(name, 24)), input, now);
    scope.on(input, "input", () => { input.dataset.dirty = "1"; });
    const made = { box, input, now, held: NaN };
    fields.set(name, made);
    list.append(box);
    return made;
  };

  const paint = () => {
    const can = desk.ask ? store.status?.settable : null;
    whole.hidden = !can;
    if (!can) return;
    if (can.stage !== stage) {
      stage = can.stage;
      fields.clear();
      list.replaceChildren();
    }
    const rows: [string, number, number][] = [[RATE, can.learning_rate, can.learning_rate_now], ...can.weights];
    for (const [name, full, now] of rows) {
      const one = field(name);
      one.held = full;
      if (!one.input.dataset.dirty) { const text = String(Number(full.toPrecision(6))); if (one.input.value !== text) one.input.value = text; }
      say(one.now, Math.abs(now - full) > 1e-3 * Math.abs(full) ? `now ${value(now)}` : "");
    }
    set(summary, { title: `Of the stage ${can.stage}; its schedules go on` });
    say(summary, `Learning rate and weights${can.n_changes ? ` · set ${count(can.n_changes)}×` : ""}`);
    judge();
  };
  return { form: whole, paint };
}
