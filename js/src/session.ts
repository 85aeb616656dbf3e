// One per widget model, shared by its views: the handshake, the credit, the heartbeat, and the order of frames.
import { Commands, type Reply } from "./commands";
import { Scope } from "./dom";
import { decode, decodeAll, decodeSync, type Bytes } from "./frames";
import { Store } from "./store";

export interface Model {
  get(name: string): unknown;
  on(event: string, listener: (content: any, buffers: Bytes[]) => void): void; // eslint-disable-line @typescript-eslint/no-explicit-any
  off(event: string, listener: (content: any, buffers: Bytes[]) => void): void; // eslint-disable-line @typescript-eslint/no-explicit-any
  send(content: object): void;
}

const PROTO = 2;
const PING_MS = 2000;
const BUSY_MS = 1000;
const GONE_MS = 10000;
const SYNC_AGAIN_MS = 3000;
const TICK_MS = 500;

export class Session {
  readonly store = new Store();
  readonly commands: Commands;
  readonly view = crypto.randomUUID();
  private readonly scope = new Scope();
  private seq: number | null = null; // of the last frame; null until the first sync
  private askedSync = -Infinity;
  private painting: number | null = null; // the last frame that waits for the browser to paint
  private painted = 0;
  private paintTimer: number | undefined;
  private ackDue = false; // Python waits for it; else it learns by the next ping what was painted
  private pingSent: number | null = null; // when the ping that still waits for its pong left
  private lastPing = -Infinity;
  private lastHeard = now();
  private lastTick = now();

  constructor(private readonly model: Model) {
    this.commands = new Commands((message) => model.send(message), () => this.judgeLink());
    model.on("msg:custom", this.onMessage);
    const timer = setInterval(this.tick, TICK_MS);
    this.scope.add(() => {
      model.off("msg:custom", this.onMessage);
      clearInterval(timer);
      clearTimeout(this.paintTimer);
      this.commands.close();
    });
    this.scope.on(document, "visibilitychange", () => { if (document.hidden) this.onPainted(); });
    this.askSync();
    this.tick();
  }

  get name(): string {
    return String(this.model.get("name") ?? "");
  }

  close(): void {
    this.scope.close();
  }

  private readonly onMessage = (content: { kind?: string; [key: string]: unknown }, buffers: Bytes[]): void => {
    this.lastHeard = now();
    try {
      this.take(content as { kind: string; [key: string]: unknown }, buffers ?? []);
    } catch (error) {
      this.store.setError(`A message from the kernel could not be read: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.judgeLink();
  };

  private take(content: { kind: string; [key: string]: unknown }, buffers: Bytes[]): void {
    switch (content.kind) {
      case "sync": {
        this.seq = content.seq as number;
        this.askedSync = -Infinity;
        this.afterPaint(this.seq, true); // even where it can't be read: the credit must come back
        if ((content.proto as number) > PROTO) throw new Error(`it speaks protocol ${content.proto}, this page ${PROTO}: reload the page.`);
        this.store.replace(decodeSync(content, buffers));
        break;
      }
      case "reply": this.commands.reply(content as unknown as Reply); break;
      case "pong": this.pingSent = null; break;
      case "error": this.store.setError(String(content.message)); break;
      default: {
        const seq = content.seq as number | undefined;
        if (seq === undefined) return;
        this.afterPaint(seq, content.ack === true);
        if (this.seq === null || seq <= this.seq) return; // the sync that was asked for holds it, or held it
        const lost = seq > this.seq + 1;
        this.seq = seq;
        const headers = content.kind === "frames" ? (content.frames as { kept?: string[] }[]) : [content];
        if (headers.some((header) => header.kept) && (lost || this.askedSync > -Infinity)) return this.askSync(); // what it leaves out may have been in the frame that was lost
        const held = this.store.map;
        let whole = false;
        try {
          const frames = content.kind === "frames" ? decodeAll(content, buffers, held) : [decode(content, buffers, held)];
          whole = frames.map((frame) => frame === null || this.store.apply(frame)).every(Boolean);
        } finally {
          if (lost || !whole) this.askSync(); // also where one frame of several could not be read: all of them are missing
        }
      }
    }
  }

  private askSync(): void {
    if (now() - this.askedSync < SYNC_AGAIN_MS) return;
    this.askedSync = now();
    this.model.send({ kind: "ready", view: this.view, proto: PROTO, keeps: true });
  }

  /** Panes asked for their animation frame when the store told them, so this one comes after their painting. */
  private afterPaint(seq: number, isAsked: boolean): void {
    const waits = this.painting !== null;
    this.painting = Math.max(seq, this.painting ?? seq);
    this.ackDue ||= isAsked;
    if (document.hidden) this.onPainted();
    else if (!waits) {
      queueMicrotask(() => requestAnimationFrame(this.onPainted));
      this.paintTimer = window.setTimeout(this.onPainted, 1000); // a host may scroll our frame out of sight: animation frames stop, `hidden` stays false
    }
  }

  private readonly onPainted = (): void => {
    if (this.painting === null || this.scope.signal.aborted) return;
    clearTimeout(this.paintTimer);
    this.painted = this.painting;
    this.painting = null;
    if (this.ackDue) this.model.send({ kind: "ack", seq: this.painted });
    this.ackDue = false;
  };

  private readonly tick = (): void => {
    const asleep = now() - this.lastTick > 4 * TICK_MS; // a hidden tab or a laptop's lid: silence then says nothing
    this.lastTick = now();
    if (asleep) {
      this.pingSent = null;
      this.lastHeard = now();
    }
    if (this.seq === null) this.askSync();
    if (now() - this.lastPing >= PING_MS) {
      this.lastPing = now();
      this.pingSent ??= now();
      this.model.send({ kind: "ping", t: Math.round(now()), seq: this.painted });
    }
    this.judgeLink();
  };

  /** Busy: frames may come (a thread sends them), but a click would wait. Disconnected: nothing comes at all. */
  private judgeLink(): void {
    const silent = this.pingSent === null ? 0 : now() - this.pingSent;
    const gone = silent > GONE_MS && now() - this.lastHeard > GONE_MS;
    const state = gone ? "disconnected" : silent > BUSY_MS ? "busy" : this.seq === null ? "waiting" : "live";
    this.store.setLink({ state, n_queued: this.commands?.nPending ?? 0 });
  }
}

function now(): number {
  return performance.now();
}
