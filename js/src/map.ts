// The map: cells in their latest layout, the camera, and what a hand does with them. `map_overlay.ts` names them.
import { budgetLine } from "./budget";
import { fitBounds, toLayout, zoomAt, type Camera } from "./camera";
import { Chosen } from "./chosen";
import { modes, numbersOf, valuesName, type Coloured, type Emphasis, type Inks, type Mode } from "./colour";
import { Colouring } from "./colouring";
import type { Desk } from "./desk";
import { focusNear, h, say, set } from "./dom";
import { positions, type MapFrame } from "./frames";
import { nearestPoint, pointsInPolygon, type Point } from "./geometry";
import { gateBar } from "./gate";
import { hoverCard } from "./hover_card";
import { selectionBar } from "./label";
import { makeRenderer } from "./make_renderer";
import { mapOverlay } from "./map_overlay";
import { Motion } from "./motion";
import { hex, word } from "./palette";
import { cellReader } from "./reader";
import type { PointRenderer } from "./renderer";
import { CanvasPoints } from "./renderer_2d";
import { searchBox } from "./search";
import type { Join, Part } from "./selection";
import { listenPointer, type Tool } from "./tools";
import { brief, count } from "./words";

const SLOW_MS = 100;
const REACH_PX = 9;

export function mapPane(desk: Desk) {
  const { store, scope } = desk;
  const small = h("small");
  const colourBox = h("select", { class: "ll-select", "aria-label": "Colour cells by", "data-testid": "ll-colour" });
  const tools: [Tool | "fit", HTMLButtonElement][] = (["lasso", "box", "pan", "fit"] as const).map((name) => [name,
    h("button", { class: "ll-button ll-small", type: "button", "data-testid": `ll-tool-${name}`, "aria-pressed": name === "fit" ? null : String(name === "lasso"),
      title: { lasso: "Draw around cells (L). Shift adds, Alt subtracts", box: "Drag a rectangle (B). Shift adds, Alt subtracts", pan: "Drag the map (P)", fit: "Show the whole map (F)" }[name] },
    name[0].toUpperCase() + name.slice(1))]);
  const over = mapOverlay(desk, (code) => setFocus(focus === code ? null : code));
  const card = hoverCard(desk);
  const reader = cellReader(desk, {
    seen: () => ({ frame, places: motion.to, camera: motion.camera, size: motion.size, among: chosen.mask }),
    bring: (x, y) => motion.hold({ ...motion.camera, x, y }),
    show: (cell, at) => card.show(frame!, cell, at, motion.size, store.values, true),
    hide: card.hide,
  });
  const search = desk.ask && searchBox(desk, (by, name) => desk.colourBy(by, name));
  const gate = gateBar(desk, (join, part, inside) => choose({ ...part, mode: join }, inside));
  const hint = h("div", { class: "ll-hint", hidden: true }, "click the map, then the wheel zooms");
  const empty = h("p", { class: "ll-empty ll-over" });
  const stage = h("div", { class: "ll-stage", tabindex: 0, role: "application", "aria-label": "Map of cells", "data-testid": "ll-map", "data-cells": 0, "data-layout": 0 },
    over.overlay, over.labels, reader.ring, card.card, hint, empty);
  const bar = selectionBar(desk, () => chosen.selection, { clear: () => clearSelection(), invert: () => choose({ mode: "invert" }, []), onMap: () => frame });
  const colourLabel = h("label", { class: "ll-colour" }, h("span", {}, "Colour"), colourBox);
  const pane = h("section", { class: "ll-section", "aria-label": "Map" },
    h("div", { class: "ll-tools" }, h("h2", { class: "ll-grow" }, "Map ", small),
      h("span", { class: "ll-toolset" }, colourLabel, search?.box ?? null), h("span", { class: "ll-toolset" }, ...tools.map(([, button]) => button))),
    gate.bar,
    h("div", { class: "ll-stage-frame" }, stage, bar.bar), budgetLine(desk));

  let frame: MapFrame | null = null;
  const motion = new Motion(() => request());
  const chosen = new Chosen();
  const colouring = new Colouring();
  let mode: Mode | null = null;
  let tool: Tool = "lasso";
  let focus: number | null = null;
  let coloured: Coloured | null = null;
  let worn: Coloured | null = null; // what the renderer has
  const lookers: (() => void)[] = []; // who shows the same cells in the same colours
  let every = 1;
  let is_drawing = false;
  let wanted = ""; // what was asked for with the search box, shown once it has come
  let strain = 0; // paints in a row that took too long; negative: that leave room for twice the cells
  let is_visible = true;
  let dark = false;
  let renderer: PointRenderer = makeRenderer(onLost);
  stage.prepend(renderer.canvas);
  set(stage, { "data-renderer": renderer.name });

  function onLost(): void {
    // The other renderer needs no context that could be lost; the next view may try WebGL again.
    const canvas2d = new CanvasPoints();
    const slow = renderer;
    slow.canvas.replaceWith(canvas2d.canvas);
    renderer = canvas2d;
    slow.close(); // a page has some 16 contexts
    set(stage, { "data-renderer": renderer.name });
    renderer.setPositions(motion.from, motion.to);
    if (coloured) renderer.setLook(coloured.look);
    request();
  }

  // ---- state → what is drawn -------------------------------------------------------------------------------

  const inks = (): Inks => ({
    background: hex(desk.ink("--ll-bg")), unknown: hex(desk.ink("--ll-unknown")), flag: hex(desk.ink("--ll-flag")),
    accent: hex(desk.ink("--ll-accent")), dark,
  });

  const takeFrame = () => {
    if (is_drawing) return; // what is drawn refers to the layout that is seen
    const next = store.map;
    if (next !== frame) {
      const before = frame;
      frame = next;
      const same_cells = before !== null && next !== null && before.panel === next.panel && before.n === next.n;
      if (!same_cells) {
        reader.close();
        clearSelection();
      }
      if (!next) motion.empty();
      else if (!same_cells || before.layout !== next.layout || !sameBounds(before.bounds, next.bounds)) {
        motion.go(positions(next), next.bounds, same_cells && before.layout !== next.layout);
        renderer.setPositions(motion.from, motion.to);
      }
      chooseMode();
    }
    recolour();
  };

  const chooseMode = () => {
    const held = frame ? modes(frame, store.values) : [];
    if (mode === null || !held.some(([name]) => name === mode)) mode = held[0]?.[0] ?? null;
    const texts = held.map(([, text]) => text).join("\n");
    if (colourBox.dataset.held !== texts) {
      colourBox.dataset.held = texts;
      colourBox.replaceChildren(...held.map(([name, text]) => h("option", { value: name }, text)));
    }
    if (mode) colourBox.value = mode;
    colourLabel.hidden = held.length === 0;
  };

  const takeValues = () => {
    const { values } = store;
    const key = values ? `${values.by} ${values.name}` : "";
    if (values?.state === "failed" && wanted === key) {
      wanted = "";
      store.setError(`no values: ${values.message}`);
    }
    if (values?.state === "ready" && wanted === key) {
      wanted = "";
      mode = "values";
      focus = null;
      over.forgetLabels();
      desk.announce(`coloured by ${valuesName(values)}`);
    }
    chooseMode();
    recolour();
  };

  const recolour = () => {
    const emphasis: Emphasis = { focus, selected: chosen.mask };
    coloured = frame && mode ? colouring.of(frame, mode, store.flags, emphasis, inks(), store.values) : null;
    const numbers = frame && numbersOf(frame, mode, store.values);
    gate.paint(numbers && mode ? { mode, numbers, scale: coloured?.scale ?? null, values: store.values } : null, dark);
    for (const listener of lookers) listener();
    if (coloured === null || coloured !== worn) renderer.setLook(coloured?.look ?? { rgba: new Uint32Array(), order: new Uint32Array(), rare: 0, split: 0 });
    worn = coloured;
    over.show({ frame, from: motion.from, to: motion.to, coloured, focus });
    words();
    small.title = frame ? `${caption(frame)}${frame.n_query > 0 ? `; ${count(frame.n_query)} of them from the query` : ""}` : "";
    set(stage, {
      "data-cells": frame?.n ?? 0, "data-layout": frame?.layout ?? 0,
      "aria-label": frame ? `Map of ${frame.n} cells coloured by ${mode === "values" ? valuesName(store.values) : (mode ?? "nothing")}, ${over.count()} flags. Arrow keys move, plus and minus zoom, R reads cell by cell.` : "Map of cells: empty",
    });
    request();
  };

  /** What a status changes: words only. Several come a second, and colouring a million cells takes longer than that. */
  const words = () => {
    say(small, frame ? caption(frame) : "");
    empty.hidden = frame !== null && frame.n > 0;
    const state = store.status?.state;
    say(empty, state === "training" ? "The first layout is being made…" : !desk.ask || state === "done" || state === "stopped" || state === "latent" ? "No layout yet." : "Not trained yet: press Start. The map appears with the first layout.");
    bar.paint();
  };

  // ---- drawing ----------------------------------------------------------------------------------------------

  const request = () => desk.painter.request(paint);

  const paint = () => {
    if (motion.size.w === 0 || !is_visible) return;
    motion.step();
    const { camera, size, mix } = motion;
    const began = performance.now();
    const point_px = Math.max(1.3, 7.4 - 1.15 * Math.log10(Math.max(10, frame?.n ?? 10))) * Math.min(2, Math.max(0.8, motion.zoom ** 0.35));
    renderer.draw({ camera, size, dpr: devicePixelRatio || 1, mix, point_px, background: word(hex(desk.ink("--ll-bg"))), every });
    const took = performance.now() - began;
    strain = took > SLOW_MS ? Math.max(strain, 0) + 1 : every > 1 && took < SLOW_MS / 3 ? Math.min(strain, 0) - 1 : 0;
    if (strain > 1 || strain < -9) adapt();
    over.place({ camera, size, mix });
    reader.place();
  };

  /** Where painting is slow: another renderer, then fewer of the plain cells; flagged, selected, rare ones are all kept. */
  const adapt = () => {
    if (strain > 1 && renderer.name === "webgl2") onLost();
    else every = strain > 1 ? Math.min(16, 2 * every) : every / 2;
    strain = 0;
    if (frame) say(small, caption(frame));
  };

  const caption = (held: MapFrame): string => [
    `${count(held.n)} of ${count(held.n_total)} cells`,
    held.age_s != null && store.status?.state === "training" ? `layout ${Math.round(held.age_s)} s old` : "",
    held.moved != null ? `moved ${held.moved.toFixed(2)}` : "",
    store.values?.state === "fetching" ? `fetching ${brief(store.values.name, 30)}…` : "",
    every > 1 ? `thinned ${every}-fold to stay quick` : "",
  ].filter(Boolean).join(" · ");

  // ---- hands ------------------------------------------------------------------------------------------------

  const use = (next: Tool) => {
    tool = next;
    for (const [name, button] of tools) if (name !== "fit") set(button, { "aria-pressed": String(name === next) });
    stage.dataset.tool = next;
    desk.announce(`tool: ${next}`);
  };

  function clearSelection(): void {
    chosen.clear();
    recolour();
    desk.selectionChanged(null);
  }

  const choose = (part: Part, inside: readonly number[]) => {
    if (!frame || (part.mode === "subtract" && !chosen.mask)) return;
    if (!chosen.take(frame, part, inside)) {
      clearSelection();
      return desk.announce("no cell is selected");
    }
    recolour();
    desk.selectionChanged(chosen.selection!.cells);
  };

  const select = (outline: number[], join: Join) => {
    if (!frame) return;
    const polygon: Point[] = [];
    for (let i = 0; i < outline.length; i += 2) polygon.push(toLayout(motion.camera, motion.size, outline[i], outline[i + 1]));
    choose({ mode: join, kind: tool === "box" ? "box" : "lasso", layout: frame.layout, polygon }, pointsInPolygon(motion.to, polygon.flat()));
    bar.focus(); // a name is what comes next
  };

  /** While a hand draws, the cells stand still: on their way between two layouts no selection could be replayed. */
  const draw = (outline: number[] | null) => {
    over.sketch(outline);
    if (is_drawing === (outline !== null)) return;
    is_drawing = outline !== null;
    if (is_drawing) motion.halt();
    else desk.painter.request(takeFrame);
  };

  const selectFlag = (join: Join) => {
    if (!frame || desk.flag === null) return desk.announce("Pick a flag first: N");
    const inside: number[] = [];
    for (let i = 0; i < frame.n; i++) if (frame.flag[i] === desk.flag) inside.push(i);
    choose({ mode: join, kind: "flag", flag: desk.flag }, inside);
  };

  const selectPart = (part: Part, wanted: readonly [number, number][]) => {
    if (!frame) return;
    const { cell, is_query } = frame;
    const keys = new Set(wanted.map(([q, row]) => 2 * row + q));
    const inside: number[] = [];
    cell.forEach((row, i) => { if (keys.has(2 * row + is_query[i])) inside.push(i); });
    if (inside.length === 0) return desk.announce("None of its cells is on the map.");
    choose(part, inside);
    stage.scrollIntoView({ block: "nearest" });
  };

  const showFlag = (id: number) => {
    desk.pickFlag(id);
    const ellipse = over.ring(id);
    if (!ellipse) return desk.announce(`Flag ${id} is not among the cells on the map.`);
    const reach = Math.max(ellipse.rx, ellipse.ry, 1e-6) * 3.2;
    const { size } = motion;
    const goal = fitBounds([ellipse.x - reach, ellipse.x + reach, ellipse.y - reach, ellipse.y + reach], size);
    const most = frame ? fitBounds(frame.bounds, size).scale * 8 : goal.scale;
    motion.flyTo({ ...goal, scale: Math.min(goal.scale, most) });
    stage.scrollIntoView({ block: "nearest" });
  };

  let hoverAt: Point | null = null;
  const hover = () => {
    const at = hoverAt;
    hint.hidden = true;
    const { camera, size, to } = motion;
    const cell = at && frame && !motion.is_moving ? nearestPoint(to, toLayout(camera, size, ...at), null, REACH_PX / camera.scale) : -1;
    if (cell >= 0) card.show(frame!, cell, at!, size, store.values);
    else if (reader.isOpen()) reader.place();
    else card.hide();
  };

  listenPointer(stage, scope, {
    tool: () => tool,
    sketch: draw,
    select,
    click: () => { if (focus !== null) setFocus(null); else if (chosen.mask) clearSelection(); },
    pan: (dx, dy) => motion.hold({ ...motion.camera, x: motion.camera.x - dx / motion.camera.scale, y: motion.camera.y + dy / motion.camera.scale }),
    zoom: (px, py, factor) => motion.hold(zoomAt(motion.camera, motion.size, px, py, factor)),
    hover: (px, py) => { hoverAt = [px, py]; desk.painter.request(hover); },
    leave: () => { hoverAt = null; desk.painter.request(hover); },
    isActive: () => {
      const active = stage.parentElement!.contains(focusNear(stage));
      hint.hidden = active;
      return active;
    },
  });

  const setFocus = (code: number | null) => {
    focus = code;
    recolour();
  };
  scope.on(colourBox, "change", () => {
    mode = colourBox.value as Mode;
    wanted = "";
    focus = null;
    over.forgetLabels();
    recolour();
  });
  for (const [name, button] of tools) scope.on(button, "click", () => (name === "fit" ? motion.fit() : use(name)));
  scope.on<KeyboardEvent>(stage, "keydown", (event) => {
    if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
    if (reader.key(event)) {
      event.preventDefault();
      return event.stopPropagation();
    }
    const { camera, size } = motion;
    const step = 60 / camera.scale;
    const middle: Point = [size.w / 2, size.h / 2];
    const move: Record<string, () => Camera> = {
      ArrowLeft: () => ({ ...camera, x: camera.x - step }), ArrowRight: () => ({ ...camera, x: camera.x + step }),
      ArrowUp: () => ({ ...camera, y: camera.y + step }), ArrowDown: () => ({ ...camera, y: camera.y - step }),
      "+": () => zoomAt(camera, size, ...middle, 1.4), "=": () => zoomAt(camera, size, ...middle, 1.4), "-": () => zoomAt(camera, size, ...middle, 1 / 1.4),
    };
    if (!move[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    motion.hold(move[event.key]());
  });

  scope.on(stage, "blur", () => reader.close());

  // ---- size, sight, theme -----------------------------------------------------------------------------------

  const measure = () => {
    const next = { w: stage.clientWidth, h: stage.clientHeight };
    if (next.w !== motion.size.w || next.h !== motion.size.h) motion.resize(next);
  };
  const resize = new ResizeObserver(() => { measure(); request(); });
  resize.observe(stage);
  // A host may throw a canvas's pixels away while it is scrolled out of sight.
  const sight = new IntersectionObserver((entries) => {
    is_visible = entries.some((entry) => entry.isIntersecting);
    if (is_visible) request();
  });
  sight.observe(stage);
  scope.add(() => {
    resize.disconnect();
    sight.disconnect();
    renderer.close();
  });
  store.listen(["map", "flags"], () => desk.painter.request(takeFrame), scope.signal);
  store.listen(["status"], () => desk.painter.request(words), scope.signal);
  store.listen(["values"], () => desk.painter.request(takeValues), scope.signal);
  desk.colourBy = (by, name) => {
    wanted = `${by} ${name}`;
    desk.try("colour", { by, name });
    desk.announce(`fetching ${brief(name, 60)}`);
  };
  const themed = () => {
    dark = desk.root.classList.contains("ll-dark");
    recolour();
  };
  desk.onTheme(themed);
  desk.onPick(request);
  desk.showFlag = showFlag;
  desk.selectPart = selectPart;
  dark = desk.root.classList.contains("ll-dark");
  stage.dataset.tool = tool;
  takeFrame();

  return {
    pane, measure, use, selectFlag,
    fit: () => motion.fit(),
    look: () => ({ frame, coloured }),
    onLook: (listener: () => void) => { lookers.push(listener); },
    search: () => search?.input.focus(),
    gate: () => { if (!gate.focus()) desk.announce("Colour by a number first: C, then a gene"); },
    invert: () => choose({ mode: "invert" }, []),
    focusName: () => bar.focus(),
    read: () => {
      if (reader.close()) return;
      stage.focus({ preventScroll: true });
      reader.open();
    },
    escape: () => {
      if (reader.close()) return;
      if (chosen.mask) clearSelection();
      else if (focus !== null) setFocus(null);
      else desk.pickFlag(null);
    },
  };
}

function sameBounds(a: readonly number[], b: readonly number[]): boolean {
  return a.every((value, i) => value === b[i]);
}
