// Learning: one small chart per term, so that a term of 0.02 is as legible as one of 200.
import uPlot from "uplot";
import type { Desk } from "./desk";
import { h, say, set } from "./dom";
import { join, smooth, thin, type Curve } from "./series";
import { value } from "./words";

interface Chart { figure: HTMLElement; now: HTMLElement; also: HTMLElement; box: HTMLElement; plot: uPlot | null; has_validation: boolean; log: boolean }

export function curvesPane(desk: Desk): HTMLElement {
  const { store, scope } = desk;
  const charts = new Map<string, Chart>();
  const cursor = uPlot.sync(crypto.randomUUID());
  let log = false;
  let smoothed = false;
  const grid = h("div", { class: "ll-curves", "data-testid": "ll-curves", "data-points": 0 });
  const empty = h("p", { class: "ll-empty" });
  const alarms = h("div", { class: "ll-alarms", role: "status", "data-testid": "ll-alarms" });
  const toggle = (text: string, title: string, flip: () => boolean) => {
    const button = h("button", { class: "ll-button ll-small", type: "button", "aria-pressed": "false", title }, text);
    scope.on(button, "click", () => { set(button, { "aria-pressed": String(flip()) }); paint(); });
    return button;
  };
  const pane = h("section", { class: "ll-section", "aria-label": "Learning" },
    h("div", { class: "ll-tools" }, h("h2", { class: "ll-grow" }, "Learning ", h("small", {}, "train, and validation dashed")),
      toggle("Log", "Logarithmic scale", () => (log = !log)), toggle("Smooth", "A moving average over the curve", () => (smoothed = !smoothed))),
    empty, grid, alarms);

  const paint = () => {
    const names = [...new Set(store.curves.curves.filter((curve) => curve.n > 0).map((curve) => curve.name))];
    set(grid, { "data-points": store.curves.nTrain });
    for (const [name, chart] of charts) if (!names.includes(name)) { chart.plot?.destroy(); chart.figure.remove(); charts.delete(name); }
    for (const name of names) draw(name, store.curves.curves.filter((curve) => curve.name === name && curve.n > 0));
    empty.hidden = names.length > 0;
    const state = store.status?.state;
    say(empty, state === "training" ? "The first steps are being trained…" : state === "latent" ? "A latent that was given: there is nothing to learn here." : state === "done" || state === "stopped" ? "No loss was recorded." : desk.ask ? "Not trained yet: press Start." : "Not trained yet.");
    const status = store.status;
    const lines = [...(status?.alarms ?? []).map((text) => ["ll-note", text]), ...(status?.notes ?? []).map((text) => ["ll-fact", text])];
    if (alarms.childElementCount !== lines.length || lines.some(([, text], i) => alarms.children[i].textContent !== text))
      alarms.replaceChildren(...lines.map(([kind, text]) => h("div", { class: kind, dir: "auto" }, text)));
  };

  const draw = (name: string, curves: Curve[]) => {
    const train = curves.find((curve) => curve.split === "train");
    const validation = curves.find((curve) => curve.split === "validation");
    const chart = charts.get(name) ?? makeChart(name);
    // A chart of 200 pixels shows no more than 200 lows and highs.
    const lines = [train, validation].map((curve) => {
      if (!curve) return { steps: [], values: [] };
      const held = { steps: curve.steps.subarray(0, curve.n), values: curve.values.subarray(0, curve.n) };
      return thin(smoothed && curve.split === "train" ? { ...held, values: smooth(held.values, Math.max(5, curve.n / 50)) } : held, 200);
    });
    const positive = lines.every((line) => line.values.every((v) => v > 0 || Number.isNaN(v)));
    const use_log = log && positive;
    if (chart.plot === null || chart.log !== use_log) {
      chart.plot?.destroy();
      chart.log = use_log;
      chart.plot = makePlot(chart, use_log);
    }
    chart.plot.setData(join(lines) as uPlot.AlignedData);
    say(chart.now, caption(train ?? validation!));
    say(chart.also, train && validation ? `val ${caption(validation)}` : "");
    set(chart.box, { "aria-label": `${name}: ${train ? `train ${caption(train)}` : ""}${validation ? ` validation ${caption(validation)}` : ""}, ${curves[0].n} points` });
  };

  const makeChart = (name: string): Chart => {
    const now = h("b", {});
    const also = h("span", { class: "ll-also" });
    const box = h("div", { class: "ll-plot", role: "img" });
    const figure = h("figure", { class: "ll-figure" }, h("figcaption", {}, h("span", { class: "ll-term", title: name, dir: "auto" }, name), also, now), box);
    const chart: Chart = { figure, now, also, box, plot: null, has_validation: false, log: false };
    charts.set(name, chart);
    grid.append(figure);
    return chart;
  };

  const makePlot = (chart: Chart, use_log: boolean): uPlot => {
    const axis = (size: number): uPlot.Axis => ({
      stroke: () => desk.ink("--ll-dim"), font: "10px system-ui, sans-serif", size, gap: 3,
      ticks: { show: false }, grid: { stroke: () => desk.ink("--ll-line"), width: 1 },
    });
    const plot = new uPlot({
      width: Math.max(120, chart.box.clientWidth), height: 96, pxAlign: 0,
      padding: [6, 16, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: cursor.key, setSeries: false }, drag: { x: false, y: false }, points: { show: false }, y: false },
      scales: { x: { time: false }, y: use_log ? { distr: 3, log: 10 } : { range: (_, low, high) => padded(low, high) } },
      axes: [
        { ...axis(16), space: 60, grid: { show: false }, values: (_, ticks) => ticks.map((tick) => (tick % 1 ? "" : tick >= 1000 ? `${tick / 1000}k` : String(tick))) },
        { ...axis(34), space: 20, ...(use_log ? { grid: { show: false } } : {}), values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : String(Number(tick.toPrecision(2))).replace("-", "−"))) },
      ],
      series: [
        {},
        { stroke: () => desk.ink("--ll-accent"), width: 1.5, points: { show: isShort, size: 4 }, spanGaps: true },
        { stroke: () => desk.ink("--ll-dim"), width: 1.25, dash: [4, 3], points: { show: isShort, size: 4 }, spanGaps: true },
      ],
      hooks: {
        drawAxes: [(u) => drawMarks(u)],
        setCursor: [(u) => readOut(chart, u)],
      },
    }, [[], [], []] as unknown as uPlot.AlignedData, chart.box);
    return plot;
  };

  /** Stages by name, epochs (when they are few) as hairlines. */
  const drawMarks = (u: uPlot) => {
    const epochs = store.marks.filter((mark) => /^epoch\b/i.test(mark.text));
    const shown = epochs.length > 12 ? store.marks.filter((mark) => !epochs.includes(mark)) : store.marks;
    const { ctx, bbox } = u;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    ctx.font = `${9 * devicePixelRatio}px system-ui, sans-serif`;
    for (const mark of shown) {
      const x = Math.round(u.valToPos(mark.step, "x", true)) + 0.5;
      if (!(x >= bbox.left && x <= bbox.left + bbox.width)) continue;
      const is_epoch = epochs.includes(mark);
      ctx.strokeStyle = desk.ink(is_epoch ? "--ll-line" : "--ll-dim");
      ctx.setLineDash(is_epoch ? [] : [2 * devicePixelRatio, 2 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (is_epoch) continue;
      ctx.fillStyle = desk.ink("--ll-dim");
      const text = mark.text.slice(0, 16);
      const right = x + 3 + ctx.measureText(text).width > bbox.left + bbox.width;
      ctx.textAlign = right ? "right" : "left";
      // Above the curve, or below it where it runs high.
      const near = u.data[0].findIndex((step) => step >= mark.step);
      const high = [1, 2].some((line) => { const v = u.data[line][near]; return v != null && u.valToPos(v, "y", true) < bbox.top + bbox.height / 2; });
      ctx.fillText(text, right ? x - 3 : x + 3, high ? bbox.top + bbox.height - 4 * devicePixelRatio : bbox.top + 8 * devicePixelRatio);
    }
    ctx.restore();
  };

  const readOut = (chart: Chart, u: uPlot) => {
    const i = u.cursor.idx;
    const name = chart.box.parentElement?.querySelector(".ll-term")?.getAttribute("title");
    const curves = store.curves.curves.filter((curve) => curve.name === name);
    const train = curves.find((curve) => curve.split === "train") ?? curves[0];
    if (!train) return;
    const held = i == null ? null : (u.data[1][i] ?? u.data[2][i]);
    if (i == null || held == null) { if (i == null) say(chart.now, caption(train)); return; }
    say(chart.now, `${value(held)} at ${u.data[0][i]}`);
  };

  const resize = new ResizeObserver(() => desk.painter.request(() => {
    for (const { plot, box } of charts.values()) if (plot && box.clientWidth > 0 && box.clientWidth !== plot.width) plot.setSize({ width: box.clientWidth, height: plot.height });
  }));
  resize.observe(grid);
  scope.add(() => {
    resize.disconnect();
    for (const { plot } of charts.values()) plot?.destroy();
  });
  store.listen(["curves", "status"], () => desk.painter.request(paint), scope.signal);
  desk.onTheme(() => { for (const { plot } of charts.values()) plot?.redraw(false, true); });
  paint();
  return pane;
}

/** One or two points make no line worth the name: after the first epoch there is a single validation loss. */
function isShort(u: uPlot, line: number): boolean {
  return (u.data[line] as (number | null)[]).filter((v) => v !== null).length <= 2;
}

function caption(curve: Curve): string {
  return value(curve.values[curve.n - 1]);
}

function padded(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const room = high > low ? 0.06 * (high - low) : Math.max(Math.abs(high) * 0.1, 1e-6);
  return [low - room, high + room];
}
