// Saving a pane: a small menu at the right of its title, PNG or SVG, without asking Python.
import type { Desk } from "./desk";
import { h } from "./dom";
import { paneSvg } from "./picture";

const SHARP = 2;

export function saveMenu(desk: Desk, pane: HTMLElement): HTMLElement {
  const name = pane.getAttribute("aria-label") ?? "pane";
  const button = (kind: "PNG" | "SVG") => {
    const element = h("button", { class: "ll-button ll-small", type: "button", "data-testid": `ll-save-${kind.toLowerCase()}` }, kind);
    desk.scope.on(element, "click", () => {
      menu.open = false;
      save(kind).catch((error: Error) => desk.store.setError(`the picture could not be made: ${error.message}`));
    });
    return element;
  };
  const menu = h("details", { class: "ll-save", "data-testid": "ll-save" },
    h("summary", { class: "ll-button ll-small", title: `Save ${name} as a picture`, "aria-label": `Save ${name} as a picture` }, "⤓"),
    h("div", {}, button("PNG"), button("SVG")));

  const save = async (kind: "PNG" | "SVG") => {
    // Drawn again now: a WebGL canvas has its pixels only until the page has shown them.
    desk.themeChanged();
    desk.painter.flush();
    const text = new XMLSerializer().serializeToString(paneSvg(pane));
    const file = `${desk.store.status?.store || "livelatent"}-${name}`.toLowerCase().replace(/[^\w.-]+/g, "_").slice(0, 80);
    const blob = kind === "SVG" ? new Blob([text], { type: "image/svg+xml" }) : await painted(text, pane.offsetWidth, pane.offsetHeight);
    const href = URL.createObjectURL(blob);
    h("a", { href, download: `${file}.${kind.toLowerCase()}` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
    desk.announce(`${name} saved as ${kind}`);
  };
  desk.scope.on<KeyboardEvent>(menu, "keydown", (event) => {
    if (event.key === "Escape" && menu.open) { menu.open = false; event.stopPropagation(); menu.querySelector("summary")?.focus(); }
  });
  return menu;
}

/** The SVG as pixels. As a data address: an offline page may load nothing else. */
async function painted(text: string, w: number, h_px: number): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = h("canvas", { width: w * SHARP, height: h_px * SHARP });
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done, fail) => canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("the canvas is too large"))), "image/png"));
}
