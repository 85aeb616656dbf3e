// Which store, how far, and the buttons that Python allows at this moment; below it what is wrong, if anything is.
import type { Desk } from "./desk";
import { h, say, set } from "./dom";
import { count, percent, plural, short } from "./words";

const VERBS = [["start", "Start"], ["resume", "Resume"], ["step", "Step"], ["pause", "Pause"], ["stop", "Stop"]] as const;

export function header(desk: Desk, name: string, keep: () => void): HTMLElement[] {
  const { store, scope } = desk;
  const title = h("b", { class: "ll-store", dir: "auto" }, name);
  const chip = h("span", { class: "ll-chip", "data-testid": "ll-state", role: "status" });
  const stats = h("span", { class: "ll-dim ll-stats" });
  const buttons = VERBS.map(([verb, text]) => {
    const button = h("button", { class: `ll-button${verb === "stop" || verb === "step" ? "" : " ll-primary"}`, type: "button", "data-testid": `ll-${verb}`, hidden: true }, text);
    scope.on(button, "click", () => {
      if (!desk.ask) return;
      button.disabled = true; // until it is answered, a second click would ask for the same
      desk.ask(verb).catch((error: Error) => store.setError(`${text}: ${error.message}`)).finally(() => { button.disabled = false; });
    });
    return [verb, button] as const;
  });
  buttons[2][1].title = "Train on one minibatch (.)";
  const keepIt = h("button", { class: "ll-button", type: "button", "data-testid": "ll-keep", hidden: true, title: "Keep this map with its losses, to compare it with another moment (K)" }, "Keep moment");
  scope.on(keepIt, "click", keep);
  const fill = h("div");
  const bar = h("div", { class: "ll-bar", role: "progressbar", "aria-label": "epochs trained", "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  const head = h("header", { class: "ll-header" }, title, chip, stats, h("span", { class: "ll-grow" }), h("span", { class: "ll-toolset" }, ...buttons.map(([, button]) => button), keepIt));

  const bannerText = h("span");
  const close = h("button", { class: "ll-button", type: "button", "aria-label": "Dismiss this message" }, "×");
  const banner = h("div", { class: "ll-banner", role: "alert", "data-testid": "ll-banner", hidden: true }, bannerText, close);
  scope.on(close, "click", () => store.setError(null));

  const paint = () => {
    const status = store.status;
    const state = status?.state ?? (store.link.state === "disconnected" ? "disconnected" : "connecting");
    say(title, status?.store || name || "livelatent");
    title.title = status?.query ? `${status.store}, with the query ${status.query}` : "";
    if (status?.query) title.replaceChildren(h("span", {}, status.store), h("span", { class: "ll-dim" }, " + "), h("span", {}, status.query));
    say(chip, state);
    chip.dataset.state = state;
    chip.title = status?.message ?? "";
    const facts: (string | [string, string])[][] = [];
    if (status?.epoch != null) facts.push(["epoch ", [count(status.epoch), status.epochs != null ? `/${count(status.epochs)}` : ""]]);
    if (status?.step != null) facts.push(["step ", [count(status.step), ""]]);
    if (status?.stage) facts.push([["stage ", ""], [status.stage, ""]]);
    if (status?.cells_per_s != null && state === "training") facts.push([[short(status.cells_per_s), " cells/s"]]);
    if (status?.wait_share != null && state === "training") facts.push(["waiting ", [percent(status.wait_share), ""]]);
    if (facts.length === 0 && status?.n_cells != null) facts.push([[count(status.n_cells), " cells"]], [[count(status.n_genes ?? 0), " genes"]]);
    stats.replaceChildren(...facts.flatMap((fact, i) => [i ? " · " : "", ...fact.flatMap((part) =>
      typeof part === "string" ? [part] : part[0] === "stage " ? [part[0]] : [h("i", {}, part[0]), part[1]])]));
    for (const [verb, button] of buttons) button.hidden = !desk.ask || !status?.can[verb];
    const n_kept = store.moments?.moments.length ?? 0;
    say(keepIt, `Keep moment${n_kept ? ` · ${n_kept}` : ""}`);
    keepIt.hidden = !desk.ask || !store.map?.n;
    const share = status?.epochs ? Math.min(1, (status.epoch ?? 0) / status.epochs) : 0;
    fill.style.width = `${100 * share}%`;
    set(bar, { "aria-valuenow": Math.round(100 * share) });
    bannerText.replaceChildren(...paragraphs());
    banner.hidden = bannerText.childElementCount === 0;
    banner.dataset.kind = store.error ? "error" : store.link.state;
    close.hidden = !store.error;
  };

  const paragraphs = (): HTMLElement[] => {
    const lines: string[] = [];
    const { state, n_queued } = store.link;
    const queued = n_queued > 0 ? `, ${plural(n_queued, "action")} queued` : "";
    if (state === "busy") lines.push(`kernel busy${queued}: what you click waits until it is free`);
    if (state === "disconnected") lines.push(`disconnected${queued}: the kernel is gone or restarted. Run the cell again to bring this view back.`);
    if (store.status?.state === "failed" && store.status.message) lines.push(`training failed: ${store.status.message}`);
    if (store.error) lines.push(store.error);
    return lines.map((line) => h("div", { dir: "auto" }, line));
  };

  store.listen(["status", "link", "error", "map", "moments"], () => desk.painter.request(paint), scope.signal);
  paint();
  return [head, bar, banner];
}
