// Dark or light is the host's choice: each host says it in its own way, and may change it at any time.
import type { Scope } from "./dom";

export function isDark(element: Element): boolean {
  const body = document.body;
  const html = document.documentElement;
  const jupyter = body.dataset.jpThemeLight;
  if (jupyter !== undefined) return jupyter === "false";
  const code = `${body.className} ${body.dataset.vscodeThemeKind ?? ""}`;
  if (/\bvscode-(dark|high-contrast(?!-light))\b/.test(code)) return true;
  if (/\bvscode-(light|high-contrast-light)\b/.test(code)) return false;
  const named = html.getAttribute("theme") ?? html.dataset.theme ?? html.dataset.mode; // Colab, then documentation sites
  if (named !== null && named !== undefined && named !== "" && named !== "auto") return /dark/.test(named);
  for (const at of ancestors(element)) {
    if (at.classList.contains("dark")) return true; // marimo
    if (at.classList.contains("light")) return false;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Calls `onChange` now and whenever the host changes its mind. */
export function followTheme(element: HTMLElement, scope: Scope, onChange: () => void): void {
  let dark: boolean | null = null;
  const look = () => {
    const is = isDark(element);
    if (is === dark) return;
    dark = is;
    element.classList.toggle("ll-dark", is);
    onChange();
  };
  const observer = new MutationObserver(look);
  for (const at of new Set<Element>([document.documentElement, document.body, ...ancestors(element)])) {
    if (at !== element) observer.observe(at, { attributes: true, attributeFilter: ["class", "theme", "data-theme", "data-mode", "data-jp-theme-light", "data-vscode-theme-kind"] });
  }
  scope.add(() => observer.disconnect());
  scope.on(matchMedia("(prefers-color-scheme: dark)"), "change", look);
  look();
}

function* ancestors(element: Element): Generator<Element> {
  let at: Element | null = element.parentElement ?? hostOf(element);
  while (at) {
    yield at;
    at = at.parentElement ?? hostOf(at);
  }
}

/** marimo puts widgets into a shadow root. */
function hostOf(element: Element): Element | null {
  const root = element.getRootNode();
  return root instanceof ShadowRoot ? root.host : null;
}

export function wantsStill(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
