// Elements and listeners. Data reaches the page as text nodes and attributes only: every name is untrusted.

export type Child = Node | string | null;
export type Attributes = Record<string, string | number | boolean | null>;

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element with attributes (true: present, false or null: absent) and children (strings become text). */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  set(element, attributes);
  for (const child of children) if (child !== null) element.append(child);
  return element;
}

export function svg<K extends keyof SVGElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag);
  set(element, attributes);
  for (const child of children) if (child !== null) element.append(child);
  return element;
}

export function set(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** What has the focus where this element lies. In a shadow root, as marimo's, the document knows of its host only. */
export function focusNear(element: Element): Element | null {
  return (element.getRootNode() as Partial<DocumentOrShadowRoot>).activeElement ?? null;
}

/** Writes only what differs: a text node that is left alone is not read out again. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Everything a view holds on to, given back at once. */
export class Scope {
  private readonly gone = new AbortController();
  readonly signal = this.gone.signal;

  on<E extends Event = Event>(target: EventTarget, type: string, listener: (event: E) => void, options: AddEventListenerOptions = {}): void {
    target.addEventListener(type, listener as EventListener, { ...options, signal: this.signal });
  }

  /** Calls `give` when the scope closes. */
  add(give: () => void): void {
    this.signal.addEventListener("abort", give, { once: true });
  }

  close(): void {
    this.gone.abort();
  }
}

/** One animation frame for all panes; a job asked for twice runs once, and one that another asks for in the same frame. */
export class Painter {
  private readonly jobs = new Set<() => void>();
  private frame = 0;

  constructor(scope: Scope) {
    scope.add(() => {
      cancelAnimationFrame(this.frame);
      this.jobs.clear();
    });
  }

  request(job: () => void): void {
    this.jobs.add(job);
    if (this.frame === 0) this.frame = requestAnimationFrame(this.run);
  }

  /** Does now what was asked for the next frame. */
  flush(): void {
    cancelAnimationFrame(this.frame);
    this.run();
  }

  private readonly run = (): void => {
    this.frame = 0;
    // A new map is taken in by one job and painted by another: without the second round its painting, and the word
    // that it is painted, would be a frame apart. A job that asks for itself, as a movement does, waits for the next.
    const ran = new Set<() => void>();
    for (let due = [...this.jobs]; due.length; due = [...this.jobs].filter((job) => !ran.has(job))) {
      for (const job of due) {
        this.jobs.delete(job);
        ran.add(job);
        job();
      }
    }
  };
}

/** Arrow keys move among siblings that together take one tab stop. */
export function rove(scope: Scope, container: HTMLElement, selector: string): () => void {
  const items = () => [...container.querySelectorAll<HTMLElement>(selector)];
  const settle = () => {
    const all = items();
    const held = all.find((item) => item.tabIndex === 0) ?? all[0];
    for (const item of all) item.tabIndex = item === held ? 0 : -1;
  };
  scope.on<KeyboardEvent>(container, "keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const all = items();
    const at = all.indexOf(event.target as HTMLElement);
    if (step === undefined || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = all[(at + step + all.length) % all.length];
    all[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  return settle;
}

/** The canvas at this size in CSS pixels, cleared, and sharp on any screen. */
export function sized(canvas: HTMLCanvasElement, w: number, h_px: number): CanvasRenderingContext2D {
  const dpr = devicePixelRatio || 1;
  canvas.width = Math.round(w * dpr);
  canvas.height = Math.round(h_px * dpr);
  canvas.style.width = `${w}px`;
  canvas.style.height = `${h_px}px`;
  const context = canvas.getContext("2d")!;
  context.scale(dpr, dpr);
  return context;
}
