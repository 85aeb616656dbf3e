import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { decode, decodeSnapshot, decodeSync, positions, type CurvesFrame, type Frame, type MapFrame, type Moment, type PrototypesFrame } from "../src/frames";

const golden = join(import.meta.dirname, "../../tests/golden");
const names = readdirSync(golden).filter((file) => file.endsWith(".json")).map((file) => file.slice(0, -5));

type Golden = { content: { kind: string; [key: string]: unknown }; lengths: number[]; expect: { [key: string]: unknown } };

/** Views into one buffer that begins at an odd offset, as a host may deliver them. */
function views(bytes: Uint8Array, lengths: number[]): DataView[] {
  const moved = new Uint8Array(bytes.length + 1);
  moved.set(bytes, 1);
  let at = 1;
  return lengths.map((length) => new DataView(moved.buffer, (at += length) - length, length));
}

function load(name: string): { golden: Golden; buffers: DataView[] } {
  const read = JSON.parse(readFileSync(join(golden, `${name}.json`), "utf8")) as Golden;
  return { golden: read, buffers: views(new Uint8Array(readFileSync(join(golden, `${name}.bin`))), read.lengths) };
}

const plain = (values: ArrayLike<number>): (number | null)[] => Array.from(values, (v) => (Number.isNaN(v) ? null : v));
const rows = (values: ArrayLike<number>, width: number): (number | null)[][] => {
  const flat = plain(values);
  return Array.from({ length: flat.length / width }, (_, i) => flat.slice(i * width, (i + 1) * width));
};

/** What a frame says, in the words of the golden files' `expect`. */
function facts(frame: Frame): { [key: string]: unknown } {
  switch (frame.kind) {
    case "status": return { ...frame };
    case "curves": return { ...frame, series: frame.series.map(({ name, split, start, steps, values }) => ({ name, split, start, steps: plain(steps), values: plain(values) })) };
    case "map": {
      const { xy, cell, label, predicted, batch, p_value, flag, is_query, given } = frame;
      const columns = { cell, label, predicted, batch, p_value, flag, is_query, given };
      return { ...frame, xy: rows(xy, 2), ...Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, plain(values)])) };
    }
    case "values": return { ...frame, values: plain(frame.values) };
    case "prototypes": return { ...frame, k: frame.names.length, distance: rows(frame.distance, frame.names.length), centroid: rows(frame.centroid, frame.n_dims) };
    case "flags": return { ...frame, ids: frame.flags.map((f) => f.id), states: frame.flags.map((f) => f.state), labels: frame.flags.map((f) => f.label), n_batches: frame.flags.map((f) => f.n_batches),
      measured: frame.flags.map((f) => (f.measures ?? []).map((m) => m.flag)), accepted: frame.flags.map((f) => f.accept), precision: frame.curve.precision };
    case "moments": {
      const of = <T>(pick: (one: Moment) => T) => frame.moments.map(pick);
      return { ...frame, ids: of((one) => one.id), knn_accuracy: of((one) => one.knn_accuracy), xy: of((one) => plain(one.xy)), cell: of((one) => plain(one.cell)), is_query: of((one) => plain(one.is_query)) };
    }
  }
}

describe("the golden files, which Python writes", () => {
  it("hold every kind of frame and a sync", () => {
    expect(names.sort()).toEqual(expect.arrayContaining(["curves", "flags", "map", "moments", "prototypes", "status", "sync"]));
  });

  it.each(names.filter((name) => name !== "sync" && name !== "select"))("%s says what Python meant", (name) => {
    const { golden: { content, expect: expected }, buffers } = load(name);
    const frame = decode(content, buffers);
    expect(Object.keys(expected).length).toBeGreaterThan(0);
    expect(facts(frame!)).toMatchObject(expected);
  });

  it("sync holds the same frames, one after another", () => {
    const { golden: { content }, buffers } = load("sync");
    const sync = decodeSync(content, buffers);
    expect(sync.frames.map((frame) => frame.kind)).toEqual((content.frames as { kind: string }[]).map((frame) => frame.kind));
    for (const frame of sync.frames) expect(facts(frame)).toMatchObject(load(frame.kind).golden.expect);
    expect(sync.seq).toBe(content.seq);
  });

  it("a snapshot in base64 is the same sync", () => {
    const { golden: { content, lengths }, buffers } = load("sync");
    const base64 = buffers.map((view) => Buffer.from(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength).toString("base64"));
    expect(base64).toHaveLength(lengths.length);
    expect(decodeSnapshot({ ...content, buffers: base64 })).toEqual(decodeSync(content, buffers));
  });
});

describe("buffers that do not fit their header", () => {
  const content = { kind: "curves", seq: 1, marks: [], series: [{ name: "a", split: "train", start: 0, n: 2 }] };
  const two = new Uint8Array(8).buffer;

  it.each([
    ["a missing one", [two], "buffer 2 is missing"],
    ["one too many", [two, two, two], "wanted 2 buffers, got 3"],
    ["a short one", [two, new Uint8Array(7).buffer], "7 bytes, not 2 x 4"],
  ])("%s is an error that says so", (_, buffers, message) => {
    expect(() => decode(content, buffers)).toThrow(message);
  });

  it("a sync whose frames name fewer buffers than came is an error", () => {
    expect(() => decodeSync({ kind: "sync", proto: 1, seq: 1, frames: [] }, [two])).toThrow("name 0 buffers, 1 came");
  });
});

it("a kind from a later version is passed over, alone and in a sync", () => {
  expect(decode({ kind: "weather", seq: 3 }, [])).toBeNull();
  const sync = decodeSync({ kind: "sync", proto: 1, seq: 4, frames: [{ kind: "weather", buffers: 1 }, { kind: "curves", series: [], marks: [], buffers: 0 }] }, [new ArrayBuffer(3)]);
  expect(sync.frames.map((frame) => frame.kind)).toEqual(["curves"]);
});

it("decoded arrays are copies: the host may use its buffer again", () => {
  const bytes = new Uint8Array([1, 0, 0, 0, 0, 0, 128, 63]);
  const buffers = views(bytes, [4, 4]);
  const frame = decode({ kind: "curves", seq: 1, marks: [], series: [{ name: "a", split: "train", start: 0, n: 1 }] }, buffers) as CurvesFrame;
  new Uint8Array(buffers[0].buffer).fill(9);
  expect([...frame.series[0].steps, ...frame.series[0].values]).toEqual([1, 1]);
});

it("positions span the bounds, y upwards as it came", () => {
  const { golden: { content }, buffers } = load("map");
  const frame = decode(content, buffers) as MapFrame;
  const at = positions({ ...frame, bounds: [-2, 2, 10, 20], xy: Uint16Array.from([0, 65535, 65535, 0]) });
  expect([...at]).toEqual([-2, 20, 2, 10]);
});

it("a prototype's vector is its row", () => {
  const { golden: { content }, buffers } = load("prototypes");
  const frame = decode(content, buffers) as PrototypesFrame;
  expect(frame.centroid).toHaveLength(frame.names.length * frame.n_dims);
});
