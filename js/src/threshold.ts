// How strange a cell must be: a slider over the rate of false alarms, and beside it what each rate would flag.
import type { Desk } from "./desk";
import { h, say, set, svg } from "./dom";
import type { FlagsFrame } from "./frames";
import { brief, count, percent, plural } from "./words";

type Line = { kind: string; values: (number | null)[]; highest: number; text: (v: number) => string };

const TICKS = [0.001, 0.01, 0.05, 0.25];

export function thresholdControl(desk: Desk): { element: HTMLElement; paint: (frame: FlagsFrame | null) => void } {
  const { store, scope } = desk;
  const slider = h("input", { class: "ll-slider", type: "range", min: 0, step: 1, "aria-label": "target false-positive rate", "data-testid": "ll-target-fpr", disabled: desk.ask === null });
  const rate = h("b", { class: "ll-rate" });
  const curve = svg("svg", { class: "ll-curve", role: "img", preserveAspectRatio: "none" });
  const ticks = h("div", { class: "ll-ticks", "aria-hidden": "true" });
  const reading = h("div", { class: "ll-reading", "data-testid": "ll-reading" });
  const said = h("div", { class: "ll-calibration" });
  const element = h("div", { class: "ll-threshold" }, h("span", {}, "false alarms"), slider, rate, curve, ticks, reading, said);
  let wanted: number | null = null; // the rate that the hand is at and that is not in force yet
  let timer: ReturnType<typeof setTimeout> | undefined;
  scope.add(() => clearTimeout(timer));

  /** The rates there are, in even steps of their logarithm. */
  const grid = (frame: FlagsFrame): number[] => {
    const rates = [...frame.curve.target_fpr];
    if (!rates.some((r) => same(r, frame.target_fpr))) rates.push(frame.target_fpr);
    return rates.sort((a, b) => a - b);
  };

  const paint = (frame: FlagsFrame | null) => {
    element.hidden = !frame || frame.n_scored === 0;
    if (!frame || element.hidden) return;
    const rates = grid(frame);
    if (wanted !== null && same(wanted, frame.target_fpr)) wanted = null;
    const now = wanted ?? frame.target_fpr;
    set(slider, { max: rates.length - 1 });
    slider.value = String(rates.findIndex((r) => same(r, now)));
    say(rate, percent(now));
    const words = draw(frame, rates, now);
    slider.setAttribute("aria-valuetext", `${percent(now)} false alarms${words ? `: ${words}` : ""}`);
    const lines: [string, string][] = [...(frame.warnings ?? []).map((text): [string, string] => ["ll-note", text]),
      ...[frame.curve.of ?? "", frame.calibration && `Calibrated on ${frame.calibration.replace(/^Calibrated on /, "")}`].filter(Boolean).map((text): [string, string] => ["ll-dim", text])];
    if (said.dataset.held !== JSON.stringify(lines)) {
      said.dataset.held = JSON.stringify(lines);
      said.replaceChildren(...lines.map(([kind, text]) => h("div", { class: kind, dir: "auto" }, brief(text, 600))));
    }
  };

  const draw = (frame: FlagsFrame, rates: number[], now: number): string => {
    const { target_fpr, n_flagged, by_chance, precision, coverage } = frame.curve;
    const [w, top, bottom] = [400, 4, 48];
    const none = target_fpr.length < 2;
    for (const one of [curve, ticks, reading]) one.toggleAttribute("hidden", none);
    if (none) return "";
    const x = (r: number) => (w * rates.findIndex((other) => same(other, r))) / Math.max(1, rates.length - 1);
    const most = Math.max(1, ...n_flagged);
    const lines: Line[] = [{ kind: "ll-line-flag", values: n_flagged, highest: most, text: (v) => `${plural(v, "cell")} flagged` }];
    if (by_chance) lines.push({ kind: "ll-line-dim ll-line-dash", values: by_chance.map((v) => Math.min(v, most)), highest: most, text: () => "" });
    if (precision) lines.push({ kind: "ll-line-accent", values: precision, highest: 1, text: (v) => `precision ${percent(v)}` });
    if (coverage) lines.push({ kind: "ll-line-accent ll-line-dash", values: coverage, highest: 1, text: (v) => `coverage ${percent(v)}` });
    const path = ({ values, highest }: Line) => {
      let pen = "M";
      return values.map((v, i) => {
        if (v === null) { pen = "M"; return ""; }
        const piece = `${pen}${x(target_fpr[i]).toFixed(1)} ${(bottom - ((bottom - top) * v) / highest).toFixed(1)}`;
        pen = "L";
        return piece;
      }).join("");
    };
    const at = target_fpr.findIndex((r) => same(r, now));
    const held = lines.flatMap((line): [string, string][] => {
      const v = at < 0 ? null : line.values[at];
      if (v == null) return line.text === lines[0].text && same(now, frame.target_fpr) ? [[line.kind, line.text(frame.n_flagged)]] : [];
      const text = line.text(v) || `${count(by_chance![at])} if none were new`;
      return [[line.kind, text]];
    });
    const words = held.map(([, text]) => text).join(", ");
    const mark = x(now);
    set(curve, { viewBox: `0 0 ${w} 52`, "aria-label": `At ${percent(now)} false alarms: ${words}` });
    curve.replaceChildren(svg("line", { class: "ll-line-mark", x1: mark, x2: mark, y1: 0, y2: 52 }), ...lines.map((line) => svg("path", { class: line.kind, d: path(line) })));
    const [low, high] = [rates[0], rates[rates.length - 1]];
    ticks.replaceChildren(...TICKS.filter((r) => r >= low * 0.99 && r <= high * 1.01).map((r) => {
      const tick = h("span", {}, percent(r));
      tick.style.left = `${(100 * Math.log(r / low)) / Math.log(high / low)}%`;
      return tick;
    }));
    reading.replaceChildren(...held.map(([kind, text]) => h("span", {}, h("i", { class: kind }), text)),
      ...(frame.is_computing ? [h("span", {}, "being computed…")] : wanted !== null ? [h("span", {}, "applied when let go")] : []));
    return words;
  };

  scope.on(slider, "input", () => {
    const frame = store.flags;
    if (!frame) return;
    wanted = grid(frame)[Number(slider.value)];
    paint(frame);
    clearTimeout(timer);
  });
  scope.on(slider, "change", () => { // let go; a key is let go at once, and often more follow
    clearTimeout(timer);
    timer = setTimeout(ask, 250);
  });
  const ask = () => {
    if (wanted === null) return;
    desk.ask?.("threshold", { target_fpr: wanted }).catch((error: Error) => {
      wanted = null;
      store.setError(`threshold: ${error.message}`);
      paint(store.flags);
    });
  };
  return { element, paint };
}

function same(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-9 + 1e-6 * Math.abs(b);
}
