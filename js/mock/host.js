// A notebook in a few lines: an AFM model, and a kernel that answers from mock/data.js. `window.mock` is for tests.
import widget, { renderStatic } from "../../src/livelatent/widget/static/widget.js";
import * as data from "./data.js";

const query = new URLSearchParams(location.search);
const theme = query.get("theme") ?? "light";
document.body.dataset.jpThemeLight = String(theme === "light");
const run = data.makeRun({ cells: Number(query.get("cells") ?? 4000), types: Number(query.get("types") ?? 8) });
run.state = query.get("state") ?? "training";
run.flags = query.get("flags") === "0" ? [] : data.makeFlags();
for (let id = 4; id <= Number(query.get("flags") ?? 0); id++) run.flags.push({ ...run.flags[id % 3], id, n_cells: 5 + (id % 30) });
if (run.state !== "ready") data.advance(run, 475);
if (query.has("moments")) data.keepMoment(run, { step: 60, blur: 0.9 });
if (query.has("evil")) {
  run.names[0] = "<img src=x onerror=window.pwned=1>";
  run.names[1] = "x".repeat(10_000);
  run.names[2] = "خلايا تائية";
  run.names[3] = "🧬 B 🩸";
  if (run.flags[1]) Object.assign(run.flags[1], { label: "<img src=x onerror=window.pwned=1>", state: "named", nearest: [[run.names[1], 0.5]], accept: run.names[1], suggested: run.names.slice(0, 4), technical: [run.names[0]], measures: [{ name: run.names[2], flag: 1, low: 0, usual: 1, high: 2, overall: 1 }] });
  if (run.flags[0]) run.flags[0].reason = "<script>window.pwned=1</script><b>not bold</b>";
}

/** As a host delivers them: DataViews into one buffer, at offsets that suit no typed array. */
function views(buffers) {
  const bytes = new Uint8Array(1 + buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0));
  let at = 1;
  return buffers.map((buffer) => {
    bytes.set(new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength), at);
    at += buffer.byteLength;
    return new DataView(bytes.buffer, at - buffer.byteLength, buffer.byteLength);
  });
}

const listeners = new Set();
const held = [];
const answers = new Map();
export const mock = {
  run, data, sent: [], hold: query.has("hold"), isSilent: false, refusal: null,
  deliver: ([content, buffers]) => { for (const listener of [...listeners]) listener(structuredClone(content), views(buffers)); },
  /** Sends the answers that `hold` kept back. */
  answer: () => { for (const reply of held.splice(0)) mock.deliver(reply); },
  nListeners: () => listeners.size,
};
window.mock = mock;

const saved_at = "2026-11-20T12:04:00+00:00";
const commands = {
  start: () => { run.state = "training"; data.advance(run, 40); },
  pause: () => { run.state = "paused"; },
  resume: () => { run.state = "training"; },
  stop: () => { run.state = "stopped"; },
  step: () => {
    run.state = "paused";
    data.advance(run, 1);
    mock.deliver(data.curvesFrame(run, false));
  },
  set: ({ learning_rate, weights }) => {
    if (learning_rate !== null && !(learning_rate > 0 && learning_rate <= 1)) throw new Error(`the learning rate is a number above 0, and at most 1; got ${learning_rate}.`);
    const words = learning_rate === null ? [] : [`learning rate ${run.rate} → ${learning_rate}`];
    run.rate = learning_rate ?? run.rate;
    for (const [name, weight] of Object.entries(weights)) { words.push(`${name} weight ${run.weights[name]} → ${weight}`); run.weights[name] = weight; }
    run.marks.push({ step: run.step, text: words.join(", ") });
    run.n_changes += 1;
    mock.deliver(data.curvesFrame(run, false));
  },
  keep: () => {
    data.keepMoment(run);
    mock.deliver(data.momentsFrame(run));
    return { id: run.n_moments, step: run.step, knn_accuracy: 0.93 };
  },
  drop_moment: ({ moment }) => {
    run.moments = run.moments.filter(([header]) => header.id !== moment);
    mock.deliver(data.momentsFrame(run));
  },
  label: ({ flag, cells, name }) => {
    if (mock.refusal) throw new Error(mock.refusal);
    let code = run.given_names.indexOf(name);
    if (code < 0) code = run.given_names.push(name) - 1;
    const rows = new Set((cells ?? []).map(([, row]) => row));
    let n_cells = 0;
    const before = [...run.given];
    for (let i = 0; i < run.n; i++) if (flag ? run.flag[i] === flag : rows.has(run.cell[i])) { run.given[i] = code; n_cells += 1; }
    const card = run.flags.find((one) => one.id === flag);
    const was = card && { ...card };
    if (card) Object.assign(card, { state: "named", label: name, saved_at });
    run.undo.push(() => { run.given = before; if (card) Object.assign(card, was); });
    run.redo = [];
    run.n_saved += 1;
    return { label: name, n_cells, saved_at, n_saved: run.n_saved };
  },
  undo: () => {
    run.undo.pop()?.();
    run.redo.push(() => {});
    run.n_saved -= 1;
    return { n_undo: run.undo.length, n_redo: run.redo.length, what: "label" };
  },
  redo: () => {
    run.redo.pop();
    run.undo.push(() => {});
    run.n_saved += 1;
    return { n_undo: run.undo.length, n_redo: run.redo.length, what: "label" };
  },
  dismiss: ({ flag }) => { run.flags.find((one) => one.id === flag).state = "dismissed"; },
  reopen: ({ flag }) => { run.flags.find((one) => one.id === flag).state = "open"; },
  suggest: ({ text }) => data.suggest(run, text),
  colour: ({ by, name }) => {
    run.values = name === "CD8A" ? { by, name, state: "failed", message: "the store could not be read" } : { by, name, state: "ready" };
    setTimeout(() => mock.deliver(data.valuesFrame(run)), 30);
    return { state: "fetching" };
  },
  cell: ({ row }) => ({ name: `AAACCTG-${row}`, nearest: run.names[1], radii: 1.25, probability: 0.875 }),
  count: () => (run.counted = (run.counted ?? 0) + 1) < 3 ? { state: "counting", share: 0.3 * run.counted } : { state: "done", n_cells: 123_456, n_by_atlas: [123_456] },
  retrain: () => { run.retraining = "preparing"; return { state: "preparing" }; },
  budget: ({ share }) => { run.share = share; return { share }; },
  merge: ({ flags }) => {
    const [first, ...rest] = flags.map((id) => run.flags.find((one) => one.id === id));
    first.n_cells += rest.reduce((n, one) => n + one.n_cells, 0);
    first.is_hand_made = true;
    run.flags = run.flags.filter((one) => !rest.includes(one));
    run.flag = run.flag.map((id) => (rest.some((one) => one.id === id) ? first.id : id));
    return { flag: first.id, flags: [[first.id, first.n_cells]] };
  },
  split: ({ flag, cells }) => {
    const chosen = new Set(cells.map(([q, row]) => `${q}:${row}`));
    const id = Math.max(...run.flags.map((one) => one.id)) + 1;
    const card = run.flags.find((one) => one.id === flag);
    let n_cells = 0;
    run.flag = run.flag.map((one, i) => (one === flag && chosen.has(`${run.query[i]}:${run.cell[i]}`) ? ((n_cells += 1), id) : one));
    run.flags.push({ ...card, id, n_cells, is_hand_made: true });
    Object.assign(card, { n_cells: card.n_cells - n_cells, is_hand_made: true });
    return { flag: id, flags: [[id, n_cells], [flag, card.n_cells]] };
  },
  nearest: ({ prototype }) => {
    const [header] = data.prototypesFrame({ ...run, seq: 0 });
    const cells = Array.from({ length: 12 }, (_, i) => [run.query[i], run.cell[i]]);
    return { name: header.names[prototype], asked: 5, cells, neighbors: [], drift: { steps: Array.from({ length: 30 }, (_, i) => 16 * i), values: Array.from({ length: 30 }, (_, i) => 0.2 * Math.exp(-i / 9) + 0.004) } };
  },
  threshold: ({ target_fpr }) => { run.target_fpr = target_fpr; return { n_flagged: 0 }; },
};

function answer({ rid, name, args }) {
  if (answers.has(rid)) return mock.deliver(answers.get(rid)); // a rid that was seen: the first answer again
  let reply;
  try {
    reply = [{ kind: "reply", rid, ok: true, error: null, result: commands[name]?.(args) ?? { state: run.state } }, []];
  } catch (error) {
    reply = [{ kind: "reply", rid, ok: false, error: error.message, result: null }, []];
  }
  answers.set(rid, reply);
  const after = run.state === "ready" ? [data.statusFrame(run)] : [data.statusFrame(run), data.mapFrame(run), data.flagsFrame(run)];
  for (const frame of after) mock.deliver(frame);
  if (mock.hold) held.push(reply);
  else mock.deliver(reply);
}

/** As anywidget does: `initialize` and every `render` get an object of their own for one model. */
const modelProxy = () => ({
  get: (name) => ({ name: "blood.zarr" })[name],
  on: (_, listener) => listeners.add(listener),
  off: (_, listener) => listeners.delete(listener),
  send: (content) => {
    mock.sent.push(content);
    if (mock.isSilent) return;
    setTimeout(() => {
      if (content.kind === "ready") mock.deliver(data.syncMessage(run, content.view));
      if (content.kind === "ping") mock.deliver([{ kind: "pong", t: content.t }, []]);
      if (content.kind === "cmd") answer(content);
    }, 20);
  },
});

let place = document.getElementById("place");
if (query.has("shadow")) {
  // As marimo does: the view and its style in a shadow root, of which the document sees only the host.
  const root = place.attachShadow({ mode: "open" });
  root.append(document.querySelector("link[rel=stylesheet]").cloneNode(), (place = document.createElement("div")));
}
if (query.has("static")) {
  const [content, buffers] = data.syncMessage(run, "static");
  const base64 = buffers.map((buffer) => btoa(Array.from(new Uint8Array(buffer.buffer), (byte) => String.fromCharCode(byte)).join("")));
  mock.unmount = renderStatic(place, { ...content, buffers: base64 });
} else {
  mock.open = (n_views = Number(query.get("views") ?? 1), hasInitialize = !query.has("bare")) => {
    const { initialize, render } = widget();
    const endModel = hasInitialize ? initialize({ model: modelProxy() }) : () => {};
    const ends = Array.from({ length: n_views }, () => render({ model: modelProxy(), el: place }));
    mock.unmount = () => { for (const end of [...ends, endModel]) end(); };
  };
  mock.open();
}

if (query.has("live")) {
  setInterval(() => {
    if (run.state !== "training") return;
    data.advance(run, 3);
    mock.deliver(data.curvesFrame(run, false));
    mock.deliver(data.statusFrame(run));
  }, 200);
  setInterval(() => {
    if (run.state !== "training") return;
    data.relayout(run);
    mock.deliver(data.mapFrame(run));
  }, 3000);
}
