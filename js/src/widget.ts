// The two ways in: a live view on an anywidget model, and a still one on an inlined state.
import { decodeSnapshot } from "./frames";
import { Session, type Model } from "./session";
import { Store } from "./store";
import { mountView } from "./view";

interface Props { model: Model; signal?: AbortSignal }
interface RenderProps extends Props { el: HTMLElement }

/**
 * One session per model however many views it has: the credit is the model's. A host calls this once per model, and
 * gives `initialize` and each `render` a model object of its own, so only this closure can tell that they are one.
 */
function widget() {
  let session: Session | null = null;

  const open = ({ model, signal }: Props): (() => void) => {
    const opened = new Session(model);
    session = opened;
    const close = () => {
      opened.close();
      if (session === opened) session = null;
    };
    signal?.addEventListener("abort", close, { once: true });
    return close;
  };

  return {
    initialize: open,
    render({ model, el, signal }: RenderProps): () => void {
      // A host that does not call `initialize` still gets a session; it then ends with this view.
      const closeSession = session ? () => {} : open({ model });
      const { store, commands, name } = session!;
      const unmount = mountView(el, store, (verb, args) => commands.call(verb, args), name);
      const close = () => {
        unmount();
        closeSession();
      };
      signal?.addEventListener("abort", close, { once: true });
      return close;
    },
  };
}

export default widget;

/** The offline page: `state` is what `view.to_html()` inlined (docs/protocol.md). */
export function renderStatic(element: HTMLElement, state: { kind: string }): () => void {
  const store = new Store();
  store.replace(decodeSnapshot(state));
  return mountView(element, store, null, store.status?.store ?? "");
}

// The offline page has the bundle as an inline module, which nobody can import: it starts by itself.
const inlined = document.getElementById("livelatent-state");
const place = document.getElementById("livelatent");
if (inlined && place && place.childElementCount === 0) renderStatic(place, JSON.parse(inlined.textContent ?? ""));
