// One prototype: its vector, its numbers, how far it moves, and what lies near it.
import type { Desk } from "./desk";
import { h, say, set, sized, svg } from "./dom";
import { isFlag, NONE, type PrototypesFrame } from "./frames";
import { joinOf, type Join, type Part } from "./selection";
import { brief, count, percent, plural, value } from "./words";

interface Near { name: string; asked: number; cells: [number, number][]; drift?: { steps: number[]; values: number[] } }

const N_NEAR = 5;
const JOINS = "Shift adds to the selection, Alt subtracts";

export function prototypeDetail(desk: Desk) {
  const { store, scope } = desk;
  const title = h("div", { class: "ll-vector-title" });
  const facts = h("div", { class: "ll-dim ll-near" });
  const vector = h("canvas", { class: "ll-vector", role: "img" });
  const largest = h("div", { class: "ll-dim ll-near" });
  const near = h("div", { class: "ll-neighbours", role: "group", "aria-label": "Nearest types: click one to select its cells on the map" });
  const own = h("button", { class: "ll-button ll-small", type: "button", "data-testid": "ll-own-cells", title: JOINS }, "Select its cells");
  const cells = h("button", { class: "ll-button ll-small", type: "button", "data-testid": "ll-nearest-cells", hidden: desk.ask === null, title: JOINS }, "Select the nearest cells");
  const drift = h("div", { class: "ll-drift", hidden: true });
  const element = h("div", { class: "ll-detail" }, title, facts, vector, largest, drift, near, h("div", { class: "ll-acts" }, own, cells));
  let name = "";
  let seen: Near | null = null;

  const paint = (frame: PrototypesFrame, chosen: string) => {
    name = chosen;
    const i = frame.names.indexOf(chosen);
    const [k, n] = [frame.names.length, frame.n_dims];
    const values = frame.centroid.subarray(i * n, (i + 1) * n);
    title.replaceChildren(h("b", { dir: "auto", title: chosen.slice(0, 200) }, brief(chosen, 40)), h("span", { class: "ll-dim" }, `  ${plural(frame.counts[i] ?? 0, "cell")} · ${plural(n, "dimension")}`));
    const spread = frame.spreads?.[i];
    const moved = frame.drifts?.[i];
    say(facts, [`radius ${value(frame.radii[i] ?? 0)}`, spread == null ? "" : `spread ${value(spread)}`, frame.medoids[i] ? `most typical cell ${brief(frame.medoids[i], 32)}` : "",
      moved == null || !frame.since ? "" : `drift since ${frame.since}: ${percent(moved)} of the distance between types`].filter(Boolean).join(" · "));
    drawVector(values, isFlag(chosen));
    const top = [...values.keys()].sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, 4);
    say(largest, `largest dimensions: ${top.map((d) => `${d + 1} (${value(values[d])})`).join(", ")}`);
    const others = [...frame.names.keys()].filter((j) => j !== i).sort((a, b) => frame.distance[i * k + a] - frame.distance[i * k + b]).slice(0, N_NEAR);
    const most = Math.max(...others.map((j) => frame.distance[i * k + j]), 1e-9);
    near.replaceChildren(...others.map((j) => {
      const d = frame.distance[i * k + j];
      const bar = h("i");
      bar.style.width = `${(100 * d) / most}%`;
      return h("button", { type: "button", class: "ll-row", title: `${frame.names[j].slice(0, 200)}: ${d.toFixed(1)} mean radii. Selects its cells on the map; Shift adds, Alt subtracts`, "data-j": j },
        h("span", { dir: "auto" }, brief(frame.names[j], 22)), h("span", { class: "ll-track" }, bar), h("span", {}, d.toFixed(1)));
    }));
    drawDrift();
  };

  const drawVector = (values: Float32Array, is_flag: boolean) => {
    const [w, height] = [Math.max(60, element.clientWidth), 84];
    const context = sized(vector, w, height);
    const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
    const middle = height / 2;
    context.fillStyle = desk.ink("--ll-line");
    context.fillRect(0, Math.round(middle), w, 1);
    context.fillStyle = desk.ink(is_flag ? "--ll-flag" : "--ll-accent");
    const step = w / values.length;
    values.forEach((v, d) => {
      const length = (v / most) * (middle - 3);
      context.fillRect(d * step, Math.min(middle, middle - length), Math.max(0.8, step * 0.75), Math.max(0.5, Math.abs(length)));
    });
    set(vector, { "aria-label": `The vector of ${brief(name, 60)}: ${values.length} values between ${(-most).toFixed(2)} and ${most.toFixed(2)}` });
  };

  const drawDrift = () => {
    const curve = seen?.name === name ? seen.drift : undefined;
    drift.hidden = !curve || curve.values.length < 2;
    if (!curve || drift.hidden) return;
    const most = Math.max(...curve.values, 1e-9);
    const [first, last] = [curve.steps[0], curve.steps[curve.steps.length - 1]];
    const d = curve.values.map((v, i) => `${i ? "L" : "M"}${((200 * (curve.steps[i] - first)) / Math.max(1, last - first)).toFixed(1)} ${(26 - (24 * v) / most).toFixed(1)}`).join("");
    const text = `drift from look to look: ${percent(curve.values[curve.values.length - 1])} at step ${count(last)}, ${percent(most)} at most`;
    drift.replaceChildren(svg("svg", { class: "ll-curve", viewBox: "0 0 200 28", preserveAspectRatio: "none", role: "img", "aria-label": text }, svg("path", { class: "ll-line-accent", d })), h("span", { class: "ll-dim" }, text));
  };

  /** Asks Python for what only it knows of this prototype. */
  const look = async (frame: PrototypesFrame, wanted: string): Promise<Near | null> => {
    if (!desk.ask) return null;
    try {
      const found = await desk.ask<Near>("nearest", { prototype: frame.names.indexOf(wanted) });
      if (found.name === undefined || found.name === name) seen = { ...found, name };
      drawDrift();
      return seen;
    } catch (error) {
      store.setError(`nearest: ${(error as Error).message}`);
      return null;
    }
  };

  /** Selects the cells on the map that a prototype is made of. */
  const selectOwn = (wanted: string, mode: Join) => {
    const map = store.map;
    if (!map) return;
    const flag = isFlag(wanted) ? Number(wanted.slice(5)) : 0;
    const code = map.label_names.indexOf(wanted);
    const has = flag ? (i: number) => map.flag[i] === flag : (i: number) => map.label[i] === (code < 0 ? NONE + 1 : code);
    const found: [number, number][] = [];
    for (let i = 0; i < map.n; i++) if (has(i)) found.push([map.is_query[i], map.cell[i]]);
    const part: Part = flag ? { mode, kind: "flag", flag } : { mode, kind: "prototype_cells", name: wanted };
    desk.selectPart(part, found);
  };
  scope.on<MouseEvent>(own, "click", (event) => selectOwn(name, joinOf(event)));
  scope.on<MouseEvent>(cells, "click", async (event) => {
    const [frame, mode, wanted] = [store.prototypes, joinOf(event), name];
    const found = frame && await look(frame, wanted);
    if (found) desk.selectPart({ mode, kind: "prototype_nearest", name: wanted, n: found.cells.length, asked: found.asked }, found.cells);
  });
  scope.on<MouseEvent>(near, "click", (event) => {
    const button = (event.target as Element).closest("button");
    const other = button && store.prototypes?.names[Number(button.dataset.j)];
    if (other) selectOwn(other, joinOf(event));
  });
  return { element, paint, look };
}
