// What lies over the cells: a ring and a number round each flag, the types' names, and the outline being drawn.
import { toScreen, type Camera, type Size } from "./camera";
import type { Coloured } from "./colour";
import type { Desk } from "./desk";
import { h, rove, say, set, svg } from "./dom";
import type { MapFrame } from "./frames";
import { medianPoint, placeLabels, robustEllipse, samples, type Box, type Ellipse, type Point } from "./geometry";
import { css } from "./palette";
import { brief } from "./words";

/** The cells as they are drawn, between two layouts (the same one twice where nothing moves). */
export interface Seen { frame: MapFrame | null; from: Float32Array; to: Float32Array; coloured: Coloured | null; focus: number | null }
/** `mix`: how far cells have come on their way. */
export interface Sight { camera: Camera; size: Size; mix: number }

/** So few would vanish under their own name. */
const FEW_CELLS = 60;

export function mapOverlay(desk: Desk, pickType: (code: number) => void) {
  const { store, scope } = desk;
  const overlay = svg("svg", { class: "ll-overlay", "aria-hidden": "true" });
  const outlines = svg("g");
  const leaders = svg("g", { class: "ll-leaders" });
  const lasso = svg("path", { class: "ll-lasso" });
  overlay.append(leaders, outlines, lasso);
  const labels = h("div", { class: "ll-labels", role: "group", "aria-label": "Types: choose one to see only its cells" });

  let seen: Seen = { frame: null, from: new Float32Array(), to: new Float32Array(), coloured: null, focus: null };
  // What these come from: a new layout of the same cells leaves them as they are.
  let codes: ArrayLike<number> | null = null;
  let types: ReturnType<typeof samples> = [];
  let flagColumn: Uint16Array | null = null;
  let flagged = new Map<number, number[]>();
  let anchors: { from: Point; to: Point; code: number; n: number }[] = [];
  let rings: { id: number; ellipse: Ellipse; before: Point }[] = [];
  const settleLabels = rove(scope, labels, "button");
  const labelButtons = new Map<number, HTMLButtonElement>();
  const widths = new Map<string, number>();
  const ruler = document.createElement("canvas").getContext("2d")!;

  const show = (next: Seen) => {
    seen = next;
    findAnchors();
    findRings();
    makeLabels();
  };

  const findAnchors = () => {
    const { from, to, coloured } = seen;
    if (!coloured) {
      anchors = [];
      return;
    }
    if (codes !== coloured.codes || types.length !== coloured.names.length) types = samples((codes = coloured.codes), coloured.names.length);
    anchors = types.map(({ members, n }, code) => {
      const end = medianPoint(to, members);
      return { from: from === to ? end : medianPoint(from, members), to: end, code, n };
    }).filter((anchor) => anchor.n > 0).sort((a, b) => b.n - a.n);
  };

  const findRings = () => {
    const { frame, from, to } = seen;
    if (!frame) flagged = new Map();
    else if (flagColumn !== frame.flag) flagged = membersOf(frame.flag);
    flagColumn = frame?.flag ?? null;
    rings = [];
    for (const flag of store.flags?.flags ?? []) {
      const held = flagged.get(flag.id);
      const ellipse = held && flag.state !== "dismissed" ? robustEllipse(to, held) : null;
      if (!held || !ellipse) continue;
      const before = from === to ? ellipse : (robustEllipse(from, held) ?? ellipse);
      rings.push({ id: flag.id, ellipse, before: [before.x, before.y] });
    }
    const want = rings.map((ring) => ring.id).join();
    if (outlines.dataset.ids !== want) {
      outlines.dataset.ids = want;
      outlines.replaceChildren(...rings.map((ring) => svg("g", { class: "ll-ring ll-clickable", "data-flag": ring.id }, svg("ellipse"), svg("text"))));
    }
    rings.forEach(({ id }, i) => {
      const label = store.flags?.flags.find((flag) => flag.id === id)?.label;
      say(outlines.children[i].children[1], label ? `${id} ${brief(label, 18)}` : String(id));
    });
  };

  const makeLabels = () => {
    const { names, colours } = seen.coloured ?? { names: [], colours: [] };
    const shown = new Set(anchors.map((anchor) => anchor.code));
    for (const [code, button] of labelButtons) if (!shown.has(code)) { button.remove(); labelButtons.delete(code); }
    for (const { code } of anchors) {
      const button = labelButtons.get(code) ?? h("button", { type: "button", class: "ll-label", dir: "auto" });
      labelButtons.set(code, button);
      button.dataset.code = String(code);
      if (button.title !== names[code]) {
        button.title = names[code];
        say(button, brief(names[code]));
      }
      button.style.setProperty("--ll-own", css(colours[code]));
      set(button, { "aria-pressed": String(seen.focus === code) });
      if (!button.isConnected) labels.append(button);
    }
    settleLabels();
  };

  const place = ({ camera, size, mix }: Sight) => {
    set(overlay, { viewBox: `0 0 ${size.w} ${size.h}`, width: size.w, height: size.h });
    const taken: Box[] = [];
    rings.forEach((ring, i) => {
      const { ellipse, before } = ring;
      const [x, y] = toScreen(camera, size, before[0] + (ellipse.x - before[0]) * mix, before[1] + (ellipse.y - before[1]) * mix);
      const rx = Math.max(11, ellipse.rx * camera.scale + 5);
      const ry = Math.max(11, ellipse.ry * camera.scale + 5);
      const angle = (-ellipse.angle * 180) / Math.PI;
      const group = outlines.children[i] as SVGGElement;
      set(group.children[0], { cx: x, cy: y, rx, ry, transform: `rotate(${angle.toFixed(1)} ${x.toFixed(1)} ${y.toFixed(1)})` });
      const reach = Math.hypot(rx * Math.cos(ellipse.angle), ry * Math.sin(ellipse.angle));
      const tall = Math.hypot(rx * Math.sin(ellipse.angle), ry * Math.cos(ellipse.angle));
      const wide = widthOf(group.children[1].textContent ?? "") + 4;
      const tx = Math.min(size.w - wide - 2, x + reach * 0.76 + 4);
      const ty = Math.max(14, y - tall * 0.76 - 4);
      set(group.children[1], { x: tx, y: ty });
      const is_outside = x + reach < 0 || x - reach > size.w || y + tall < 0 || y - tall > size.h;
      set(group, { visibility: is_outside ? "hidden" : null, class: `ll-ring ll-clickable${desk.flag === ring.id ? " ll-on" : ""}${flagState(ring.id) === "named" ? " ll-named" : ""}` });
      taken.push({ x: tx - 2, y: ty - 12, w: wide, h: 16 });
    });
    const wishes = anchors.map((anchor) => {
      const [x, y] = toScreen(camera, size, anchor.from[0] + (anchor.to[0] - anchor.from[0]) * mix, anchor.from[1] + (anchor.to[1] - anchor.from[1]) * mix);
      const text = brief(seen.coloured?.names[anchor.code] ?? "");
      return { x, y, w: widthOf(text) + 8, h: 17, code: anchor.code, is_beside: anchor.n < FEW_CELLS };
    });
    const places = placeLabels(wishes, size, taken);
    const lines: SVGElement[] = [];
    wishes.forEach((wish, i) => {
      const button = labelButtons.get(wish.code)!;
      const place = places[i];
      button.hidden = place === null;
      button.classList.toggle("ll-off", seen.focus !== null && seen.focus !== wish.code);
      if (!place) return;
      button.style.transform = `translate(${(place[0] - wish.w / 2).toFixed(1)}px, ${(place[1] - wish.h / 2).toFixed(1)}px)`;
      button.style.width = `${wish.w.toFixed(1)}px`;
      if (Math.hypot(place[0] - wish.x, place[1] - wish.y) > 20) lines.push(svg("line", { x1: place[0], y1: place[1] + Math.sign(wish.y - place[1]) * 8, x2: wish.x, y2: wish.y }));
    });
    leaders.replaceChildren(...lines);
  };

  const widthOf = (text: string): number => {
    let width = widths.get(text);
    if (width === undefined) {
      ruler.font = `600 12px ${getComputedStyle(desk.root).fontFamily}`;
      widths.set(text, (width = Math.ceil(ruler.measureText(text).width)));
    }
    return width;
  };

  const flagState = (id: number) => store.flags?.flags.find((flag) => flag.id === id)?.state;

  const sketch = (outline: number[] | null) => {
    let d = "";
    if (outline) for (let i = 0; i < outline.length; i += 2) d += `${i ? "L" : "M"}${outline[i].toFixed(1)} ${outline[i + 1].toFixed(1)}`;
    set(lasso, { d: d ? `${d}Z` : "" });
  };

  scope.on<MouseEvent>(labels, "click", (event) => {
    const button = (event.target as Element).closest<HTMLElement>("button");
    if (button) pickType(Number(button.dataset.code));
  });
  scope.on<MouseEvent>(outlines, "click", (event) => {
    const ring = (event.target as Element).closest<SVGGElement>("[data-flag]");
    if (ring) desk.pickFlag(Number(ring.dataset.flag));
  });

  return {
    overlay, labels, show, place, sketch,
    ring: (id: number): Ellipse | null => rings.find((one) => one.id === id)?.ellipse ?? null,
    count: () => rings.length,
    /** Codes mean something else from now on. */
    forgetLabels: () => {
      for (const button of labelButtons.values()) button.remove();
      labelButtons.clear();
    },
  };
}

/** The cells of each flag. */
function membersOf(flag: Uint16Array): Map<number, number[]> {
  const members = new Map<number, number[]>();
  for (let i = 0; i < flag.length; i++) {
    if (flag[i] === 0) continue;
    const held = members.get(flag[i]);
    if (held) held.push(i);
    else members.set(flag[i], [i]);
  }
  return members;
}
