// One small chart: where its lines, ticks and marks lie, and the drawing of that with a canvas's pen or an SVG's.
import type { Mark } from "./frames";
import { average, smooth, thin, type Line } from "./series";
import { short } from "./words";

export interface ChartData {
  train: Line | null;
  validation: Line | null;
  marks: readonly Mark[];
  log: boolean;
  /** Points that the smoothed train line is a mean of; 1: not smoothed. */
  span: number;
}
export interface Place { x: number; y: number; w: number; h: number }
export interface Tick { at: number; text: string }
export type Kind = "raw" | "train" | "validation";
/** One line's points in pixels, x and y interleaved; a new run begins after every value that is no number. */
export interface Drawn { kind: Kind; steps: number[]; values: number[]; runs: number[][] }
export interface Geometry {
  plot: Place;
  /** Whether every number has a logarithm, and whether the scale is one. */
  can_log: boolean;
  is_log: boolean;
  lines: Drawn[];
  xTicks: Tick[];
  yTicks: Tick[];
  marks: { x: number; text: string; kind: "epoch" | "stage" | "set"; align: "left" | "right"; y: number }[];
  x(step: number): number;
  y(value: number): number;
  /** The step under a pixel. */
  step(x: number): number;
}
export interface Inks { accent: string; dim: string; line: string; ink: string }

/** What is used of a canvas's context; `SvgPen` has it too. */
export type Pen = Pick<CanvasRenderingContext2D, "beginPath" | "moveTo" | "lineTo" | "arc" | "stroke" | "fill" | "fillText" | "setLineDash"
  | "strokeStyle" | "fillStyle" | "lineWidth" | "globalAlpha" | "font" | "textAlign">;

const LEFT = 36;
const RIGHT = 8;
const TOP = 7;
const BOTTOM = 15;
const BUCKETS = 200; // a chart of 200 pixels shows no more lows and highs
const MEANS = 4096; // a smoothed line of more points is smoothed over means of them
const FEW_EPOCHS = 12;

export function chartGeometry(data: ChartData, place: Place): Geometry {
  const plot = { x: place.x + LEFT, y: place.y + TOP, w: Math.max(10, place.w - LEFT - RIGHT), h: Math.max(10, place.h - TOP - BOTTOM) };
  const held: [Kind, Line][] = [];
  if (data.train) {
    const smoothed = data.span > 1 && data.train.steps.length > 2;
    held.push([smoothed ? "raw" : "train", thin(data.train, BUCKETS)]);
    if (smoothed) {
      const few = average(data.train, MEANS);
      held.push(["train", thin({ steps: few.steps, values: smooth(few.values, (data.span * few.steps.length) / data.train.steps.length) }, BUCKETS)]);
    }
  }
  if (data.validation) held.push(["validation", thin(data.validation, BUCKETS)]);

  // Thinning keeps the lowest of all points, so nothing else need be looked at.
  const can_log = range(held.map(([, line]) => line.values))[0] > 0;
  const log = data.log && can_log;
  // Where a smoothed line is, the raw one behind it does not decide the scale: one wild minibatch would flatten all.
  const [low, high] = range(held.filter(([kind]) => kind !== "raw").map(([, line]) => line.values));
  const first = Math.min(...held.map(([, line]) => line.steps[0] ?? Infinity));
  const last = Math.max(...held.map(([, line]) => line.steps[line.steps.length - 1] ?? -Infinity));
  const [x0, x1] = first < last ? [first, last] : Number.isFinite(first) ? [first - 1, first + 1] : [0, 1];
  const to = log ? Math.log10 : (v: number) => v;
  const room = 0.06 * (to(high) - to(low)) || (log ? 0.1 : Math.max(Math.abs(high) * 0.1, 1e-6));
  const [y0, y1] = [to(low) - room, to(high) + room];
  const x = (step: number) => plot.x + ((step - x0) / (x1 - x0)) * plot.w;
  const y = (value: number) => plot.y + (1 - (to(value) - y0) / (y1 - y0)) * plot.h;
  const inside = (px: number) => Math.min(Math.max(px, plot.y), plot.y + plot.h);

  const lines = held.map(([kind, line]): Drawn => {
    const runs: number[][] = [];
    let run: number[] | null = null;
    for (let i = 0; i < line.steps.length; i++) {
      const v = line.values[i];
      if (!Number.isFinite(v)) { run = null; continue; }
      if (!run) runs.push((run = []));
      run.push(x(line.steps[i]), inside(y(v)));
    }
    return { kind, steps: Array.from(line.steps), values: Array.from(line.values), runs };
  });
  const yTicks = (log ? logTicks(10 ** y0, 10 ** y1) : ticks(y0, y1, Math.max(2, Math.round(plot.h / 26)))).map(({ at, text }) => ({ at: y(at), text }));
  const xTicks = ticks(x0, x1, Math.max(2, Math.round(plot.w / 60)), true).map(({ at, text }) => ({ at: x(at), text }));
  return { plot, can_log, is_log: log, lines, xTicks, yTicks, marks: placeMarks(data.marks, lines, plot, x), x, y, step: (px) => x0 + ((px - plot.x) / plot.w) * (x1 - x0) };
}

function range(all: ArrayLike<number>[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const values of all) for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  return low <= high ? [low, high] : [1, 2];
}

/** About `wanted` ticks at 1, 2 or 5 times a power of ten. */
export function ticks(low: number, high: number, wanted: number, whole = false): Tick[] {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  if (whole) step = Math.max(1, Math.round(step));
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const out: Tick[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
    const at = i * step;
    out.push({ at, text: tickText(at, digits) });
  }
  return out;
}

/** Powers of ten, with 2 and 5 times them where there are few; within one power as on a plain axis. */
export function logTicks(low: number, high: number): Tick[] {
  const decades = Math.log10(high / low);
  const factors = decades > 2.5 ? [1] : decades > 0.6 ? [1, 2, 5] : [];
  const every = Math.ceil(decades / 5);
  const out: Tick[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const factor of factors) {
      const at = factor * 10 ** power;
      if (at >= low && at <= high && power % every === 0) out.push({ at, text: tickText(at, Math.max(0, -power)) });
    }
  }
  return out.length >= 2 ? out : ticks(low, high, 3);
}

function tickText(at: number, digits: number): string {
  const size = Math.abs(at);
  const text = size >= 1e3 ? `${at < 0 ? "-" : ""}${size % 1000 && size < 1e4 ? `${size / 1e3}k` : short(size).replace(".0", "")}` : digits > 3 && size > 0 ? at.toExponential(0) : at.toFixed(digits);
  return text.replace(/-/g, "−");
}

/** Stages and settings by name, epochs (when they are few) as hairlines; a name with no room is left out. */
function placeMarks(marks: readonly Mark[], lines: Drawn[], plot: Place, x: (step: number) => number): Geometry["marks"] {
  const n_epochs = marks.filter((mark) => /^epoch\b/i.test(mark.text)).length;
  let free = -Infinity;
  return marks.flatMap((mark): Geometry["marks"] => {
    const at = x(mark.step);
    const kind = /^epoch\b/i.test(mark.text) ? "epoch" as const : /^stage /.test(mark.text) ? "stage" as const : "set" as const;
    if (!(at >= plot.x - 1 && at <= plot.x + plot.w + 1) || (kind === "epoch" && n_epochs > FEW_EPOCHS)) return [];
    const short_text = kind === "epoch" ? "" : mark.text.replace(/^stage /, "").slice(0, 18);
    const width = 5 * short_text.length + 6;
    const align = at + width > plot.x + plot.w ? "right" as const : "left" as const;
    const [left, right] = align === "left" ? [at, at + width] : [at - width, at];
    const text = left >= free ? short_text : "";
    if (text) free = right;
    // Above the curve, or below it where it runs high.
    const high = lines.some((line) => line.runs.some((run) => { for (let i = 0; i < run.length; i += 2) if (run[i] >= left && run[i] <= right && run[i + 1] < plot.y + plot.h / 2) return true; return false; }));
    return [{ x: at, text, kind, align, y: high ? plot.y + plot.h - 4 : plot.y + 8 }];
  });
}

/** The point of each line that lies nearest to a step; the raw line has none of its own. */
export function readAt(geometry: Geometry, step: number): { kind: Kind; step: number; value: number; x: number; y: number }[] {
  return geometry.lines.filter((line) => line.kind !== "raw" && line.steps.length > 0).flatMap((line) => {
    let [low, high] = [0, line.steps.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (line.steps[middle] <= step) low = middle;
      else high = middle;
    }
    const i = step - line.steps[low] <= line.steps[high] - step ? low : high;
    const value = line.values[i];
    return Number.isFinite(value) ? [{ kind: line.kind, step: line.steps[i], value, x: geometry.x(line.steps[i]), y: geometry.y(value) }] : [];
  });
}

export function drawChart(pen: Pen, geometry: Geometry, inks: Inks, cursor: number | null = null): void {
  const { plot } = geometry;
  const line = (x0: number, y0: number, x1: number, y1: number) => { pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke(); };
  const crisp = (at: number) => Math.round(at) + 0.5;
  pen.lineWidth = 1;
  pen.globalAlpha = 1;
  pen.setLineDash([]);
  pen.strokeStyle = inks.line;
  pen.fillStyle = inks.dim;
  pen.font = "10px system-ui, sans-serif";
  pen.textAlign = "right";
  for (const { at, text } of geometry.yTicks) {
    line(plot.x, crisp(at), plot.x + plot.w, crisp(at));
    pen.fillText(text, plot.x - 4, at + 3.5);
  }
  pen.textAlign = "center";
  for (const { at, text } of geometry.xTicks) pen.fillText(text, Math.min(at, plot.x + plot.w + RIGHT - 2.8 * text.length), plot.y + plot.h + 12);
  pen.font = "9px system-ui, sans-serif";
  for (const mark of geometry.marks) {
    pen.strokeStyle = mark.kind === "epoch" ? inks.line : mark.kind === "set" ? inks.accent : inks.dim;
    pen.setLineDash(mark.kind === "epoch" ? [] : mark.kind === "set" ? [1, 2] : [2, 2]);
    line(crisp(mark.x), plot.y, crisp(mark.x), plot.y + plot.h);
    pen.textAlign = mark.align;
    if (mark.text) pen.fillText(mark.text, mark.x + (mark.align === "left" ? 3 : -3), mark.y);
  }
  for (const { kind, runs } of geometry.lines) {
    pen.strokeStyle = pen.fillStyle = kind === "validation" ? inks.dim : inks.accent;
    pen.globalAlpha = kind === "raw" ? 0.28 : 1;
    pen.lineWidth = kind === "train" ? 1.5 : kind === "raw" ? 1 : 1.25;
    pen.setLineDash(kind === "validation" ? [4, 3] : []);
    for (const run of runs) {
      pen.beginPath();
      // A lone point makes no line: after the first epoch there is a single validation loss.
      if (run.length <= 2) { pen.arc(run[0], run[1], 2, 0, 2 * Math.PI); pen.fill(); continue; }
      pen.moveTo(run[0], run[1]);
      for (let i = 2; i < run.length; i += 2) pen.lineTo(run[i], run[i + 1]);
      pen.stroke();
    }
  }
  pen.globalAlpha = 1;
  pen.setLineDash([]);
  if (cursor === null) return;
  const points = readAt(geometry, cursor);
  const at = geometry.x(points[0]?.step ?? cursor);
  if (!(at >= plot.x - 1 && at <= plot.x + plot.w + 1)) return;
  pen.strokeStyle = inks.dim;
  pen.lineWidth = 1;
  line(crisp(at), plot.y, crisp(at), plot.y + plot.h);
  for (const point of points) {
    pen.fillStyle = point.kind === "validation" ? inks.dim : inks.accent;
    pen.beginPath();
    pen.arc(point.x, point.y, 3, 0, 2 * Math.PI);
    pen.fill();
  }
}
