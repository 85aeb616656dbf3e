// A pane as a picture: what is seen, as SVG. Text stays text, drawings stay drawings, a canvas becomes an image.
// It reads the page and not the panes, so that whatever a pane shows next is in its picture too.
import { set, svg } from "./dom";

/** Tools are no part of a picture. */
const TOOLS = ".ll-button,.ll-colour,.ll-form,.ll-hidden,.ll-hint,.ll-hover,.ll-reading-at,.ll-save,.ll-selection,.ll-budget,input,select,summary,datalist";
const DRAWN = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "visibility", "font", "paint-order", "text-anchor", "vector-effect"];

export interface Line { text: string; x: number; y: number; w: number; h: number }

/** The pane as one SVG element, in CSS pixels. */
export function paneSvg(pane: HTMLElement): SVGSVGElement {
  const box = pane.getBoundingClientRect();
  const at = (r: DOMRect) => ({ x: round(r.x - box.x), y: round(r.y - box.y), width: round(r.width), height: round(r.height) });
  const root = svg("svg", { xmlns: "http://www.w3.org/2000/svg", width: round(box.width), height: round(box.height), viewBox: `0 0 ${round(box.width)} ${round(box.height)}` });
  const paper = getComputedStyle(pane.closest(".livelatent") ?? pane).backgroundColor;
  root.append(svg("rect", { width: "100%", height: "100%", fill: paper }));

  const visit = (element: Element, into: SVGElement): void => {
    const style = getComputedStyle(element);
    if (style.display === "none" || style.visibility === "hidden" || element.matches(TOOLS)) return;
    const place = at(element.getBoundingClientRect());
    if (element instanceof HTMLCanvasElement) {
      // A chart gives its lines.
      const own = (element as { toSvg?: () => SVGSVGElement }).toSvg?.();
      if (own) {
        set(own, place);
        into.append(own);
        return;
      }
      if (element.width && element.height) into.append(svg("image", { ...place, href: element.toDataURL(), preserveAspectRatio: "none" }));
      return;
    }
    if (element instanceof SVGSVGElement) {
      into.append(drawn(element, place));
      return;
    }
    const edge = parseFloat(style.borderTopWidth) || 0;
    const is_filled = !/^(transparent|rgba\(.*, 0\))$/.test(style.backgroundColor);
    if (edge && !parseFloat(style.borderBottomWidth)) into.append(svg("line", {
      x1: place.x, x2: place.x + place.width, y1: place.y, y2: place.y,
      stroke: style.borderTopColor, "stroke-width": edge, "stroke-dasharray": style.borderTopStyle === "dashed" ? "4 3" : null,
    }));
    else if (element !== pane && (is_filled || edge)) into.append(svg("rect", {
      ...place, rx: parseFloat(style.borderTopLeftRadius) || 0, fill: is_filled ? style.backgroundColor : "none",
      stroke: edge ? style.borderTopColor : "none", "stroke-width": edge, "stroke-dasharray": style.borderTopStyle === "dashed" ? "4 3" : null,
    }));
    let group = into;
    // A title has more room where its tools are not.
    if (element !== pane && !element.closest("h2") && style.overflowX !== "visible" && place.width > 0 && place.height > 0) {
      // A nested svg clips what a scrolled or cut element hides.
      group = svg("svg", { ...place, viewBox: `${place.x} ${place.y} ${place.width} ${place.height}` });
      into.append(group);
    }
    for (const child of element.childNodes) {
      if (child instanceof Element) visit(child, group);
      else if (child instanceof Text) for (const line of lines(child)) group.append(written(line, style, box));
    }
  };
  visit(pane, root);
  return root;
}

/** A drawing of the page with its style written into it. */
function drawn(source: SVGSVGElement, place: object): SVGSVGElement {
  const copy = source.cloneNode(true) as SVGSVGElement;
  const [from, to] = [source, copy].map((root) => [root, ...root.querySelectorAll("*")]);
  from.forEach((element, i) => {
    const style = getComputedStyle(element);
    to[i].setAttribute("style", DRAWN.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  });
  for (const [name, value] of Object.entries(place)) copy.setAttribute(name, String(value));
  return copy;
}

/** The lines that a text is broken into, with their places on the page. */
export function lines(text: Text): Line[] {
  const found: Line[] = [];
  const range = document.createRange();
  for (const word of text.data.matchAll(/\S+\s*/g)) {
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].trimEnd().length);
    // A word of 10,000 letters is broken too; its first line stands for it.
    const r = range.getClientRects()[0];
    if (!r || r.width === 0) continue;
    const last = found[found.length - 1];
    if (last && Math.abs(last.y - r.y) < 2 && r.x >= last.x) {
      last.text += ` ${word[0].trimEnd()}`;
      last.w = r.right - last.x;
    } else found.push({ text: word[0].trimEnd(), x: r.x, y: r.y, w: r.width, h: r.height });
  }
  return found;
}

function written(line: Line, style: CSSStyleDeclaration, box: DOMRect): SVGElement {
  const halo = parseFloat(style.getPropertyValue("-webkit-text-stroke-width")) || 0;
  return svg("text", {
    x: round(line.x - box.x), y: round(line.y - box.y + 0.79 * line.h), textLength: round(line.w), lengthAdjust: "spacingAndGlyphs",
    fill: style.color, "font-family": style.fontFamily, "font-size": style.fontSize, "font-weight": style.fontWeight,
    ...(halo ? { stroke: style.getPropertyValue("-webkit-text-stroke-color"), "stroke-width": halo, "paint-order": "stroke" } : {}),
  }, plain(line.text));
}

/** Text as XML may hold it: a name with a control character would break the whole file. */
export function plain(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

function round(x: number): number {
  return Math.round(x * 10) / 10;
}
