// One per widget model, shared by its views: the handshake, the credit, the heartbeat, and the order of frames.
import { Commands, type Reply } from "./commands";
import { Scope } from "./dom";
import { decode, decodeSync, type Bytes } from "./frames";
import { Store } from "./store";

export interface Model {
  get(name: string): unknown;
  on(event: string, listener: (content: any, buffers: Bytes[]) => void): void; // eslint-disable-line @typescript-eslint/no-explicit-any
  off(event: string, listener: (content: any, buffers: Bytes[]) => void): void; // eslint-disable-line @typescript-eslint/no-explicit-any
  send(content: object): void;
}

const PROTO = 1;
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
  private ackDue: number | null = null;
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
      this.commands.close();
    });
    this.scope.on(document, "visibilitychange", () => { if (document.hidden) this.ack(); });
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
        this.ackAfterPaint(this.seq); // even where it can't be read: the credit must come back
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
        this.ackAfterPaint(seq);
        if (this.seq === null || seq <= this.seq) return; // the sync that was asked for holds it, or held it
        const lost = seq > this.seq + 1;
        this.seq = seq;
        if (content.kept && (lost || this.askedSync > -Infinity)) return this.askSync(); // what it leaves out may have been in the frame that was lost
        const frame = decode(content, buffers, this.store.map);
        const whole = frame === null || this.store.apply(frame);
        if (lost || !whole) this.askSync();
      }
    }
  }

  private askSync(): void {
    if (now() - this.askedSync < SYNC_AGAIN_MS) return;
    this.askedSync = now();
    this.model.send({ kind: "ready", view: this.view, proto: PROTO, keeps: true });
  }

  /** Panes asked for their animation frame when the store told them, so this one comes after their painting. */
  private ackAfterPaint(seq: number): void {
    const waits = this.ackDue !== null;
    this.ackDue = Math.max(seq, this.ackDue ?? seq);
    if (document.hidden) this.ack();
    else if (!waits) {
      queueMicrotask(() => requestAnimationFrame(this.ack));
      setTimeout(this.ack, 1000); // a host may scroll our frame out of sight: animation frames stop, `hidden` stays false
    }
  }

  private readonly ack = (): void => {
    if (this.ackDue === null || this.scope.signal.aborted) return;
    this.model.send({ kind: "ack", seq: this.ackDue });
    this.ackDue = null;
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
      this.model.send({ kind: "ping", t: Math.round(now()) });
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
