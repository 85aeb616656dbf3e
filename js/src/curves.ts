// Learning: one small chart per term, so that a term of 0.02 is as legible as one of 200.
import { chartGeometry, drawChart, readAt, type Geometry, type Inks } from "./chart";
import { settingsForm } from "./control";
import type { Desk } from "./desk";
import { h, rove, say, set, svg } from "./dom";
import type { Mark } from "./frames";
import { healthLine } from "./health";
import type { Curve, Line } from "./series";
import { SvgPen } from "./svg_pen";
import { count, value } from "./words";

const HEIGHT = 96;
const SPANS = [1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048];

interface Chart { figure: HTMLElement; term: HTMLElement; now: HTMLElement; also: HTMLElement; log: HTMLButtonElement; box: HTMLElement; canvas: HTMLCanvasElement; width: number; geometry: Geometry | null }

export function curvesPane(desk: Desk): HTMLElement {
  const { store, scope } = desk;
  const charts = new Map<string, Chart>();
  const logs = new Map<string, boolean>(); // of single charts, where it differs from that of all
  let log = false;
  let strength = 0;
  let cursor: number | null = null;
  let is_visible = true;

  const where = h("small");
  const smoothing = h("input", { class: "ll-slider ll-calm", type: "range", min: 0, max: SPANS.length - 1, step: 1, value: 0, "aria-label": "Smoothing", "data-testid": "ll-smooth" });
  const all_log = h("button", { class: "ll-button ll-small", type: "button", "aria-pressed": "false", title: "Logarithmic scale on every chart", "data-testid": "ll-log" }, "Log");
  const grid = h("div", { class: "ll-curves", "data-testid": "ll-curves", "data-points": 0 });
  const settle = rove(scope, grid, ".ll-plot");
  const empty = h("p", { class: "ll-empty" });
  const alarms = h("div", { class: "ll-alarms", role: "status", "data-testid": "ll-alarms" });
  const health = healthLine();
  const settings = settingsForm(desk);
  const pane = h("section", { class: "ll-section", "aria-label": "Learning" },
    h("div", { class: "ll-tools" }, h("h2", { class: "ll-grow" }, "Learning ", where),
      h("label", { class: "ll-colour" }, h("span", {}, "Smooth"), smoothing), all_log),
    empty, grid, health.line, alarms, settings.form);

  // ---- what is shown -----------------------------------------------------------------------------------------

  const held = (name: string) => store.curves.curves.filter((curve) => curve.name === name && curve.n > 0);
  const line = (curve: Curve | undefined): Line | null => curve ? { steps: curve.steps.subarray(0, curve.n), values: curve.values.subarray(0, curve.n) } : null;
  const span = () => SPANS[strength];
  const inks = (): Inks => ({ accent: desk.ink("--ll-accent"), dim: desk.ink("--ll-dim"), line: desk.ink("--ll-line"), ink: desk.ink("--ll-ink") });

  /** Epochs end where there is a validation, unless Python marks them itself. */
  const marks = (): Mark[] => {
    if (store.marks.some((mark) => /^epoch\b/i.test(mark.text))) return store.marks;
    const validated = store.curves.curves.find((curve) => curve.split === "validation" && curve.n > 0);
    return [...Array.from(line(validated)?.steps ?? [], (step, i) => ({ step, text: `epoch ${i + 1}` })), ...store.marks].sort((a, b) => a.step - b.step);
  };

  const geometryOf = (name: string, w: number, its_marks: Mark[]): Geometry => {
    const curves = held(name);
    const [train, validation] = ["train", "validation"].map((split) => line(curves.find((curve) => curve.split === split)));
    return chartGeometry({ train, validation, marks: its_marks, log: logs.get(name) ?? log, span: span() }, { x: 0, y: 0, w, h: HEIGHT });
  };

  const names = () => [...new Set(store.curves.curves.filter((curve) => curve.n > 0).map((curve) => curve.name))];

  const paint = () => {
    const shown = names();
    set(grid, { "data-points": store.curves.nTrain });
    for (const [name, chart] of charts) if (!shown.includes(name)) { chart.figure.remove(); charts.delete(name); }
    for (const name of shown) if (!charts.has(name)) makeChart(name);
    settle();
    words();
    if (!is_visible) return;
    const its_marks = marks();
    const its_inks = inks();
    for (const [name, chart] of charts) {
      const curves = held(name);
      if (chart.width === 0) chart.width = chart.box.clientWidth;
      if (chart.width === 0) continue;
      const geometry = (chart.geometry = geometryOf(name, chart.width, its_marks));
      const { can_log, is_log } = geometry;
      chart.log.disabled = !can_log;
      set(chart.log, { "aria-pressed": String(is_log), title: can_log ? "Logarithmic scale" : "No logarithmic scale: there are values of 0 or less" });
      const dpr = devicePixelRatio || 1;
      const [w, h_px] = [Math.round(chart.width * dpr), Math.round(HEIGHT * dpr)];
      if (chart.canvas.width !== w || chart.canvas.height !== h_px) [chart.canvas.width, chart.canvas.height] = [w, h_px];
      const pen = chart.canvas.getContext("2d")!;
      pen.setTransform(dpr, 0, 0, dpr, 0, 0);
      pen.clearRect(0, 0, chart.width, HEIGHT);
      drawChart(pen, geometry, its_inks, cursor);
      caption(name, chart, curves, geometry);
    }
  };

  const caption = (name: string, chart: Chart, curves: Curve[], geometry: Geometry) => {
    const last = (split: string) => { const curve = curves.find((one) => one.split === split); return curve ? value(curve.values[curve.n - 1]) : null; };
    const points = cursor === null ? [] : readAt(geometry, cursor);
    const at = (kind: string) => { const point = points.find((one) => one.kind === kind); return point ? value(point.value) : null; };
    const [train, validation] = cursor === null ? [last("train"), last("validation")] : [at("train"), at("validation")];
    say(chart.now, train ?? validation ?? "–");
    say(chart.also, train !== null && validation !== null ? `val ${validation}` : train === null ? "val" : "");
    const steps = geometry.lines[0]?.steps ?? [];
    const step = points[0]?.step ?? steps[steps.length - 1] ?? 0;
    const near = cursor === null ? [] : store.marks.filter((mark) => Math.abs(geometry.x(mark.step) - geometry.x(cursor!)) < 4).map((mark) => mark.text);
    set(chart.box, {
      "aria-label": `${name}, ${curves[0].n} points`, "aria-valuemin": steps[0] ?? 0, "aria-valuemax": steps[steps.length - 1] ?? 0, "aria-valuenow": step,
      "aria-valuetext": [`step ${step}`, train && `train ${train}`, validation && `validation ${validation}`, ...near].filter(Boolean).join(", "),
    });
    if (near.length) say(where, `step ${count(step)}: ${near.join("; ")}`);
  };

  const words = () => {
    say(where, cursor === null ? "train, and validation dashed" : `step ${count(cursor)}`);
    empty.hidden = charts.size > 0;
    const status = store.status;
    const state = status?.state;
    say(empty, state === "training" ? "The first steps are being trained…" : state === "latent" ? "A latent that was given: there is nothing to learn here." : state === "done" || state === "stopped" ? "No loss was recorded." : desk.ask ? "Not trained yet: press Start." : "Not trained yet.");
    const lines = [...(status?.alarms ?? []).map((text) => ["ll-note", text]), ...(status?.notes ?? []).map((text) => ["ll-fact", text])];
    if (alarms.childElementCount !== lines.length || lines.some(([, text], i) => alarms.children[i].textContent !== text))
      alarms.replaceChildren(...lines.map(([kind, text]) => h("div", { class: kind, dir: "auto" }, text)));
    health.paint(status);
    settings.paint();
  };

  const makeChart = (name: string) => {
    const now = h("b", {});
    const also = h("span", { class: "ll-also" });
    const canvas = h("canvas", { "aria-hidden": "true" });
    const own_log = h("button", { class: "ll-link ll-log", type: "button", "aria-pressed": "false", "aria-label": `Logarithmic scale of ${name}` }, "log");
    const term = h("span", { class: "ll-term", title: name, dir: "auto" }, name);
    // A slider is what a screen reader moves along and reads out; nothing is set by it.
    const box = h("div", { class: "ll-plot", role: "slider", tabindex: -1, "data-testid": "ll-chart" }, canvas);
    const figure = h("figure", { class: "ll-figure" }, h("figcaption", {}, term, own_log, also, now), box);
    const chart: Chart = { figure, term, now, also, log: own_log, box, canvas, width: 0, geometry: null };
    // A picture of the pane asks for lines instead of pixels.
    Object.assign(canvas, { toSvg: () => chartSvg(chart.geometry, chart.width, inks()) });
    charts.set(name, chart);
    grid.append(figure);
    resize.observe(box);
    own_log.onclick = () => { logs.set(name, own_log.getAttribute("aria-pressed") !== "true"); request(); };
    box.onpointermove = (event) => { if (chart.geometry) move(chart.geometry.step(event.clientX - box.getBoundingClientRect().left)); };
    box.onpointerleave = () => move(null);
    box.onblur = () => move(null);
    box.onkeydown = (event) => {
      const steps = chart.geometry?.lines[0]?.steps ?? [];
      if (steps.length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
      const last = steps.length - 1;
      const held_at = cursor === null ? last : Math.max(0, steps.findIndex((step) => step >= cursor!));
      const to = { ArrowLeft: held_at - 1, ArrowRight: held_at + 1, PageDown: held_at - 10, PageUp: held_at + 10, Home: 0, End: last }[event.key];
      if (event.key === "Escape" && cursor !== null) move(null);
      else if (to !== undefined) move(steps[Math.min(Math.max(to, 0), last)]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    };
  };

  const move = (step: number | null) => {
    const [first, last] = [...charts.values()].reduce(([a, b], { geometry }) => {
      const steps = geometry?.lines[0]?.steps ?? [];
      return steps.length ? [Math.min(a, steps[0]), Math.max(b, steps[steps.length - 1])] : [a, b];
    }, [Infinity, -Infinity]);
    cursor = step === null ? null : Math.round(Math.min(Math.max(step, first), last));
    request();
  };

  const request = () => desk.painter.request(paint);
  const resize = new ResizeObserver(() => { for (const chart of charts.values()) chart.width = chart.box.clientWidth; request(); });
  // A host may throw a canvas's pixels away while it is scrolled out of sight; and what nobody sees is not drawn.
  const sight = new IntersectionObserver((entries) => { is_visible = entries[entries.length - 1].isIntersecting; if (is_visible) request(); });
  sight.observe(pane);
  scope.add(() => { resize.disconnect(); sight.disconnect(); });
  scope.on(window, "resize", request); // another zoom, or another screen: other pixels
  scope.on(all_log, "click", () => { log = !log; logs.clear(); set(all_log, { "aria-pressed": String(log) }); request(); });
  const smooth = () => {
    strength = Number(smoothing.value);
    set(smoothing, { "aria-valuetext": strength ? `over about ${span()} points` : "off", title: strength ? `Train curves are means over about ${span()} points` : "Off: every minibatch as it is" });
    request();
  };
  scope.on(smoothing, "input", smooth);
  smooth();
  store.listen(["curves", "status"], request, scope.signal);
  desk.onTheme(request);
  paint();
  return pane;
}

function chartSvg(geometry: Geometry | null, width: number, inks: Inks): SVGSVGElement {
  const root = svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` });
  if (geometry) drawChart(new SvgPen(root), geometry, inks);
  return root;
}
