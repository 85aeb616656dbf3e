import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Session, type Model } from "../src/session";

type Message = { kind: string; [key: string]: unknown };
let sent: Message[];
let listeners: Set<(content: unknown, buffers: ArrayBuffer[]) => void>;
let session: Session;
const deliver = (content: Message, buffers: ArrayBuffer[] = []) => { for (const listener of listeners) listener(content, buffers); };
const of = (kind: string) => sent.filter((message) => message.kind === kind);
const curves = (seq: number, start: number, values: number[]): [Message, ArrayBuffer[]] => [
  { kind: "curves", seq, ack: true, marks: [], series: [{ name: "loss", split: "train", start, n: values.length }] },
  [Uint32Array.from(values, (_, i) => start + i).buffer, Float32Array.from(values).buffer],
];
const sync = (seq: number, values: number[]): [Message, ArrayBuffer[]] => {
  const [header, buffers] = curves(seq, 0, values);
  return [{ kind: "sync", proto: 2, view: "v", seq, frames: [{ ...header, buffers: 2 }] }, buffers];
};

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  listeners = new Set();
  const model: Model = { get: () => "blood.zarr", on: (_, f) => listeners.add(f), off: (_, f) => listeners.delete(f), send: (content) => sent.push(content as Message) };
  session = new Session(model);
});
afterEach(() => {
  session.close();
  vi.useRealTimers();
});

describe("the handshake", () => {
  it("asks for the whole state, and again until it comes", () => {
    expect(of("ready")).toHaveLength(1);
    expect(of("ready")[0].proto).toBe(2);
    vi.advanceTimersByTime(8_000);
    expect(of("ready").length).toBeGreaterThan(1);
    deliver(...sync(5, [3, 2]));
    const asked = of("ready").length;
    vi.advanceTimersByTime(8_000);
    expect(of("ready")).toHaveLength(asked);
  });

  it("frames before the first sync change nothing, but give their credit back", () => {
    deliver(...curves(4, 0, [9]));
    vi.advanceTimersByTime(1_500);
    expect(session.store.curves.nTrain).toBe(0);
    expect(of("ack").map((message) => message.seq)).toEqual([4]);
  });
});

describe("the order of frames", () => {
  beforeEach(() => { deliver(...sync(5, [3, 2])); sent.length = 0; });

  it("the next in line is taken", () => {
    deliver(...curves(6, 2, [1]));
    expect(session.store.curves.nTrain).toBe(3);
    expect(of("ready")).toHaveLength(0);
  });

  it("one that leaves out what was lost is not taken, nor are those after it, until the sync", () => {
    const columns = [new Uint16Array(2), Uint32Array.of(7), Uint16Array.of(1), Uint16Array.of(0), new Uint16Array(1), new Float32Array(1), Uint16Array.of(0), new Uint8Array(1), new Uint16Array(1)];
    const map = (seq: number, layout: number, kept: string[] = []): [Message, ArrayBuffer[]] => [
      { kind: "map", seq, n: 1, n_total: 1, bounds: [0, 1, 0, 1], panel: 1, layout, label_names: ["a", "b"], predicted_names: [], batch_names: [], given_names: [], kept },
      kept.length ? [Uint16Array.of(9, 9).buffer] : columns.map((column) => column.buffer as ArrayBuffer),
    ];
    const all = ["cell", "label", "predicted", "batch", "p_value", "flag", "is_query", "given"];
    deliver(...map(6, 1));
    deliver(...map(7, 2, all));
    expect([...session.store.map!.xy, ...session.store.map!.label, ...session.store.map!.cell]).toEqual([9, 9, 1, 7]);
    deliver(...map(9, 4, all));
    deliver(...map(10, 5, all));
    expect(session.store.map!.layout).toBe(2);
    expect(of("ready")).toHaveLength(1);
    expect(session.store.error).toBeNull();
    vi.advanceTimersByTime(1_500);
    expect(of("ack").at(-1)!.seq).toBe(10);
  });

  it("marks from an index on are put behind those that are held", () => {
    const marked = (seq: number, marks: { step: number; text: string }[], marks_start?: number): Message => ({ kind: "curves", seq, series: [], marks, marks_start });
    const [one, two, three] = ["one", "two", "three"].map((text, step) => ({ step, text }));
    deliver(marked(6, [one, two]));
    deliver(marked(7, [three], 2));
    expect(session.store.marks).toEqual([one, two, three]);
    deliver(marked(8, [one]));
    expect(session.store.marks).toEqual([one]);
    deliver(marked(9, [three], 2));
    expect(of("ready")).toHaveLength(1);
  });

  it("an older one is passed over", () => {
    deliver(...curves(5, 0, [7, 7, 7, 7]));
    expect(session.store.curves.nTrain).toBe(2);
  });

  it("a gap asks for a sync, once", () => {
    deliver(...curves(8, 2, [1]));
    deliver(...curves(10, 3, [1]));
    expect(of("ready")).toHaveLength(1);
  });

  it("a curve that begins too late asks for a sync, which brings every point back", () => {
    deliver(...curves(6, 4, [1]));
    expect(of("ready")).toHaveLength(1);
    expect(session.store.curves.nTrain).toBe(2);
    deliver(...sync(7, [3, 2, 1, 1, 1]));
    expect(session.store.curves.nTrain).toBe(5);
  });

  it("is acknowledged by its last number", () => {
    deliver(...curves(6, 2, [1]));
    deliver(...curves(7, 3, [1]));
    vi.advanceTimersByTime(1_500);
    expect(of("ack").map((message) => message.seq).at(-1)).toBe(7);
  });

  it("is not acknowledged where nobody asks; the next ping says what was painted", () => {
    vi.advanceTimersByTime(1_500);
    deliver({ ...curves(6, 2, [1])[0], ack: undefined }, curves(6, 2, [1])[1]);
    vi.advanceTimersByTime(2_500);
    expect(of("ack").map((message) => message.seq)).toEqual([5]); // the sync
    expect(of("ping").at(-1)!.seq).toBe(6);
  });

  it("is not acknowledged by the clock of the one before it, ahead of its own painting", async () => {
    deliver(...curves(6, 2, [1]));
    vi.advanceTimersByTime(999);
    expect(of("ack").at(-1)!.seq).toBe(6);
    deliver(...curves(7, 3, [1]));
    await Promise.resolve(); // the animation frame is asked for
    vi.advanceTimersByTime(5);
    expect(of("ack").at(-1)!.seq).toBe(6);
    vi.advanceTimersByTime(100);
    expect(of("ack").at(-1)!.seq).toBe(7);
  });

  it("several in one message are taken in turn, under one number", () => {
    const [header, buffers] = curves(6, 2, [1]);
    const marked: Message = { kind: "curves", seq: 6, series: [], marks: [{ step: 3, text: "three" }], buffers: 0 };
    deliver({ kind: "frames", seq: 6, frames: [{ ...header, buffers: 2 }, marked] }, buffers);
    expect(session.store.curves.nTrain).toBe(3);
    expect(session.store.marks).toEqual([{ step: 3, text: "three" }]);
    expect(of("ready")).toHaveLength(0);
  });

  it("a frame that can't be read is said, acknowledged, and not the end", () => {
    deliver({ kind: "curves", seq: 6, ack: true, marks: [], series: [{ name: "loss", split: "train", start: 2, n: 1 }] }, []);
    expect(session.store.error).toContain("buffer 1 is missing");
    expect(of("ready")).toHaveLength(1); // what else was in it is missing too
    vi.advanceTimersByTime(1_500);
    expect(of("ack").map((message) => message.seq)).toContain(6);
    deliver(...curves(7, 2, [1]));
    expect(session.store.curves.nTrain).toBe(3);
  });
});

it("a hidden page gives its credit back at once: no animation frame would come", () => {
  vi.spyOn(document, "hidden", "get").mockReturnValue(true);
  deliver(...sync(5, [1]));
  expect(of("ack").map((message) => message.seq)).toEqual([5]);
  vi.restoreAllMocks();
});

describe("the heartbeat", () => {
  const live = () => { deliver(...sync(5, [1])); deliver({ kind: "pong", t: 0 }); };

  it("is live while pings are answered", () => {
    live();
    for (let i = 0; i < 10; i++) { vi.advanceTimersByTime(500); deliver({ kind: "pong", t: 0 }); }
    expect(session.store.link.state).toBe("live");
    expect(of("ping").length).toBeGreaterThan(1);
  });

  it("is busy with the actions that wait, while only frames come, and live again after a pong", () => {
    live();
    void session.commands.call("pause");
    void session.commands.call("undo");
    for (let i = 0; i < 30; i++) { vi.advanceTimersByTime(500); deliver(...curves(6 + i, 1, [1])); }
    expect(session.store.link).toEqual({ state: "busy", n_queued: 2 });
    deliver({ kind: "pong", t: 0 });
    expect(session.store.link.state).toBe("live");
  });

  it("is disconnected after ten silent seconds", () => {
    live();
    vi.advanceTimersByTime(14_000);
    expect(session.store.link.state).toBe("disconnected");
  });
});

it("closing gives the listener and the timers back", () => {
  session.close();
  expect(listeners.size).toBe(0);
  sent.length = 0;
  vi.advanceTimersByTime(30_000);
  expect(sent).toEqual([]);
});
