// Plausible messages, seeded: what a run on blood might send. For development and tests only.

function random(seed) {
  let s = seed;
  const uniform = () => (s = (s * 16807) % 2147483647) / 2147483647;
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}

const TYPES = [
  ["CD4 T", -3.4, 2.2, 1.1, 0.27], ["CD8 T", -1.6, 0.7, 0.75, 0.15], ["NK", 0.4, -0.3, 0.55, 0.11], ["B", 3.2, 3.0, 0.7, 0.14],
  ["CD14 mono", -4.2, -2.6, 0.9, 0.2], ["FCGR3A mono", -2.2, -3.4, 0.5, 0.06], ["DC", 0.2, -3.6, 0.4, 0.04], ["CD34+", 4.6, -2.4, 0.4, 0.03],
];
const MORE = ["naive B", "memory B", "plasma", "pDC", "platelet", "erythroid", "MAIT", "γδ T", "Treg", "Th17", "ILC", "cDC1", "cDC2", "mast", "HSC", "CLP", "GMP", "MEP", "basophil", "neutrophil", "eosinophil", "NKT", "proliferating T", "stromal"];
const NONE = 65535;

/** The state of a run; `options` are the query string's: cells, types, epoch, flags. */
export function makeRun({ cells = 4000, types = 8, seed = 7 } = {}) {
  const { uniform, normal } = random(seed);
  const base = TYPES.slice(0, types);
  for (let i = 0; base.length < types; i++) base.push([MORE[i % MORE.length] + (i < MORE.length ? "" : ` ${i}`), uniform() * 11 - 5.5, uniform() * 9 - 4.5, 0.3 + 0.25 * uniform(), 0.04]);
  const total = base.reduce((sum, type) => sum + type[4], 0);
  const names = base.map((type) => type[0]);
  const x = [], y = [], label = [], predicted = [], batch = [], p = [], flag = [], query = [], cell = [];
  const add = (cx, cy, sd, code, guess, pv, f, q) => {
    x.push(cx + sd * normal()); y.push(cy + sd * 0.85 * normal());
    label.push(code); predicted.push(guess); batch.push(Math.floor(uniform() * 8)); p.push(pv()); flag.push(f); query.push(q); cell.push(cell.length * 3 + 1);
  };
  const fits = () => (uniform() < 0.5 ? NaN : Math.max(0.02, uniform()));
  base.forEach(([, cx, cy, sd, share], code) => {
    const n = Math.round((cells * 0.94 * share) / total);
    for (let i = 0; i < n; i++) add(cx, cy, sd, code, uniform() < 0.96 ? code : Math.floor(uniform() * names.length), fits, 0, 0);
  });
  for (const [f, cx, cy, sd, share, guess] of [[1, 5.0, 1.2, 0.3, 0.03, 3], [2, -6.2, 0.9, 0.25, 0.02, 0], [3, 2.4, -1.6, 0.22, 0.01, 2]]) {
    for (let i = 0; i < Math.max(6, cells * share); i++) add(cx, cy, sd, NONE, guess, () => 0.0005 + 0.01 * uniform(), f, 1);
  }
  return { x, y, label, predicted, batch, p, flag, query, cell, given: new Array(x.length).fill(NONE), given_names: [], names, n: x.length, normal, uniform, layout: 1, seq: 0, n_saved: 14, undo: [], redo: [], flags: null, moments: [], n_moments: 0, rate: 0.001, weights: { "cell-type loss": 0.9, "batch loss": 0.1, "centroid loss": 1 }, marks: [{ step: 0, text: "stage representation" }], n_changes: 0, state: "training", step: 0, epoch: 0, target_fpr: 0.05, points: {} };
}

export function statusFrame(run, more = {}) {
  const { state } = run;
  return [{
    kind: "status", seq: ++run.seq, state, message: null, store: "blood.zarr", query: null, stage: "encoder", epoch: run.epoch, epochs: 50, step: run.step,
    cells_per_s: 182_000, wait_share: 0.031, n_cells: 1_204_331, n_genes: 18_204,
    can: { start: state === "ready", pause: state === "training", resume: state === "paused", stop: state === "training" || state === "paused", step: state === "ready" || state === "paused" || state === "stopped", retrain: !run.retraining && run.undo.length > 0 },
    alarms: state === "ready" ? [] : ["7 % of the anchors had no positive in the last 100 minibatches: no other cell of their label, so they teach nothing. Balance the types (StreamConfig(balance=Balance(types=16))), or take more cells a minibatch than 1,024."], notes: [],
    journal: "blood.zarr.labels", vocabulary: [...new Set([...run.names, ...run.given_names])], n_saved: run.n_saved, n_undo: run.undo.length, n_redo: run.redo.length, n_unlearned: run.undo.length, retraining: run.retraining ?? "",
    health: state === "ready" ? null : { cells_per_s: 182_000, wait_share: 0.031, types: 15.8, batches: 7.9, lone_share: 0.07, groups_ready: 0.98, bytes_read: 4.7e9, minibatch_cells: 1024 },
    settable: state === "done" ? null : { stage: "representation", learning_rate: run.rate, learning_rate_now: run.rate * 0.42, weights: Object.entries(run.weights).map(([name, weight]) => [name, weight, weight]), n_changes: run.n_changes },
    layout_share: run.share ?? 0.15, layout_next_s: state === "training" ? 12 : null, placing: null, ...more,
  }, []];
}

const TERMS = [["cell-type loss", 1.1, 0.18], ["batch loss", 0.4, 0.03], ["centroid loss", 0.3, 0.022], ["accuracy", 0.45, 0.93]];

export function advance(run, steps) {
  for (let i = 0; i < steps; i++) {
    run.step += 1;
    if (run.step % 25 === 0) {
      run.epoch += 1;
      for (const [name, a, b] of TERMS) point(run, name, "validation", (b + (a - b) * Math.exp(-run.step / 110)) * (name === "accuracy" ? 0.985 : 1.07));
    }
    for (const [name, a, b] of TERMS) if (name !== "accuracy") point(run, name, "train", (b + (a - b) * Math.exp(-run.step / 110)) * (1 + 0.05 * run.normal()));
    if (run.step % 3 === 0) point(run, "accuracy", "train", Math.min(0.99, 0.93 - 0.48 * Math.exp(-run.step / 110) + 0.008 * run.normal()));
  }
}

function point(run, name, split, value) {
  const key = `${split}\n${name}`;
  (run.points[key] ??= { name, split, steps: [], values: [], sent: 0 }).steps.push(run.step);
  run.points[key].values.push(value);
}

/** Everything from the first point on, or only what was not sent yet. */
export function curvesFrame(run, whole) {
  const buffers = [];
  const series = Object.values(run.points).map((one) => {
    const start = whole ? 0 : one.sent;
    one.sent = one.steps.length;
    buffers.push(Uint32Array.from(one.steps.slice(start)), Float32Array.from(one.values.slice(start)));
    return { name: one.name, split: one.split, start, n: one.steps.length - start };
  });
  const marks = [...run.marks, ...(run.step > 300 ? [{ step: 300, text: "stage classifier" }] : [])];
  return [{ kind: "curves", seq: ++run.seq, series, marks }, buffers];
}

/** A new layout: every type drifts a little. */
export function relayout(run) {
  run.layout += 1;
  const turn = 0.06 * Math.sin(run.layout);
  for (let i = 0; i < run.n; i++) {
    const { x, y } = { x: run.x[i], y: run.y[i] };
    run.x[i] = x * Math.cos(turn) - y * Math.sin(turn) + 0.03 * run.normal();
    run.y[i] = x * Math.sin(turn) + y * Math.cos(turn) + 0.03 * run.normal();
  }
}

export function mapFrame(run) {
  const bounds = [Math.min(...sample(run.x)), Math.max(...sample(run.x)), Math.min(...sample(run.y)), Math.max(...sample(run.y))];
  const xy = new Uint16Array(2 * run.n);
  const pack = (v, low, high) => Math.round((65535 * Math.min(Math.max(v - low, 0), high - low)) / (high - low));
  for (let i = 0; i < run.n; i++) {
    xy[2 * i] = pack(run.x[i], bounds[0], bounds[1]);
    xy[2 * i + 1] = pack(run.y[i], bounds[2], bounds[3]);
  }
  return [{
    kind: "map", seq: ++run.seq, ack: true, n: run.n, n_total: 1_204_331, bounds, layout: run.layout, panel: 1, moved: 0.03, age_s: 2, label_names: run.names, predicted_names: run.names,
    batch_names: Array.from({ length: 8 }, (_, i) => `donor ${101 + i}`), n_query: run.query.reduce((a, b) => a + b, 0), given_names: run.given_names,
  }, [xy, Uint32Array.from(run.cell), Uint16Array.from(run.label), Uint16Array.from(run.predicted), Uint16Array.from(run.batch), Float32Array.from(run.p), Uint16Array.from(run.flag), Uint8Array.from(run.query), Uint16Array.from(run.given)]];
}

function sample(values) {
  const step = Math.max(1, Math.floor(values.length / 50_000)); // spread arguments have a limit
  return values.filter((_, i) => i % step === 0);
}

export function prototypesFrame(run) {
  const names = [...run.names, "flag 1", "flag 2"];
  const k = names.length;
  const n_dims = 100;
  const { normal } = random(11);
  const group = Array.from({ length: 4 }, () => Float32Array.from({ length: n_dims }, () => normal()));
  const centroid = Float32Array.from({ length: k * n_dims }, (_, at) => group[Math.floor(at / n_dims) % 4][at % n_dims] + 0.8 * normal());
  const distance = new Float32Array(k * k);
  for (let i = 0; i < k; i++) for (let j = 0; j < i; j++) {
    let sum = 0;
    for (let d = 0; d < n_dims; d++) sum += (centroid[i * n_dims + d] - centroid[j * n_dims + d]) ** 2;
    distance[i * k + j] = distance[j * k + i] = Math.sqrt(sum) / 4;
  }
  const order = names.map((_, i) => i).sort((a, b) => (a % 4) - (b % 4) || a - b);
  return [{ kind: "prototypes", seq: ++run.seq, names, counts: names.map((_, i) => 900 - 37 * (i % 20)), radii: names.map((_, i) => 0.6 + 0.07 * (i % 9)), spreads: names.map((_, i) => 0.4 + 0.05 * (i % 9)), drifts: names.map((name, i) => (name.startsWith("flag ") ? null : 0.004 + 0.003 * (i % 5))), since: "epoch 18, step 456", n_left_out: 0, n_dims, drift: 0.008, order, medoids: names.map((_, i) => `AAACATAC-${i}`) }, [distance, centroid]];
}

const MOCK_GENES = ["CD3E", "CD3D", "CD34", "CD4", "CD8A", "MS4A1", "NKG7", "LYZ", "<img src=x onerror=window.pwned=1>"];

/** Matches of a search, as Python ranks them. */
export function suggest(run, text) {
  const wanted = text.toLowerCase();
  const all = [["obs", "tissue"], ["obs", "n_counts"], ...MOCK_GENES.map((gene) => ["gene", gene]), ...run.names.map((name) => ["prototype", name])];
  const matches = all.filter(([by, name]) => (wanted ? name.toLowerCase().includes(wanted) : by !== "gene")).sort((a, b) => Number(b[1].toLowerCase().startsWith(wanted)) - Number(a[1].toLowerCase().startsWith(wanted)));
  return { matches: matches.slice(0, 20), n: wanted ? matches.length : 60_000 };
}

/** Values that follow the map, so that a picture of them makes sense: a gene rises to the right. */
export function valuesFrame(run) {
  const held = run.values ?? { by: "", name: "", state: "none" };
  const is_names = held.name === "tissue";
  const n = held.state === "ready" ? run.n : 0;
  const values = is_names ? Uint16Array.from({ length: n }, (_, i) => (i % 11 === 0 ? NONE : i % 3)) : Float32Array.from({ length: n }, (_, i) => (i % 50 === 0 ? NaN : Math.max(0, run.x[i] / 3 + 0.5 * Math.sin(i))));
  return [{ kind: "values", seq: ++run.seq, message: "", number: 7, panel: 1, n, unit: held.by === "gene" ? "log1p of counts scaled to the atlas's mean depth" : held.by === "prototype" ? "radii of the prototype" : "", names: is_names ? ["blood", "spleen", "<b>lymph</b>"] : null, ...held }, [values]];
}

export function makeFlags() {
  const donors = (ns) => ns.map((n, i) => [`donor ${101 + i}`, n]);
  const card = (id, n_cells, p_value, batches, nearest, higher, lower, reason) => ({ id, measures: [], phases: [], technical: [], accept: null, suggested: nearest.map(([name]) => name), is_hand_made: false, atlas: "blood.zarr", n_cells, p_value, batches: donors(batches), n_batches: 8, nearest, higher, lower, reason, state: "open", label: null, saved_at: null });
  const measure = (name, flag, low, usual, high, overall) => ({ name, flag, low, usual, high, overall });
  const flags = [
    card(1, 238, 0.0004, [60, 50, 40, 33, 30, 25, 0, 0], [["B", 2.4], ["DC", 4.1]], ["MZB1", "JCHAIN", "IGHG1", "XBP1"], ["MS4A1"], "Between B and plasmacytoid cells, 2.4 radii from the nearest (B)."),
    card(2, 131, 0.004, [0, 0, 0, 0, 0, 0, 131, 0], [["CD4 T", 1.9]], ["HSPA1A", "FOS", "JUN"], [], "All from donor 107: look for a batch effect before naming it."),
    card(3, 43, 0.01, [9, 8, 7, 7, 6, 4, 2, 0], [["CD34+", 1.3], ["NK", 1.5]], ["CD34", "NKG7"], ["CD3E"], "Nearest: CD34+ (1.3 radii). Marks of two types at once: doublets?"),
  ];
  Object.assign(flags[0], {
    measures: [measure("depth", 4120, 1210, 2890, 5400, 3105), measure("mitochondrial share", 0.031, 0.012, 0.034, 0.081, 0.036), measure("doublet score", 0.22, 0.05, 0.18, 0.52, 0.21), measure("S score", 0.41, null, -0.02, null, -0.01), measure("G2M score", 0.12, null, -0.03, null, -0.02)],
    phases: [["S", 0.31], ["G2M", 0.12], ["G1", 0.57]],
  });
  Object.assign(flags[2], {
    measures: [measure("depth", 6900, 1100, 2600, 4800, 3105), measure("mitochondrial share", null, null, null, null, null), measure("doublet score", 0.81, 0.05, 0.16, 0.44, 0.21)],
    technical: ["doublets of CD34+ and NK (doublet score 0.81, CD34+ 0.16; 2.7 times as deep)"],
    reason: "Between CD34+ and NK, 0.9 of its radii from the nearest (CD34+). Probably technical: doublets of CD34+ and NK (doublet score 0.81, CD34+ 0.16; 2.7 times as deep).",
    nearest: [["CD34+", 0.9], ["NK", 1.1]], accept: "CD34+", suggested: ["CD34+", "NK"],
  });
  return flags;
}

export function flagsFrame(run) {
  const rates = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25];
  const n_flagged = rates.map((r) => Math.round(412 * (r / 0.05) ** 0.45));
  return [{
    kind: "flags", seq: ++run.seq, target_fpr: run.target_fpr, n_scored: 12_044, n_flagged: n_flagged[rates.indexOf(run.target_fpr)] ?? 412, calibration: "Calibrated on 6 020 cells set aside in training.",
    warnings: ["Subtypes are hard to see: left out in turn, CD8 T (beside CD4 T, 31%) would be found in part only, by a quick estimate at 5 % false alarms. A new type as close to these may hide among them."], is_computing: false,
    curve: { target_fpr: rates, n_flagged, by_chance: rates.map((r) => r * 12_044 * 0.3), of: "Precision and coverage are of 9,120 labelled cells, 231 of them of new types.", precision: rates.map((r) => 0.98 - 1.8 * r), coverage: rates.map((r) => Math.min(0.97, 0.4 + 0.42 * (r / 0.05) ** 0.4)) }, flags: run.flags ?? [],
  }, []];
}

/** Keeps the map as it is, or a rougher one of an earlier step. */
export function keepMoment(run, { step = run.step, blur = 0 } = {}) {
  const [header, [xy, cell, , , , , , is_query]] = mapFrame({ ...run, x: run.x.map((x) => x + blur * run.normal()), y: run.y.map((y) => y + blur * run.normal()), seq: 0 });
  const values = Object.values(run.points).map((one) => [one.name, one.split, one.values[Math.max(0, one.steps.findLastIndex((at) => at <= step))]]);
  run.moments.push([{ id: ++run.n_moments, step, epoch: Math.floor(step / 25), stage: "representation", kept_at: "2026-11-20T12:04:00+00:00", layout: run.layout, values, knn_accuracy: 0.93 - 0.3 * blur, bounds: header.bounds, n: run.n }, [xy, cell, is_query]]);
  return run.n_moments;
}

export function momentsFrame(run) {
  return [{ kind: "moments", seq: ++run.seq, most: 8, moments: run.moments.map(([header]) => header) }, run.moments.flatMap(([, buffers]) => buffers)];
}

export function syncMessage(run, view) {
  const frames = run.state === "ready" ? [statusFrame(run)] : [statusFrame(run), curvesFrame(run, true), mapFrame(run), prototypesFrame(run), flagsFrame(run), momentsFrame(run), valuesFrame(run)];
  return [{ kind: "sync", proto: 2, view, seq: run.seq, frames: frames.map(([header, buffers]) => ({ ...header, buffers: buffers.length })) }, frames.flatMap(([, buffers]) => buffers)];
}
