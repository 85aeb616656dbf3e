// The distances between all types, similar ones side by side. One hue from dark to pale: lightness alone tells near from far.
import type { Desk } from "./desk";
import { h, say, set, sized } from "./dom";
import type { PrototypesFrame } from "./frames";
import { css, hex, mixColours, word } from "./palette";
import { brief } from "./words";

export function heatMap(desk: Desk, choose: (name: string) => void) {
  const { scope } = desk;
  const canvas = h("canvas", { class: "ll-heat", role: "application", tabindex: 0, "data-testid": "ll-heat" });
  const readout = h("div", { class: "ll-dim ll-cell", dir: "auto", "data-testid": "ll-cell" });
  const far = h("span");
  const legend = h("div", { class: "ll-legend" }, h("span", {}, "near 0"), h("i"), far);
  let frame: PrototypesFrame | null = null;
  let size = { w: 0, h: 0 };
  let chosen: string | null = null;
  let cell: [number, number] | null = null; // row and column, in order of likeness

  const words = (): string => {
    if (!frame || !cell) return "";
    const k = frame.names.length;
    const [i, j] = cell.map((at) => frame!.order[at]);
    return i === j ? brief(frame.names[i], 40) : `${brief(frame.names[i], 40)} – ${brief(frame.names[j], 40)}: ${frame.distance[i * k + j].toFixed(2)} mean radii`;
  };

  const paint = (next: PrototypesFrame, name: string | null, room: { w: number; h: number }) => {
    const k = next.names.length;
    if (frame && cell && Math.max(...cell) >= k) cell = null;
    [frame, chosen, size] = [next, name, room];
    const context = sized(canvas, room.w, room.h);
    const [near_ink, far_ink] = [hex(desk.ink("--ll-accent")), hex(desk.ink("--ll-shade"))];
    const most = next.distance.reduce((a, b) => Math.max(a, b), 0) || 1;
    const colour = (i: number, j: number) => mixColours(near_ink, far_ink, next.distance[i * k + j] / most);
    const [w, height] = [room.w / k, room.h / k];
    if (w < 4 || height < 4) {
      // Hundreds of types: a pixel for each pair, stretched as one picture.
      const image = new ImageData(k, k);
      const pixels = new Uint32Array(image.data.buffer);
      next.order.forEach((i, row) => next.order.forEach((j, column) => { pixels[row * k + column] = word(colour(i, j)); }));
      const small = document.createElement("canvas");
      small.width = small.height = k;
      small.getContext("2d")!.putImageData(image, 0, 0);
      context.imageSmoothingEnabled = k > room.w;
      context.drawImage(small, 0, 0, room.w, room.h);
    } else {
      next.order.forEach((i, row) => next.order.forEach((j, column) => {
        context.fillStyle = css(colour(i, j));
        context.fillRect(column * w, row * height, Math.max(1, w - 1), height - 1);
      }));
    }
    context.strokeStyle = desk.ink("--ll-ink");
    const row = next.order.findIndex((i) => next.names[i] === chosen);
    if (row >= 0) context.strokeRect(0.5, Math.max(0.5, row * height - 0.5), room.w - 1, Math.max(2, height));
    if (cell) {
      context.strokeStyle = desk.ink("--ll-flag");
      context.lineWidth = 2;
      context.strokeRect(cell[1] * w, cell[0] * height, Math.max(4, w - 1), Math.max(4, height - 1));
    }
    say(far, `far ${most.toFixed(1)} mean radii`);
    say(readout, words() || "Point at a cell, or go there with the arrow keys; Enter chooses its row.");
    set(canvas, { "aria-label": `Distances between ${k} types, similar ones side by side. ${words() || "Arrow keys move from pair to pair, Enter chooses a type."}` });
  };

  const go = (to: [number, number] | null, is_said = false) => {
    if (!frame || (cell && to && cell[0] === to[0] && cell[1] === to[1])) return;
    cell = to;
    paint(frame, chosen, size);
    if (is_said) desk.announce(words());
  };
  const under = (event: MouseEvent): [number, number] | null => {
    if (!frame) return null;
    const k = frame.names.length;
    const at = (position: number, length: number) => Math.min(k - 1, Math.max(0, Math.floor((position / length) * k)));
    return [at(event.offsetY, canvas.clientHeight), at(event.offsetX, canvas.clientWidth)];
  };
  const take = () => { if (frame && cell) choose(frame.names[frame.order[cell[0]]]); };
  scope.on<MouseEvent>(canvas, "pointermove", (event) => go(under(event)));
  scope.on<MouseEvent>(canvas, "click", (event) => { go(under(event)); take(); });
  scope.on<KeyboardEvent>(canvas, "keydown", (event) => {
    const move = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    if (!frame || event.ctrlKey || event.metaKey || event.altKey || (!move && event.key !== "Enter")) return;
    event.preventDefault();
    event.stopPropagation();
    if (!move) return take();
    const k = frame.names.length;
    const row = Math.max(0, frame.order.findIndex((i) => frame!.names[i] === chosen));
    go(cell ? [(cell[0] + move[0] + k) % k, (cell[1] + move[1] + k) % k] : [row, row], true);
  });
  return { canvas, legend, readout, paint };
}
