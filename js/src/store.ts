// What the browser knows of the run. Frames go in, panes listen; nothing here touches the page.
import type { FlagsFrame, Frame, MapFrame, Mark, MomentsFrame, PrototypesFrame, StatusFrame, SyncFrame, ValuesFrame } from "./frames";
import { CurveBook } from "./series";

export type Topic = Frame["kind"] | "link" | "error";
export type Link = { state: "waiting" | "live" | "busy" | "disconnected"; n_queued: number };

export class Store {
  status: StatusFrame | null = null;
  readonly curves = new CurveBook();
  marks: Mark[] = [];
  map: MapFrame | null = null;
  prototypes: PrototypesFrame | null = null;
  flags: FlagsFrame | null = null;
  moments: MomentsFrame | null = null;
  values: ValuesFrame | null = null;
  link: Link = { state: "waiting", n_queued: 0 };
  error: string | null = null;

  private readonly listeners = new Map<Topic, Set<() => void>>();

  listen(topics: readonly Topic[], listener: () => void, signal: AbortSignal): void {
    for (const topic of topics) {
      const set = this.listeners.get(topic) ?? new Set();
      this.listeners.set(topic, set.add(listener));
      signal.addEventListener("abort", () => set.delete(listener), { once: true });
    }
  }

  /** False where points of a curve were lost. */
  apply(frame: Frame): boolean {
    let whole = true;
    switch (frame.kind) {
      case "status": this.status = frame; break;
      case "map": this.map = frame; break;
      case "prototypes": this.prototypes = frame; break;
      case "flags": this.flags = frame; break;
      case "moments": this.moments = frame; break;
      case "values": this.values = frame; break;
      case "curves":
        whole = (frame.marks_start ?? 0) <= this.marks.length;
        this.marks = [...this.marks.slice(0, frame.marks_start ?? 0), ...frame.marks];
        for (const piece of frame.series) whole = this.curves.add(piece) && whole;
        break;
    }
    this.tell(frame.kind);
    return whole;
  }

  /** A sync replaces everything that is held. */
  replace(sync: SyncFrame): void {
    this.status = this.map = this.prototypes = this.flags = this.moments = this.values = null;
    this.marks = [];
    this.error = null;
    this.curves.clear();
    for (const frame of sync.frames) this.apply(frame);
    for (const topic of ["status", "curves", "map", "prototypes", "flags", "moments", "values", "error"] as const) this.tell(topic);
  }

  setLink(link: Link): void {
    if (link.state === this.link.state && link.n_queued === this.link.n_queued) return;
    this.link = link;
    this.tell("link");
  }

  setError(message: string | null): void {
    this.error = message;
    this.tell("error");
  }

  private tell(topic: Topic): void {
    for (const listener of [...(this.listeners.get(topic) ?? [])]) listener();
  }
}
