// Prototypes: how far the types lie from one another, and what one of them looks like.
import type { Desk } from "./desk";
import { h, rove, say, set } from "./dom";
import type { PrototypesFrame } from "./frames";
import { css, hex, mixColours } from "./palette";
import { brief, percent, plural } from "./words";

export function prototypesPane(desk: Desk): HTMLElement {
  const { store, scope } = desk;
  let chosen: string | null = null;
  const small = h("small");
  const names = h("div", { class: "ll-rows", role: "group", "aria-label": "Types: choose one to see its vector" });
  const heat = h("canvas", { class: "ll-heat", role: "img" });
  const vectorTitle = h("div", { class: "ll-vector-title" });
  const vector = h("canvas", { class: "ll-vector", role: "img" });
  const near = h("div", { class: "ll-dim ll-near" });
  const empty = h("p", { class: "ll-empty" }, "Prototypes appear with the first embedding.");
  const matrix = h("div", { class: "ll-matrix" }, names, heat);
  const detail = h("div", { class: "ll-detail" }, vectorTitle, vector, near);
  const body = h("div", { class: "ll-prototypes", "data-testid": "ll-prototypes", "data-count": 0 }, matrix, detail);
  const pane = h("section", { class: "ll-section", "aria-label": "Prototypes" }, h("div", { class: "ll-tools" }, h("h2", {}, "Prototypes ", small)), empty, body);
  const settle = rove(scope, names, "button");

  const rowHeight = (k: number) => Math.max(13, Math.min(21, Math.floor(230 / k)));

  const paint = () => {
    const frame = store.prototypes;
    const k = frame?.names.length ?? 0;
    empty.hidden = k > 0;
    body.hidden = k === 0;
    set(body, { "data-count": k });
    say(small, frame && k > 0 ? `distance between types, in mean radii${frame.drift == null ? "" : ` · drift since the last look ${percent(frame.drift)}`}` : "");
    if (!frame || k === 0) return;
    if (chosen === null || !frame.names.includes(chosen)) chosen = frame.names.find((name) => isFlag(name)) ?? frame.names[frame.order[0]];
    paintRows(frame);
    paintHeat(frame);
    paintVector(frame);
  };

  const paintRows = (frame: PrototypesFrame) => {
    const height = rowHeight(frame.names.length);
    const buttons = [...names.children] as HTMLButtonElement[];
    const want = frame.order.map((i) => frame.names[i]);
    if (buttons.length !== want.length || buttons.some((button, i) => button.title !== want[i])) {
      // Only when the types or their order change, so that focus survives an ordinary update.
      const focused = document.activeElement instanceof HTMLElement && names.contains(document.activeElement) ? document.activeElement.title : null;
      names.replaceChildren(...want.map((name) => h("button", { type: "button", class: `ll-row${isFlag(name) ? " ll-is-flag" : ""}`, title: name, dir: "auto" }, brief(name, 22))));
      for (const button of names.children as Iterable<HTMLElement>) if (button.title === focused) button.focus();
    }
    for (const button of names.children as Iterable<HTMLElement>) {
      button.style.height = `${height}px`;
      set(button, { "aria-pressed": String(button.title === chosen) });
    }
    settle();
  };

  const paintHeat = (frame: PrototypesFrame) => {
    const k = frame.names.length;
    const height = rowHeight(k);
    const room = Math.max(60, Math.min(matrix.clientWidth - names.offsetWidth - 8, k * Math.min(30, height * 1.6)));
    const context = sized(heat, room, k * height);
    const near_ink = hex(desk.ink("--ll-accent"));
    const far_ink = hex(desk.ink("--ll-shade"));
    const most = frame.distance.reduce((a, b) => Math.max(a, b), 0) || 1;
    const w = room / k;
    frame.order.forEach((i, row) => frame.order.forEach((j, column) => {
      context.fillStyle = css(mixColours(near_ink, far_ink, frame.distance[i * k + j] / most));
      context.fillRect(column * w, row * height, Math.max(1, w - 1), height - 1);
    }));
    const row = frame.order.findIndex((i) => frame.names[i] === chosen);
    context.strokeStyle = desk.ink("--ll-ink");
    context.lineWidth = 1;
    context.strokeRect(0.5, row * height - 0.5 + (row === 0 ? 1 : 0), room - 2, height);
    set(heat, { "aria-label": `Distances between ${k} types; dark is near, the rows are in order of likeness. The text beside it has the nearest of the chosen type.` });
  };

  const paintVector = (frame: PrototypesFrame) => {
    const i = frame.names.indexOf(chosen!);
    const k = frame.names.length;
    const n = frame.n_dims;
    const values = frame.centroid.subarray(i * n, (i + 1) * n);
    const others = frame.names.map((name, j) => [name, frame.distance[i * k + j]] as const).filter((_, j) => j !== i).sort((a, b) => a[1] - b[1]);
    const facts = [plural(n, "dimension"), plural(frame.counts[i] ?? 0, "cell")];
    vectorTitle.replaceChildren(h("b", { dir: "auto", title: chosen! }, brief(chosen!, 40)), h("span", { class: "ll-dim" }, `  ${facts.join(" · ")}`));
    say(near, others.length ? `nearest: ${others.slice(0, 3).map(([name, d]) => `${brief(name, 24)} ${d.toFixed(1)}`).join(", ")}${frame.medoids[i] ? ` · most typical cell ${brief(frame.medoids[i], 32)}` : ""}` : "");
    const w = Math.max(60, detail.clientWidth);
    const h_px = Math.max(80, Math.min(170, k * rowHeight(k) - 46));
    const context = sized(vector, w, h_px);
    const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
    const middle = h_px / 2;
    context.fillStyle = desk.ink("--ll-line");
    context.fillRect(0, Math.round(middle), w, 1);
    context.fillStyle = desk.ink(isFlag(chosen!) ? "--ll-flag" : "--ll-accent");
    const step = w / n;
    values.forEach((v, d) => {
      const length = (v / most) * (middle - 3);
      context.fillRect(d * step, Math.min(middle, middle - length), Math.max(0.8, step * 0.75), Math.max(0.5, Math.abs(length)));
    });
    set(vector, { "aria-label": `The vector of ${chosen}: ${n} values between ${(-most).toFixed(2)} and ${most.toFixed(2)}` });
  };

  scope.on<MouseEvent>(names, "click", (event) => {
    const button = (event.target as Element).closest("button");
    if (!button) return;
    chosen = button.title;
    paint();
  });
  scope.on<MouseEvent>(heat, "pointermove", (event) => {
    const frame = store.prototypes;
    if (!frame) return;
    const k = frame.names.length;
    const at = (position: number, length: number) => frame.order[Math.min(k - 1, Math.max(0, Math.floor((position / length) * k)))];
    const [i, j] = [at(event.offsetY, heat.clientHeight), at(event.offsetX, heat.clientWidth)];
    heat.title = i === j ? frame.names[i] : `${frame.names[i]} – ${frame.names[j]}: ${frame.distance[i * k + j].toFixed(2)} mean radii`;
  });
  scope.on<MouseEvent>(heat, "click", (event) => {
    const frame = store.prototypes;
    if (!frame) return;
    chosen = frame.names[frame.order[Math.min(frame.names.length - 1, Math.floor((event.offsetY / heat.clientHeight) * frame.names.length))]];
    paint();
  });
  const resize = new ResizeObserver(() => desk.painter.request(paint));
  resize.observe(body);
  scope.add(() => resize.disconnect());
  store.listen(["prototypes"], () => desk.painter.request(paint), scope.signal);
  desk.onTheme(paint);
  desk.onPick(() => {
    const name = `flag ${desk.flag}`;
    if (desk.flag !== null && store.prototypes?.names.includes(name)) { chosen = name; paint(); }
  });
  paint();
  return pane;
}

function isFlag(name: string): boolean {
  return /^flag \d+$/.test(name);
}

/** The canvas at this size in CSS pixels, cleared, and sharp on any screen. */
function sized(canvas: HTMLCanvasElement, w: number, h_px: number): CanvasRenderingContext2D {
  const dpr = devicePixelRatio || 1;
  canvas.width = Math.round(w * dpr);
  canvas.height = Math.round(h_px * dpr);
  canvas.style.width = `${w}px`;
  canvas.style.height = `${h_px}px`;
  const context = canvas.getContext("2d")!;
  context.scale(dpr, dpr);
  return context;
}
