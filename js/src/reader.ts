// Reading cells without a pointer: a ring on one cell of the map, which arrows move to the next, and its facts in words.
import { toScreen, type Camera, type Size } from "./camera";
import type { Desk } from "./desk";
import { h } from "./dom";
import type { MapFrame } from "./frames";
import { nearestPoint, nextPoint, type Point } from "./geometry";

const FAR_PX = 60;
const WAYS: Record<string, Point> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

interface Seen { frame: MapFrame | null; places: Float32Array; camera: Camera; size: Size; among: Uint8Array | null }
interface Eyes {
  seen(): Seen;
  /** Brings this place of the map into sight. */
  bring(x: number, y: number): void;
  show(cell: number, at: Point): void;
  hide(): void;
}

export function cellReader(desk: Desk, eyes: Eyes) {
  const ring = h("div", { class: "ll-reading-at", "aria-hidden": "true", "data-testid": "ll-reading-at", hidden: true });
  let cell = -1;

  const close = (): boolean => {
    const was_open = cell >= 0;
    cell = -1;
    ring.hidden = true;
    if (was_open) eyes.hide();
    return was_open;
  };

  /** Where the ring and the card belong now. */
  const place = () => {
    if (cell < 0) return;
    const { places, camera, size } = eyes.seen();
    const at = toScreen(camera, size, places[2 * cell], places[2 * cell + 1]);
    ring.hidden = false;
    ring.style.transform = `translate(${at[0]}px, ${at[1]}px)`;
    eyes.show(cell, at);
  };

  const go = (next: number) => {
    if (next < 0) return desk.announce("There is no cell that way.");
    cell = next;
    const { places, camera, size } = eyes.seen();
    const [x, y] = [places[2 * cell], places[2 * cell + 1]];
    const [px, py] = toScreen(camera, size, x, y);
    if (px < 8 || py < 8 || px > size.w - 8 || py > size.h - 8) eyes.bring(x, y);
    place();
  };

  /** From the middle of the map on; among the selected cells where there are any. */
  const open = () => {
    const { frame, places, camera, among } = eyes.seen();
    if (!frame?.n) return desk.announce("There is no cell on the map.");
    go(nearestPoint(places, [camera.x, camera.y], among));
  };

  /** Whether the key was one of ours. */
  const key = (event: KeyboardEvent): boolean => {
    const way = WAYS[event.key];
    if (cell < 0 || !way) return false;
    const { places, camera, among } = eyes.seen();
    go(nextPoint(places, cell, way, event.shiftKey ? FAR_PX / camera.scale : 0, among));
    return true;
  };
  return { ring, open, close, place, key, isOpen: () => cell >= 0 };
}
