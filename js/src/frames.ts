// The bytes that Python sends; twin of src/livelatent/widget/frames.py. The layout stands in docs/protocol.md.

export const NONE = 65535;

/** The name that a code stands for; `NONE` has none. */
export function nameOf(names: readonly string[], code: number): string | null {
  return code === NONE ? null : (names[code] ?? null);
}

export interface StatusFrame {
  kind: "status"; seq: number;
  state: "ready" | "training" | "paused" | "stopping" | "done" | "stopped" | "failed" | "latent";
  message: string | null; store: string; query: string | null; stage: string | null;
  epoch: number | null; epochs: number | null; step: number | null;
  cells_per_s: number | null; wait_share: number | null; n_cells: number | null; n_genes: number | null;
  can: { start: boolean; pause: boolean; resume: boolean; stop: boolean; step?: boolean; retrain?: boolean };
  alarms: string[]; notes: string[]; journal: string; vocabulary: string[];
  n_saved: number; n_undo: number; n_redo: number; n_unlearned?: number; retraining?: string;
  layout_share?: number; layout_next_s?: number | null; placing?: number | null;
  health?: { cells_per_s: number; wait_share: number; types: number; batches: number; lone_share: number | null; groups_ready: number; bytes_read: number; minibatch_cells: number } | null;
  /** Of the stage that trains: name, weight in full, weight now. */
  settable?: { stage: string; learning_rate: number; learning_rate_now: number; weights: [string, number, number][]; n_changes: number } | null;
}

export interface Series { name: string; split: "train" | "validation"; start: number; n: number; steps: Uint32Array; values: Float32Array }
export interface Mark { step: number; text: string }
export interface CurvesFrame { kind: "curves"; seq: number; series: Series[]; marks: Mark[]; marks_start?: number }

export interface MapFrame {
  kind: "map"; seq: number; n: number; n_total: number; bounds: [number, number, number, number];
  layout: number; panel: number; moved: number | null; age_s: number | null; n_query: number;
  label_names: string[]; predicted_names: string[]; batch_names: string[]; given_names: string[];
  label_colours?: (string | null)[]; batch_colours?: (string | null)[];
  xy: Uint16Array; cell: Uint32Array; label: Uint16Array; predicted: Uint16Array; batch: Uint16Array;
  p_value: Float32Array; flag: Uint16Array; is_query: Uint8Array; given: Uint16Array;
}

export interface PrototypesFrame {
  kind: "prototypes"; seq: number; names: string[]; counts: number[]; radii: number[]; n_dims: number;
  drift: number | null; order: number[]; medoids: string[];
  drifts?: (number | null)[]; since?: string; spreads?: number[]; n_left_out?: number;
  distance: Float32Array; centroid: Float32Array;
}

/** One measure of a flag's cells beside the nearest known type's: median of the flag; 5 %, median, 95 % of the type; of all. */
export interface Measure { name: string; flag: number | null; low: number | null; usual: number | null; high: number | null; overall: number | null }

/** Flags stand among the prototypes by their number. */
export function isFlag(prototype: string): boolean {
  return /^flag \d+$/.test(prototype);
}

export interface Flag {
  id: number; atlas: string; n_cells: number; p_value: number | null; batches: [string, number][]; n_batches: number;
  nearest: [string, number][]; higher: string[]; lower: string[]; reason: string;
  state: "open" | "named" | "dismissed"; label: string | null; saved_at: string | null;
  measures?: Measure[]; phases?: [string, number][]; technical?: string[]; accept?: string | null; suggested?: string[]; is_hand_made?: boolean;
}

export interface FlagsFrame {
  kind: "flags"; seq: number; target_fpr: number; n_scored: number; n_flagged: number; calibration: string;
  curve: { target_fpr: number[]; n_flagged: number[]; by_chance?: number[] | null; precision?: (number | null)[] | null; coverage?: (number | null)[] | null; of?: string };
  warnings?: string[]; is_computing?: boolean;
  flags: Flag[];
}

export interface Moment {
  id: number; step: number; epoch: number | null; stage: string; kept_at: string; layout: number; values: [string, string, number | null][];
  knn_accuracy: number | null; bounds: [number, number, number, number]; n: number; xy: Uint16Array; cell: Uint32Array; is_query: Uint8Array;
}
export interface MomentsFrame { kind: "moments"; seq: number; most: number; moments: Moment[] }

/** What a person asked to colour by; `values` are of the panel's cells in their order, codes where there are `names`. */
export interface ValuesFrame {
  kind: "values"; seq: number; by: string; name: string; state: "none" | "fetching" | "ready" | "failed"; message: string;
  number: number; panel: number; n: number; unit: string; names: string[] | null; colours?: (string | null)[]; values: Float32Array | Uint16Array;
}

export type Frame = StatusFrame | CurvesFrame | MapFrame | PrototypesFrame | FlagsFrame | MomentsFrame | ValuesFrame;
export interface SyncFrame { kind: "sync"; proto: number; view: string; seq: number; frames: Frame[] }

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a header is whatever JSON came; `decode` gives it its type
type Header = { kind: string; [key: string]: any };
export type Bytes = DataView | ArrayBuffer | Uint8Array;

/** One frame, or null for a kind that this version does not know; `held` is the map that a map's `kept` columns are in. */
export function decode(header: Header, buffers: readonly Bytes[], held: MapFrame | null = null): Frame | null {
  const reader = new Reader(header.kind, buffers);
  switch (header.kind) {
    case "status":
    case "flags":
      reader.done();
      return { ...header } as unknown as Frame;
    case "curves": {
      const series = (header.series as Series[]).map((one) => ({ ...one, steps: reader.u32(one.n), values: reader.f32(one.n) }));
      reader.done();
      return { ...header, series } as unknown as CurvesFrame;
    }
    case "map": {
      const n = header.n as number;
      const kept: string[] = header.kept ?? [];
      if (kept.length && (held?.panel !== header.panel || held?.n !== n)) throw new Error("map: it leaves out what is not held.");
      const column = <K extends keyof MapFrame>(name: K, read: (n: number) => MapFrame[K], length = n) => (kept.includes(name) ? held![name] : read(length));
      const frame = {
        panel: 0, n_query: 0, given_names: [], ...header,
        xy: column("xy", reader.u16, 2 * n), cell: column("cell", reader.u32), label: column("label", reader.u16), predicted: column("predicted", reader.u16),
        batch: column("batch", reader.u16), p_value: column("p_value", reader.f32), flag: column("flag", reader.u16), is_query: column("is_query", reader.u8),
        given: column("given", reader.u16),
      };
      reader.done();
      return frame as unknown as MapFrame;
    }
    case "prototypes": {
      const k = (header.names as string[]).length;
      const frame = { ...header, distance: reader.f32(k * k), centroid: reader.f32(k * (header.n_dims as number)) };
      reader.done();
      return frame as unknown as PrototypesFrame;
    }
    case "moments": {
      const moments = (header.moments as Moment[]).map((one) => ({ ...one, xy: reader.u16(2 * one.n), cell: reader.u32(one.n), is_query: reader.u8(one.n) }));
      reader.done();
      return { ...header, moments } as unknown as MomentsFrame;
    }
    case "values": {
      const frame = { ...header, values: header.names ? reader.u16(header.n as number) : reader.f32(header.n as number) };
      reader.done();
      return frame as unknown as ValuesFrame;
    }
    default:
      return null;
  }
}

/** The frames of one message: headers with `buffers: k`, their buffers one after another; `held` as for `decode`. */
export function decodeAll(content: Header, buffers: readonly Bytes[], held: MapFrame | null = null): Frame[] {
  let at = 0;
  const frames: Frame[] = [];
  for (const header of content.frames as Header[]) {
    const n = (header.buffers as number | undefined) ?? 0;
    const frame = decode(header, buffers.slice(at, at + n), held);
    if (frame) frames.push(frame);
    at += n;
  }
  if (at !== buffers.length) throw new Error(`${content.kind}: its frames name ${at} buffers, ${buffers.length} came.`);
  return frames;
}

/** The whole state. */
export function decodeSync(content: Header, buffers: readonly Bytes[]): SyncFrame {
  return { kind: "sync", proto: content.proto as number, view: content.view as string, seq: content.seq as number, frames: decodeAll(content, buffers) };
}

/** The state inlined in an offline page: the sync's content with its `buffers` in base64. */
export function decodeSnapshot(state: Header): SyncFrame {
  const buffers = ((state.buffers as string[] | undefined) ?? []).map((text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));
  return decodeSync(state, buffers);
}

/** Positions in layout units, x and y interleaved. */
export function positions(frame: { xy: Uint16Array; bounds: readonly number[] }): Float32Array {
  const [x0, x1, y0, y1] = frame.bounds;
  const out = new Float32Array(frame.xy.length);
  const dx = (x1 - x0) / 65535;
  const dy = (y1 - y0) / 65535;
  for (let i = 0; i < out.length; i += 2) {
    out[i] = x0 + frame.xy[i] * dx;
    out[i + 1] = y0 + frame.xy[i + 1] * dy;
  }
  return out;
}

/** Takes the buffers in turn. Each is copied first: the offset of a DataView need not be a multiple of the item size. */
class Reader {
  private at = 0;
  constructor(private readonly kind: string, private readonly buffers: readonly Bytes[]) {}

  u8 = (n: number) => new Uint8Array(this.next(n, 1));
  u16 = (n: number) => new Uint16Array(this.next(n, 2));
  u32 = (n: number) => new Uint32Array(this.next(n, 4));
  f32 = (n: number) => new Float32Array(this.next(n, 4));

  done(): void {
    if (this.at !== this.buffers.length) throw new Error(`${this.kind}: wanted ${this.at} buffers, got ${this.buffers.length}.`);
  }

  private next(n: number, size: number): ArrayBuffer {
    const buffer = this.buffers[this.at++];
    if (buffer === undefined) throw new Error(`${this.kind}: buffer ${this.at} is missing.`);
    const bytes = buffer instanceof ArrayBuffer ? new Uint8Array(buffer) : new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    if (bytes.byteLength !== n * size) throw new Error(`${this.kind}: buffer ${this.at} has ${bytes.byteLength} bytes, not ${n} x ${size}.`);
    return bytes.slice().buffer;
  }
}
