// The cells chosen on the map, part by part: a label says how they were chosen, so that it can be replayed.
import type { MapFrame } from "./frames";
import type { Selection } from "./label";
import { joined, type Part } from "./selection";

export class Chosen {
  mask: Uint8Array | null = null;
  selection: Selection | null = null;
  private parts: Part[] = [];

  clear(): void {
    this.mask = this.selection = null;
    this.parts = [];
  }

  /** One more part, and the cells that it takes; whether any cell is chosen then. */
  take(frame: MapFrame, part: Part, inside: readonly number[]): boolean {
    const mask = joined(this.mask, frame.n, part.mode, inside);
    const cells: [number, number][] = [];
    for (let i = 0; i < frame.n; i++) if (mask[i]) cells.push([frame.is_query[i], frame.cell[i]]);
    if (cells.length === 0) {
      this.clear();
      return false;
    }
    const parts = (this.parts = part.mode === "replace" || !this.mask ? [part] : [...this.parts, part]);
    this.mask = mask;
    const [first] = parts;
    const selector = { kind: first.kind ?? "cells", ...(first.polygon ? { polygon: first.polygon } : {}), scope: "panel", layout: frame.layout, parts };
    this.selection = { cells, parts, selector };
    return true;
  }
}
