// The two ways in: a live view on an anywidget model, and a still one on an inlined state.
import { decodeSnapshot } from "./frames";
import { Session, type Model } from "./session";
import { Store } from "./store";
import { mountView } from "./view";

interface Props { model: Model; signal?: AbortSignal }
interface RenderProps extends Props { el: HTMLElement }

const sessions = new WeakMap<Model, Session>();

/** One session per model however many views it has: the credit is the model's. */
function open({ model, signal }: Props): () => void {
  const session = new Session(model);
  sessions.set(model, session);
  const close = () => {
    session.close();
    if (sessions.get(model) === session) sessions.delete(model);
  };
  signal?.addEventListener("abort", close, { once: true });
  return close;
}

function initialize(props: Props): () => void {
  return open(props);
}

function render({ model, el, signal }: RenderProps): () => void {
  // A host that does not call `initialize` still gets a session; it then ends with this view.
  const closeSession = sessions.has(model) ? () => {} : open({ model });
  const session = sessions.get(model)!;
  const unmount = mountView(el, session.store, (name, args) => session.commands.call(name, args), session.name);
  const close = () => {
    unmount();
    closeSession();
  };
  signal?.addEventListener("abort", close, { once: true });
  return close;
}

/** The offline page: `state` is what `view.to_html()` inlined (docs/protocol.md). */
export function renderStatic(element: HTMLElement, state: { kind: string }): () => void {
  const store = new Store();
  store.replace(decodeSnapshot(state));
  return mountView(element, store, null, store.status?.store ?? "");
}

export default { initialize, render };

// The offline page has the bundle as an inline module, which nobody can import: it starts by itself.
const inlined = document.getElementById("livelatent-state");
const place = document.getElementById("livelatent");
if (inlined && place && place.childElementCount === 0) renderStatic(place, JSON.parse(inlined.textContent ?? ""));
