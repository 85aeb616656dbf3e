// The pointer on the map: lasso, box and pan, the wheel, and the card under the cursor.
import type { Scope } from "./dom";
import { joinOf, type Join } from "./selection";

export type Tool = "lasso" | "box" | "pan";

export interface MapHands {
  tool(): Tool;
  /** The outline so far, in pixels of the pane, x and y interleaved; null when it is over. */
  sketch(outline: number[] | null): void;
  select(outline: number[], join: Join): void;
  click(px: number, py: number): void;
  pan(dx: number, dy: number): void;
  zoom(px: number, py: number, factor: number): void;
  hover(px: number, py: number): void;
  leave(): void;
  /** Whether the wheel is ours; else the page scrolls. */
  isActive(): boolean;
}

const CLICK_PX = 4;

export function listenPointer(stage: HTMLElement, scope: Scope, hands: MapHands): void {
  let drag: { id: number; tool: Tool; join: Join; path: number[]; x: number; y: number } | null = null;
  const at = (event: PointerEvent | WheelEvent): [number, number] => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  scope.on<PointerEvent>(stage, "pointerdown", (event) => {
    if (event.button > 1 || (event.target as Element).closest("button, input, form, select, .ll-clickable")) return;
    const [x, y] = at(event);
    const tool = event.button === 1 ? "pan" : hands.tool();
    drag = { id: event.pointerId, tool, join: joinOf(event), path: [x, y], x, y };
    stage.setPointerCapture(event.pointerId);
    stage.focus({ preventScroll: true });
    event.preventDefault();
  });

  scope.on<PointerEvent>(stage, "pointermove", (event) => {
    const [x, y] = at(event);
    if (!drag || drag.id !== event.pointerId) {
      if ((event.target as Element).closest("button, form")) hands.leave();
      else hands.hover(x, y);
      return;
    }
    hands.leave();
    if (drag.tool === "pan") {
      hands.pan(x - drag.x, y - drag.y);
      [drag.x, drag.y] = [x, y];
      drag.path.push(x, y);
      return;
    }
    if (drag.tool === "lasso") drag.path.push(x, y);
    else drag.path = [drag.path[0], drag.path[1], x, drag.path[1], x, y, drag.path[0], y];
    hands.sketch(drag.path);
  });

  const end = (event: PointerEvent, is_kept: boolean) => {
    if (!drag || drag.id !== event.pointerId) return;
    const { tool, join, path } = drag;
    drag = null;
    hands.sketch(null);
    if (!is_kept) return;
    let reach = 0;
    for (let i = 2; i < path.length; i += 2) reach = Math.max(reach, Math.abs(path[i] - path[0]), Math.abs(path[i + 1] - path[1]));
    if (reach < CLICK_PX) hands.click(path[0], path[1]);
    else if (tool !== "pan") hands.select(path, join);
  };
  scope.on<PointerEvent>(stage, "pointerup", (event) => end(event, true));
  scope.on<PointerEvent>(stage, "pointercancel", (event) => end(event, false));
  scope.on(stage, "pointerleave", () => hands.leave());

  scope.on<WheelEvent>(stage, "wheel", (event) => {
    // A notebook is scrolled with the wheel: the map takes it only once it was clicked, or with Ctrl (a pinch).
    if (!hands.isActive() && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    hands.zoom(...at(event), Math.exp(-Math.max(-120, Math.min(120, event.deltaY * lines)) * (event.ctrlKey ? 0.008 : 0.002)));
  }, { passive: false });
}
