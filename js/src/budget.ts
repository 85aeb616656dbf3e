// Under the map: how much of a core it may take while something trains, and all cells instead of the panel's.
import type { Desk } from "./desk";
import { focusNear, h, say, set } from "./dom";
import { count, percent } from "./words";

const SHARES = [0.05, 0.15, 0.3, 0.6, 1];

export function budgetLine(desk: Desk): HTMLElement | null {
  const { store, scope, ask } = desk;
  if (!ask) return null;
  const share = h("select", { class: "ll-select", "aria-label": "Share of a core that layouts may take", "data-testid": "ll-budget" });
  const next = h("span", { class: "ll-grow" });
  const all = h("button", { class: "ll-button ll-small", type: "button", "data-testid": "ll-place-all", title: "Each lies where its nearest cells on the map lie; the next layout shows the panel again" });
  const line = h("div", { class: "ll-budget", hidden: true }, h("label", {}, "layout ", share, " of a core"), next, all);
  const paint = () => {
    const { status, map } = store;
    const held = status?.layout_share;
    line.hidden = held === undefined;
    if (!status || held === undefined) return;
    const shares = SHARES.some((one) => Math.abs(one - held) < 1e-6) ? SHARES : [...SHARES, held].sort((a, b) => a - b);
    if (share.dataset.held !== shares.join()) {
      share.dataset.held = shares.join();
      share.replaceChildren(...shares.map((one) => h("option", { value: one }, percent(one))));
    }
    if (focusNear(share) !== share) share.value = String(shares.find((one) => Math.abs(one - held) < 1e-6));
    say(next, status.layout_next_s == null ? "" : status.layout_next_s > 0 ? `next in ${Math.ceil(status.layout_next_s)} s` : "next one is due");
    all.hidden = !map || map.n === 0 || map.n >= map.n_total;
    say(all, status.placing == null ? `Place all ${count(map?.n_total ?? 0)} cells` : `placing ${percent(status.placing)}`);
    set(all, { disabled: status.placing != null });
  };
  scope.on(share, "change", () => desk.try("budget", { share: Number(share.value) }));
  scope.on(all, "click", () => desk.try("place_all"));
  store.listen(["status", "map"], () => desk.painter.request(paint), scope.signal);
  paint();
  return line;
}
