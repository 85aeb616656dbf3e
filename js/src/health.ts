// How the stream does, in one quiet line: what minibatches hold, and whether training waits for them.
import { h } from "./dom";
import type { StatusFrame } from "./frames";
import { count, percent, short } from "./words";

const STARVED = 0.05;
const WAITS = 0.3;

export function healthLine(): { line: HTMLElement; paint: (status: StatusFrame | null) => void } {
  const line = h("div", { class: "ll-health", "data-testid": "ll-health", role: "group", "aria-label": "Health of the stream" });
  let held = "";
  return {
    line,
    paint: (status) => {
      const health = status?.health;
      line.hidden = !health;
      if (!health) return;
      const few = (x: number) => (x < 10 ? String(Number(x.toFixed(1))) : count(x));
      const facts: [string, string, string, boolean][] = [
        ["cells a minibatch", count(health.minibatch_cells), "", false],
        ["types", few(health.types), "Labels in a minibatch, mean of the last hundred", false],
        ["batches", few(health.batches), "Batches in a minibatch, mean of the last hundred", false],
        ["anchors without a positive", health.lone_share === null ? "" : percent(health.lone_share), "Cells alone with their label in a minibatch: they teach the cell-type term nothing", (health.lone_share ?? 0) > STARVED],
        ["cells/s", short(health.cells_per_s), "", false],
        ["waiting", percent(health.wait_share), "Share of the time that training waits for data", health.wait_share > WAITS],
        ["read ahead", percent(health.groups_ready), "Share of the buffers that were read before they were asked for", false],
        ["read", bytes(health.bytes_read), "Decoded since this stage's stream was opened", false],
      ];
      const text = facts.map((fact) => fact[1]).join("\n");
      if (text === held) return;
      held = text;
      line.replaceChildren(...facts.filter(([, shown]) => shown !== "").map(([name, shown, title, warns]) =>
        h("span", { class: warns ? "ll-warns" : null, title: title || null }, `${name} `, h("b", {}, shown))));
    },
  };
}

function bytes(n: number): string {
  const power = n >= 1e9 ? 9 : n >= 1e6 ? 6 : 3;
  return `${Number((n / 10 ** power).toPrecision(2))} ${{ 9: "GB", 6: "MB", 3: "kB" }[power]}`;
}
