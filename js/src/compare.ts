// Moments of training that were kept, two of them side by side: one panel, one set of colours.
import { fitBounds, toLayout, toScreen, type Camera, type Size } from "./camera";
import type { Coloured } from "./colour";
import type { Desk } from "./desk";
import { h, say, set } from "./dom";
import { nameOf, positions, type MapFrame, type Moment } from "./frames";
import { hex, word } from "./palette";
import { CanvasPoints } from "./renderer_2d";
import { count, percent, plural, value } from "./words";

export interface Looked { frame: MapFrame | null; coloured: Coloured | null }
interface Shown { step: number | null; epoch: number | null; stage: string; knn: number | null; values: Map<string, number>; points: Float32Array; bounds: readonly number[] }
const NOW = 0;
const REACH_PX = 12;

export function comparePane(desk: Desk, look: () => Looked): { pane: HTMLElement; request: () => void; keep: () => void } {
  const { store, scope } = desk;
  const small = h("small");
  const sides = [0, 1].map((side) => {
    const choice = h("select", { class: "ll-select", "aria-label": side ? "Moment on the right" : "Moment on the left", "data-testid": `ll-moment-${side}` });
    const drop = h("button", { class: "ll-link ll-drop", type: "button" }, "drop");
    const facts = h("span", { class: "ll-dim ll-moment-facts" });
    const points = new CanvasPoints();
    const here = h("i", { class: "ll-here", hidden: true });
    const stage = h("div", { class: "ll-moment-map", role: "img" }, points.canvas, here);
    const figure = h("figure", { class: "ll-figure" }, h("div", { class: "ll-moment-head" }, choice, drop, facts), stage);
    return { choice, drop, facts, points, here, stage, figure, chosen: side ? NOW : -1, camera: null as Camera | null, at: new Float32Array() as Float32Array };
  });
  const table = h("table", { class: "ll-moment-table" });
  const cell = h("div", { class: "ll-dim ll-moment-cell" }, " ");
  const pane = h("section", { class: "ll-section ll-compare", "aria-label": "Moments", "data-testid": "ll-compare", hidden: true },
    h("div", { class: "ll-tools" }, h("h2", { class: "ll-grow" }, "Moments ", small)), h("div", { class: "ll-sides" }, ...sides.map((side) => side.figure)), cell, table);
  let is_visible = true;
  let is_drawn = false; // once even out of sight: a canvas that nobody drew on is black
  let hovered = -1;

  const moments = (): Moment[] => store.moments?.moments ?? [];
  const of = (id: number): Moment | undefined => moments().find((moment) => moment.id === id);
  const keyOf = (curve: { name: string; split: string }) => `${curve.name}${curve.split === "validation" ? " · validation" : ""}`;

  /** A moment's cells where the map of now has them, in its order; NaN for a cell that it lacks. */
  const aligned = (frame: MapFrame, moment: Moment): Float32Array => {
    const out = new Float32Array(2 * frame.n).fill(NaN);
    const place = new Map<number, number>();
    for (let i = 0; i < moment.n; i++) place.set(2 * moment.cell[i] + moment.is_query[i], i);
    const held = positions(moment);
    for (let i = 0; i < frame.n; i++) {
      const j = place.get(2 * frame.cell[i] + frame.is_query[i]);
      if (j !== undefined) { out[2 * i] = held[2 * j]; out[2 * i + 1] = held[2 * j + 1]; }
    }
    return out;
  };

  const shownAt = (id: number, frame: MapFrame): Shown | null => {
    const moment = of(id);
    if (moment) return { step: moment.step, epoch: moment.epoch, stage: moment.stage, knn: moment.knn_accuracy, bounds: moment.bounds, points: aligned(frame, moment), values: new Map(moment.values.map(([name, split, v]) => [keyOf({ name, split }), v ?? NaN])) };
    const status = store.status;
    const values = new Map(store.curves.curves.filter((curve) => curve.n > 0).map((curve) => [keyOf(curve), mean(curve.values.subarray(Math.max(0, curve.n - (curve.split === "train" ? 50 : 1)), curve.n))]));
    return { step: status?.step ?? null, epoch: status?.epoch ?? null, stage: status?.stage ?? "", knn: null, bounds: frame.bounds, points: positions(frame), values };
  };

  const paint = () => {
    const kept = moments();
    pane.hidden = kept.length === 0;
    if (kept.length === 0) return;
    say(small, `${count(kept.length)} of at most ${count(store.moments!.most)} kept`);
    for (const [i, side] of sides.entries()) {
      if (side.chosen !== NOW && !of(side.chosen)) side.chosen = i === 0 ? kept[0].id : NOW;
      const options = [...kept.map((moment) => [String(moment.id), `step ${count(moment.step)}`]), [String(NOW), "now"]];
      const text = options.flat().join();
      if (side.choice.dataset.held !== text) {
        side.choice.dataset.held = text;
        side.choice.replaceChildren(...options.map(([id, name]) => h("option", { value: id }, name)));
      }
      side.choice.value = String(side.chosen);
      side.drop.hidden = !desk.ask || side.chosen === NOW;
      set(side.drop, { "aria-label": `Drop the moment of step ${of(side.chosen)?.step ?? ""}` });
    }
    const { frame, coloured } = look();
    if (!frame || !coloured || (!is_visible && is_drawn)) return;
    const shown = sides.map((side) => shownAt(side.chosen, frame));
    const names = [...new Set(shown.flatMap((one) => [...(one?.values.keys() ?? [])]))];
    const seen = (one: Shown | null, name: string) => { const v = one?.values.get(name); return v === undefined ? "–" : value(v); };
    table.replaceChildren(
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, ""), ...shown.map((one, i) => h("th", { scope: "col" }, sides[i].chosen === NOW ? "now" : `step ${count(one?.step ?? 0)}`)))),
      h("tbody", {}, ...names.map((name) => h("tr", {}, h("th", { scope: "row", dir: "auto" }, name), ...shown.map((one) => h("td", {}, seen(one, name)))))));
    for (const [i, side] of sides.entries()) {
      const one = shown[i]!;
      say(side.facts, [one.epoch === null ? "" : `epoch ${count(one.epoch)}`, one.stage, one.knn === null ? "" : `kNN ${percent(one.knn)}`].filter(Boolean).join(" · "));
      set(side.stage, { "aria-label": `Map of ${plural(frame.n, "cell")} ${side.chosen === NOW ? "now" : `at step ${one.step}`}, in the colours of the map above` });
      const size = sizeOf(side.stage);
      if (size.w === 0) continue;
      side.camera = fitBounds(one.bounds, size, 8);
      side.at = one.points;
      side.points.setPositions(one.points, one.points);
      side.points.setLook(coloured.look);
      is_drawn = true;
      side.points.draw({ camera: side.camera, size, dpr: devicePixelRatio || 1, mix: 1, point_px: Math.max(1.2, 5.4 - 0.9 * Math.log10(Math.max(10, frame.n))), background: word(hex(desk.ink("--ll-bg"))), every: frame.n > 200_000 ? 4 : 1 });
    }
    point();
  };

  /** A ring around the cell under the pointer, in both maps. */
  const point = () => {
    const { frame } = look();
    for (const side of sides) {
      const [x, y] = [side.at[2 * hovered], side.at[2 * hovered + 1]];
      side.here.hidden = hovered < 0 || !side.camera || !Number.isFinite(x);
      if (side.here.hidden) continue;
      const [px, py] = toScreen(side.camera!, sizeOf(side.stage), x, y);
      side.here.style.transform = `translate(${px - 6}px, ${py - 6}px)`;
    }
    say(cell, hovered < 0 || !frame ? " " : `cell ${count(frame.cell[hovered])}${frame.is_query[hovered] ? " of the query" : ""} · ${nameOf(frame.label_names, frame.label[hovered]) ?? "no label"}`);
  };

  for (const side of sides) {
    scope.on(side.choice, "change", () => { side.chosen = Number(side.choice.value); request(); });
    scope.on(side.drop, "click", () => desk.try("drop_moment", { moment: side.chosen }));
    scope.on<PointerEvent>(side.stage, "pointermove", (event) => {
      if (!side.camera) return;
      const box = side.stage.getBoundingClientRect();
      const [x, y] = toLayout(side.camera, sizeOf(side.stage), event.clientX - box.left, event.clientY - box.top);
      let best = (REACH_PX / side.camera.scale) ** 2;
      hovered = -1;
      for (let i = 0; 2 * i < side.at.length; i++) {
        const d = (side.at[2 * i] - x) ** 2 + (side.at[2 * i + 1] - y) ** 2;
        if (d < best) { best = d; hovered = i; }
      }
      desk.painter.request(point);
    });
    scope.on(side.stage, "pointerleave", () => { hovered = -1; desk.painter.request(point); });
  }
  const request = () => desk.painter.request(paint);
  const resize = new ResizeObserver(request);
  for (const side of sides) resize.observe(side.stage);
  const sight = new IntersectionObserver((entries) => { is_visible = entries[entries.length - 1].isIntersecting; if (is_visible) request(); });
  sight.observe(pane);
  scope.add(() => {
    resize.disconnect();
    sight.disconnect();
    for (const side of sides) side.points.close();
  });
  store.listen(["moments", "map"], request, scope.signal);
  desk.onTheme(request);
  paint();
  const keep = () => {
    desk.ask?.<{ step: number }>("keep")
      .then(({ step }) => desk.announce(`kept the moment of step ${step}; the maps are side by side below`))
      .catch((error: Error) => store.setError(`Keep: ${error.message}`));
  };
  return { pane, request, keep };
}

function sizeOf(stage: HTMLElement): Size {
  return { w: stage.clientWidth, h: stage.clientHeight };
}

function mean(values: Float32Array): number {
  return values.reduce((sum, v) => sum + v, 0) / values.length;
}
