// Prototypes: how far the types lie from one another, and what one of them looks like.
import type { Desk } from "./desk";
import { focusNear, h, rove, say, set } from "./dom";
import { isFlag, type PrototypesFrame } from "./frames";
import { heatMap } from "./heat_map";
import { prototypeDetail } from "./prototype_detail";
import { brief, percent } from "./words";

const MANY = 40; // beyond, a row as high as its name would make the table longer than a screen

export function prototypesPane(desk: Desk): HTMLElement {
  const { store, scope } = desk;
  let chosen: string | null = null;
  const small = h("small");
  const find = h("input", { class: "ll-input ll-find", type: "search", placeholder: "find a type", "aria-label": "Find a type", autocomplete: "off", spellcheck: "false", dir: "auto", hidden: true });
  const names = h("div", { class: "ll-rows", role: "group", "aria-label": "Types: choose one to see its vector" });
  const heat = heatMap(desk, (name) => choose(name));
  const detail = prototypeDetail(desk);
  const empty = h("p", { class: "ll-empty" }, "Prototypes appear with the first embedding.");
  const matrix = h("div", { class: "ll-matrix" }, names, heat.canvas);
  const body = h("div", { class: "ll-prototypes", "data-testid": "ll-prototypes", "data-count": 0 }, h("div", { class: "ll-left" }, find, matrix, heat.legend, heat.readout), detail.element);
  const pane = h("section", { class: "ll-section", "aria-label": "Prototypes" }, h("div", { class: "ll-tools" }, h("h2", {}, "Prototypes ", small)), empty, body);
  const settle = rove(scope, names, "button");

  const paint = () => {
    const frame = store.prototypes;
    const k = frame?.names.length ?? 0;
    empty.hidden = k > 0;
    body.hidden = k === 0;
    set(body, { "data-count": k });
    const drift = frame?.drift == null ? "" : ` · drift since the last look ${percent(frame.drift)}`;
    say(small, frame && k > 0 ? `distance between types, in mean radii${drift}${frame.n_left_out ? ` · ${frame.n_left_out} small flags left out` : ""}` : "");
    if (!frame || k === 0) return;
    if (chosen === null || !frame.names.includes(chosen)) chosen = frame.names.find(isFlag) ?? frame.names[frame.order[0]];
    const many = k > MANY;
    matrix.classList.toggle("ll-many", many);
    find.hidden = !many;
    const height = many ? 15 : Math.max(13, Math.min(21, Math.floor(230 / k)));
    paintRows(frame, height);
    const room = Math.max(60, matrix.clientWidth - names.offsetWidth - 8);
    heat.paint(frame, chosen, many ? { w: Math.min(room, 300), h: Math.min(room, 300) } : { w: Math.min(room, k * Math.min(30, height * 1.6)), h: k * height });
    detail.paint(frame, chosen);
  };

  const paintRows = (frame: PrototypesFrame, height: number) => {
    const sought = find.hidden ? "" : find.value.trim().toLowerCase();
    const want = frame.order.map((i) => frame.names[i]).filter((name) => name.toLowerCase().includes(sought));
    const buttons = [...names.children] as HTMLElement[];
    if (buttons.length !== want.length || buttons.some((button, i) => button.title !== want[i])) {
      // Only when the types or their order change, so that focus survives an ordinary update.
      const at = focusNear(names);
      const focused = at instanceof HTMLElement && names.contains(at) ? at.title : null;
      names.replaceChildren(...want.map((name) => h("button", { type: "button", class: `ll-row${isFlag(name) ? " ll-is-flag" : ""}`, title: name, dir: "auto" }, brief(name, 22))));
      for (const button of names.children as Iterable<HTMLElement>) if (button.title === focused) button.focus();
    }
    for (const button of names.children as Iterable<HTMLElement>) {
      button.style.height = `${height}px`;
      set(button, { "aria-pressed": String(button.title === chosen) });
    }
    settle();
  };

  const choose = (name: string) => {
    chosen = name;
    paint();
    if (!find.hidden) names.querySelector("[aria-pressed=true]")?.scrollIntoView({ block: "nearest" });
    const frame = store.prototypes;
    if (frame) detail.look(frame, name);
  };

  scope.on<MouseEvent>(names, "click", (event) => {
    const button = (event.target as Element).closest("button");
    if (button) choose(button.title);
  });
  scope.on(find, "input", paint);
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
