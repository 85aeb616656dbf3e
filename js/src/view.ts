// One view: four panes, a head and a foot.
import { comparePane } from "./compare";
import { curvesPane } from "./curves";
import { Desk, type Ask } from "./desk";
import { h } from "./dom";
import { flagsPane } from "./flags";
import { header } from "./header";
import { keyHints, keySheet, listenKeys } from "./keys";
import { historyBar, takeBack } from "./label";
import { mapPane } from "./map";
import { nameList } from "./name_box";
import { prototypesPane } from "./prototypes";
import { saveMenu } from "./save";
import type { Store } from "./store";
import { followTheme } from "./theme";

/** Builds the view in `element`; the function that comes back takes all of it away again. */
export function mountView(element: HTMLElement, store: Store, ask: Ask | null, name: string): () => void {
  const root = h("div", { class: "livelatent", role: "group", "aria-label": "livelatent live view", tabindex: -1, "data-testid": "ll-root" });
  Object.assign(root, { livelatent: store }); // for a console, and for tests that compare what a page holds
  element.append(root);
  const desk = new Desk(store, root, ask);
  followTheme(root, desk.scope, () => desk.themeChanged()); // before the panes: they read the colours

  const map = mapPane(desk);
  const flags = flagsPane(desk);
  const compare = comparePane(desk, map.look);
  map.onLook(compare.request);
  const { sheet, toggle } = keySheet(desk);
  root.append(
    ...header(desk, name, compare.keep),
    ...(ask ? [] : [h("div", { class: "ll-snapshot" }, "a snapshot: nothing here can be changed")]),
    h("div", { class: "ll-main" },
      h("div", { class: "ll-column" }, map.pane, prototypesPane(desk)),
      h("div", { class: "ll-column ll-right" }, curvesPane(desk), flags.pane)),
    compare.pane,
    h("footer", { class: "ll-footer" }, ...keyHints(desk, toggle), h("span", { class: "ll-grow" }), historyBar(desk)),
    sheet, nameList(desk), desk.announcer,
  );
  for (const pane of root.querySelectorAll<HTMLElement>(".ll-section")) pane.querySelector(".ll-tools")!.append(saveMenu(desk, pane));
  map.measure();
  listenKeys(desk, {
    lasso: () => map.use("lasso"), box: () => map.use("box"), pan: () => map.use("pan"), fit: map.fit,
    nextFlag: flags.next,
    name: () => { if (!map.focusName()) flags.focusName(); },
    undo: () => takeBack(desk, "undo"),
    redo: () => takeBack(desk, "redo"),
    pauseOrResume: () => {
      const can = store.status?.can;
      if (can?.pause) desk.try("pause");
      else if (can?.resume) desk.try("resume");
    },
    step: () => { if (store.status?.can.step) desk.try("step"); },
    keep: () => { if (store.map?.n) compare.keep(); },
    escape: map.escape, search: map.search, gate: map.gate, selectFlag: map.selectFlag, invert: map.invert, read: map.read,
  }, toggle);
  return () => {
    desk.scope.close();
    root.remove();
  };
}
