// A pen that leaves SVG where a canvas's leaves pixels: the same drawing, for an export that scales.
import type { Pen } from "./chart";
import { svg } from "./dom";

export class SvgPen implements Pen {
  strokeStyle: string | CanvasGradient | CanvasPattern = "#000";
  fillStyle: string | CanvasGradient | CanvasPattern = "#000";
  lineWidth = 1;
  globalAlpha = 1;
  font = "10px sans-serif";
  textAlign: CanvasTextAlign = "left";
  private path = "";
  private dash: number[] = [];

  /** Draws into `parent`, an `<svg>` or a group. */
  constructor(private readonly parent: SVGElement) {}

  beginPath(): void { this.path = ""; }
  moveTo(x: number, y: number): void { this.path += `M${brief(x)} ${brief(y)}`; }
  lineTo(x: number, y: number): void { this.path += `L${brief(x)} ${brief(y)}`; }
  /** A whole circle, whatever the angles. */
  arc(x: number, y: number, r: number): void { this.path += `M${brief(x - r)} ${brief(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`; }
  setLineDash(dash: Iterable<number>): void { this.dash = [...dash]; }

  stroke(): void {
    this.add({ fill: "none", stroke: String(this.strokeStyle), "stroke-width": this.lineWidth, "stroke-dasharray": this.dash.length ? this.dash.join(" ") : null });
  }

  fill(): void {
    this.add({ fill: String(this.fillStyle) });
  }

  fillText(text: string, x: number, y: number): void {
    const anchor = this.textAlign === "center" ? "middle" : this.textAlign === "right" || this.textAlign === "end" ? "end" : "start";
    this.parent.append(svg("text", { x: brief(x), y: brief(y), fill: String(this.fillStyle), "text-anchor": anchor, style: `font:${this.font}` }, text));
  }

  private add(attributes: Record<string, string | number | null>): void {
    this.parent.append(svg("path", { d: this.path, ...attributes, opacity: this.globalAlpha < 1 ? this.globalAlpha : null }));
  }
}

function brief(x: number): number {
  return Math.round(10 * x) / 10;
}
