// One click from a name to a model that knows it.
import type { Desk } from "./desk";
import { h, say } from "./dom";
import { plural } from "./words";

export function retrainButton(desk: Desk): HTMLElement | null {
  if (!desk.ask) return null;
  const { store, scope } = desk;
  const button = h("button", { class: "ll-button ll-small ll-primary", type: "button", "data-testid": "ll-retrain", hidden: true,
    title: "Trains on from the present weights with the labels given here, in a run of its own: what was trained before stays on disk" });
  let doing = "";
  const paint = () => {
    const { can, n_unlearned = 0, retraining = "" } = store.status ?? {};
    button.hidden = !can?.retrain && !retraining;
    button.disabled = Boolean(retraining);
    say(button, retraining ? `Retraining: ${retraining}…` : `Retrain with ${plural(n_unlearned, "new label")}`);
    if (doing && !retraining) desk.announce("the model trains on with the new labels");
    doing = retraining;
  };
  scope.on(button, "click", () => {
    button.disabled = true;
    desk.announce("retraining is being prepared");
    desk.ask!("retrain").catch((error: Error) => store.setError(`retrain: ${error.message}`)).finally(paint);
  });
  store.listen(["status"], () => desk.painter.request(paint), scope.signal);
  paint();
  return button;
}
