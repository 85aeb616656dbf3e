// Flags: clusters that fit no prototype, a card each, and what can be done with several of them.
import type { Desk } from "./desk";
import { h, say } from "./dom";
import { FlagCard } from "./flag_card";
import type { FlagsFrame } from "./frames";
import { thresholdControl } from "./threshold";
import { count, percent, plural } from "./words";

const PAGE = 40; // cards made at once: of thousands of flags the largest are worth a look, and a page of them takes no time

export function flagsPane(desk: Desk): { pane: HTMLElement; focusName: () => void; next: () => void } {
  const { store, scope } = desk;
  const cards = new Map<number, FlagCard>();
  const known = new Set<number>();
  let is_open = false; // what a page is opened with is no news
  const chosen = new Set<number>();
  let n_shown = PAGE;
  let selected: Map<number, number> = new Map();
  const small = h("small");
  const threshold = thresholdControl(desk);
  const empty = h("p", { class: "ll-empty", "data-testid": "ll-no-flags" });
  const list = h("div", { class: "ll-cards", role: "list", "aria-label": "Flagged clusters" });
  const more = h("button", { class: "ll-button ll-small", type: "button", hidden: true, "data-testid": "ll-more-flags" });
  const merge = h("button", { class: "ll-button ll-small ll-primary", type: "button", "data-testid": "ll-merge" });
  const mergeBar = h("div", { class: "ll-acts ll-mergebar", hidden: true, role: "group", "aria-label": "Merge the chosen flags" });
  const pane = h("section", { class: "ll-section", "aria-label": "Flags" }, h("div", { class: "ll-tools" }, h("h2", {}, "Flags ", small)), threshold.element, mergeBar, empty, list, more);

  const paint = () => {
    const frame = store.flags;
    const flags = [...(frame?.flags ?? [])].sort((a, b) => Number(a.state === "dismissed") - Number(b.state === "dismissed"));
    const n_open = flags.filter((flag) => flag.state !== "dismissed").length;
    const n_cells = frame?.n_flagged ?? 0;
    say(small, frame && frame.n_scored > 0 ? `${plural(n_open, "cluster")} · ${count(n_cells)} of ${plural(frame.n_scored, "cell")} ${n_cells === 1 ? "fits" : "fit"} no prototype${frame.is_computing ? " · being computed…" : ""}` : "");
    empty.hidden = flags.length > 0;
    say(empty, emptyText(frame));
    threshold.paint(frame);
    const fresh = flags.filter((flag) => !known.has(flag.id));
    for (const flag of fresh) known.add(flag.id);
    if (fresh.length && is_open) desk.announce(`${plural(fresh.length, "new flag")}: ${fresh.slice(0, 5).map((flag) => `${flag.id}, ${flag.n_cells} cells`).join("; ")}`);
    is_open ||= frame !== null;
    const held = desk.flag === null ? -1 : flags.findIndex((flag) => flag.id === desk.flag);
    while (held >= n_shown) n_shown += PAGE; // a flag that is picked has its card
    const shown = flags.slice(0, n_shown);
    const ids = new Set(shown.map((flag) => flag.id));
    for (const [id, card] of cards) if (!ids.has(id)) { card.close(); cards.delete(id); }
    for (const id of chosen) if (!flags.some((flag) => flag.id === id && flag.state !== "dismissed")) chosen.delete(id);
    for (const flag of shown) {
      const card = cards.get(flag.id) ?? new FlagCard(desk, flag.id, chooseCards);
      cards.set(flag.id, card);
      card.paint(flag);
      card.chosen.checked = chosen.has(flag.id);
      card.selected(selected.get(flag.id) ?? 0);
    }
    // In order, and moved only where the order differs: a moved input would lose its focus.
    shown.forEach((flag, i) => {
      const { element } = cards.get(flag.id)!;
      if (list.children[i] !== element) list.insertBefore(element, list.children[i] ?? null);
    });
    more.hidden = flags.length <= n_shown;
    say(more, `Show ${Math.min(PAGE, flags.length - n_shown)} of ${count(flags.length - n_shown)} more`);
    paintMerge();
  };

  const chooseCards = () => {
    for (const [id, card] of cards) if (card.chosen.checked) chosen.add(id); else chosen.delete(id);
    paintMerge();
  };
  const paintMerge = () => {
    mergeBar.hidden = chosen.size < 1;
    merge.disabled = chosen.size < 2;
    say(merge, chosen.size < 2 ? "Merge: choose another" : `Merge flags ${[...chosen].slice(0, 6).join(", ")}${chosen.size > 6 ? "…" : ""} into one`);
  };
  const clear = h("button", { class: "ll-button ll-small", type: "button" }, "Clear");
  mergeBar.append(merge, clear);
  const drop = () => { chosen.clear(); paint(); };
  scope.on(clear, "click", drop);
  scope.on(merge, "click", () => {
    const flags = [...chosen];
    desk.ask?.<{ flag: number }>("merge", { flags }).then(({ flag }) => {
      desk.announce(`flags ${flags.join(", ")} are flag ${flag} now`);
      drop();
      desk.pickFlag(flag);
    }).catch((error: Error) => store.setError(`merge: ${error.message}`));
  });
  scope.on(more, "click", () => { n_shown += PAGE; paint(); });

  /** Cells of each flag that are selected on the map: every flagged cell is there. */
  const countSelected = () => {
    selected = new Map();
    const map = store.map;
    if (desk.selection && map) {
      const keys = new Set(desk.selection.map(([is_query, row]) => 2 * row + is_query));
      map.flag.forEach((id, i) => { if (id && keys.has(2 * map.cell[i] + map.is_query[i])) selected.set(id, (selected.get(id) ?? 0) + 1); });
    }
    for (const [id, card] of cards) card.selected(selected.get(id) ?? 0);
  };

  const emptyText = (frame: FlagsFrame | null): string => {
    if (frame?.is_computing) return "Flags are being computed…";
    if (!frame || frame.n_scored === 0) return store.status?.state === "training" ? "Flags appear once the types have settled; above 20,000 cells when training ends." : "No cell was scored yet.";
    return `No flags at ${percent(frame.target_fpr)}: every cluster of the ${plural(frame.n_scored, "cell")} scored fits a prototype. Allow more false alarms to look closer.`;
  };

  const pickNext = () => {
    const ids = (store.flags?.flags ?? []).filter((flag) => flag.state !== "dismissed").map((flag) => flag.id);
    if (ids.length === 0) return desk.announce("There are no flags.");
    const id = ids[(ids.indexOf(desk.flag ?? -1) + 1) % ids.length];
    desk.pickFlag(id);
    if (!cards.has(id)) paint();
    const card = cards.get(id);
    card?.element.scrollIntoView({ block: "nearest" });
    card?.element.focus({ preventScroll: true });
  };

  desk.onPick(() => { for (const [id, card] of cards) card.pick(id === desk.flag); });
  desk.onSelection(() => desk.painter.request(countSelected));
  store.listen(["map"], () => desk.painter.request(countSelected), scope.signal);
  store.listen(["flags", "status"], () => desk.painter.request(paint), scope.signal);
  paint();
  return {
    pane,
    next: pickNext,
    focusName: () => {
      if (desk.flag === null || !cards.has(desk.flag)) pickNext();
      cards.get(desk.flag ?? -1)?.box?.input.focus();
    },
  };
}
