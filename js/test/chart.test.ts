import { describe, expect, it } from "vitest";
import { chartGeometry, drawChart, logTicks, readAt, ticks, type ChartData, type Pen } from "../src/chart";
import { SvgPen } from "../src/svg_pen";

const place = { x: 20, y: 30, w: 300, h: 100 };
const line = (values: number[], every = 10) => ({ steps: values.map((_, i) => every * (i + 1)), values });
const chart = (more: Partial<ChartData>) => chartGeometry({ train: null, validation: null, marks: [], log: false, span: 1, ...more }, place);
const ys = (run: number[]) => run.filter((_, i) => i % 2 === 1);
const inks = { accent: "blue", dim: "grey", line: "silver", ink: "black" };

describe("a chart's geometry", () => {
  it("puts every point where its step and value lie between the ends, higher values higher", () => {
    const { lines: [train], plot, x, y } = chart({ train: line([4, 2, 3]) });
    expect(train.runs).toHaveLength(1);
    const [x0, y0, x1, y1, x2, y2] = train.runs[0];
    expect([x0, x1, x2]).toEqual([plot.x, plot.x + plot.w / 2, plot.x + plot.w]);
    expect(y0).toBeLessThan(y2);
    expect(y2).toBeCloseTo((y0 + y1) / 2, 9);
    expect([x(20), y(2)]).toEqual([x1, y1]);
    for (const py of [y0, y1, y2]) expect(py > plot.y && py < plot.y + plot.h).toBe(true);
    expect(plot.x >= place.x && plot.x + plot.w <= place.x + place.w && plot.y + plot.h <= place.y + place.h).toBe(true);
  });

  it("on a log scale puts equal ratios at equal distances", () => {
    const { lines: [train] } = chart({ train: line([1000, 10, 100, 1]), log: true });
    const [a, b, c, d] = ys(train.runs[0]);
    expect(b - a).toBeCloseTo(2 * (b - c), 6);
    expect(d - b).toBeCloseTo(b - c, 6);
  });

  it("has no log scale where a number is 0 or less, whatever else is NaN", () => {
    const of = (...values: number[]) => { const { can_log, is_log } = chart({ train: line(values), validation: line([3, 4]), log: true }); return [can_log, is_log]; };
    expect(of(1, NaN, 2)).toEqual([true, true]);
    expect(of(0, 3)).toEqual([false, false]);
    expect(of(1, -0.1)).toEqual([false, false]);
    expect(chart({ train: line([1, 2]) }).is_log).toBe(false);
    const many = Array.from({ length: 5_000 }, (_, i) => (i === 1_234 ? -1 : 1 + (i % 7)));
    expect(chart({ train: line(many), log: true, span: 64 }).can_log).toBe(false); // the one among five thousand
  });

  it("breaks a line at a value that is no number, and keeps both sides", () => {
    const { lines: [train] } = chart({ train: line([5, 4, NaN, 3, Infinity, 2]) });
    expect(train.runs.map((run) => run.length / 2)).toEqual([2, 1, 1]);
  });

  it("of NaN alone, or of nothing, is empty and still has a finite scale", () => {
    for (const data of [{ train: line([NaN, NaN]) }, { train: line([]) }, {}]) {
      const geometry = chart(data);
      expect(geometry.lines.flatMap((one) => one.runs)).toEqual([]);
      expect(Number.isFinite(geometry.y(0.5)) && Number.isFinite(geometry.x(1))).toBe(true);
    }
  });

  it("of one constant has room above and below", () => {
    const { lines: [train], plot } = chart({ train: line([7, 7, 7]) });
    for (const py of ys(train.runs[0])) expect(py).toBeCloseTo(plot.y + plot.h / 2, 6);
  });

  it("smoothed draws the raw line behind, which a wild minibatch can't make decide the scale", () => {
    const values = Array.from({ length: 400 }, (_, i) => (i === 300 ? 50 : 2 + (i % 2)));
    const { lines, plot } = chart({ train: line(values), span: 64 });
    expect(lines.map((one) => one.kind)).toEqual(["raw", "train"]);
    expect(Math.min(...ys(lines[0].runs[0]))).toBe(plot.y); // the wild one stays inside the chart
    const wobble = (run: number[]) => Math.max(...run.slice(20, 120)) - Math.min(...run.slice(20, 120));
    expect(wobble(ys(lines[1].runs[0]).slice(0, 150))).toBeLessThanOrEqual(wobble(ys(lines[0].runs[0]).slice(0, 150)));
  });

  it("reads the nearest point of each line off, at any step", () => {
    const geometry = chart({ train: line([5, 4, 3, 2]), validation: { steps: [20, 40], values: [4.5, NaN] } });
    expect(readAt(geometry, 24).map(({ kind, step, value }) => [kind, step, value])).toEqual([["train", 20, 4], ["validation", 20, 4.5]]);
    expect(readAt(geometry, 1e9).map(({ step }) => step)).toEqual([40]); // no number at validation's last
    expect(geometry.step(geometry.x(26))).toBeCloseTo(26, 9);
  });

  it("marks stages and settings by name, few epochs by lines, many not at all, and no name over another", () => {
    const epochs = (n: number) => Array.from({ length: n }, (_, i) => ({ step: 10 + i, text: `epoch ${i + 1}` }));
    const train = line(Array.from({ length: 100 }, (_, i) => 100 - i), 1);
    const marks = [{ step: 1, text: "stage encoder" }, { step: 3, text: "learning rate 1 → 2" }, { step: 60, text: "stage classifier" }, { step: 500, text: "stage later" }];
    const placed = chart({ train, marks: [...marks, ...epochs(5)] }).marks;
    expect(placed.map((mark) => mark.kind).sort()).toEqual(["epoch", "epoch", "epoch", "epoch", "epoch", "set", "stage", "stage"]);
    expect(placed.map((mark) => mark.text).filter(Boolean)).toEqual(["encoder", "classifier"]);
    expect(chart({ train, marks: [...marks, ...epochs(40)] }).marks).toHaveLength(3);
  });
});

describe("ticks", () => {
  it("are round numbers within the range", () => {
    expect(ticks(0.013, 0.058, 5).map((tick) => tick.text)).toEqual(["0.02", "0.03", "0.04", "0.05"]);
    expect(ticks(-1, 1, 4).map((tick) => tick.text)).toEqual(["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
    expect(ticks(0, 4000, 4).map((tick) => tick.text)).toEqual(["0", "1k", "2k", "3k", "4k"]);
    expect(ticks(1, 3, 4, true).map((tick) => tick.at)).toEqual([1, 2, 3]);
  });

  it("of a log scale are powers of ten, with 2 and 5 times them in a narrow range", () => {
    expect(logTicks(0.5, 5000).map((tick) => tick.at)).toEqual([1, 10, 100, 1000]);
    expect(logTicks(0.9, 12).map((tick) => tick.text)).toEqual(["1", "2", "5", "10"]);
    expect(logTicks(3, 4).length).toBeGreaterThanOrEqual(2);
  });
});

it("one drawing serves a canvas and an SVG: the same lines, dashes and texts", () => {
  const geometry = chart({ train: line([4, 2, NaN, 3]), validation: line([3, 3.5], 20), marks: [{ step: 20, text: "stage <b>" }] });
  const said: string[] = [];
  const canvas = { strokes: 0, fills: 0 };
  const pen = { beginPath() {}, moveTo() {}, lineTo() {}, arc() {}, setLineDash() {}, stroke() { canvas.strokes++; }, fill() { canvas.fills++; }, fillText(text: string) { said.push(text); } } as unknown as Pen;
  drawChart(pen, geometry, inks, 20);
  const root = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawChart(new SvgPen(root), geometry, inks, 20);
  expect([...root.querySelectorAll("text")].map((text) => text.textContent)).toEqual(said);
  expect(said).toContain("<b>");
  expect(root.querySelectorAll("path[fill=none]")).toHaveLength(canvas.strokes);
  expect(root.querySelectorAll("path:not([fill=none])")).toHaveLength(canvas.fills);
  expect(root.querySelectorAll('path[stroke-dasharray="4 3"]')).toHaveLength(1);
  expect(root.innerHTML).not.toMatch(/NaN|undefined/);
});
