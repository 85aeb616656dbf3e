// A box that finds genes, columns and prototypes while one types. Python holds the list (60,000 genes) and sends matches.
import type { Desk } from "./desk";
import { focusNear, h, set } from "./dom";
import { brief, count } from "./words";

type Found = { matches: [by: string, name: string][]; n: number };

const KINDS: Record<string, string> = { gene: "gene", obs: "column", prototype: "distance to prototype" };
const REST_MS = 90;
let n_boxes = 0;

export function searchBox(desk: Desk, choose: (by: "gene" | "obs" | "prototype", name: string) => void) {
  const id = `ll-found-${++n_boxes}`;
  const input = h("input", { class: "ll-input ll-search", type: "text", role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": id, "aria-label": "Colour cells by a gene, a column or a prototype", placeholder: "gene, column…", autocomplete: "off", spellcheck: "false", dir: "auto", "data-testid": "ll-search" });
  const list = h("div", { class: "ll-found", role: "listbox", id, "aria-label": "Matches", "data-testid": "ll-found", hidden: true });
  const box = h("span", { class: "ll-search-box" }, input, list);
  let found: Found = { matches: [], n: 0 };
  let at = -1;
  let asked = 0;
  let hurries = false; // Enter came before the matches: the first of them is meant
  let timer: ReturnType<typeof setTimeout> | undefined;

  const show = (open: boolean) => {
    list.hidden = !open;
    set(input, { "aria-expanded": String(open), "aria-activedescendant": open && at >= 0 ? `${id}-${at}` : null });
  };

  const hint = (text: string) => h("div", { class: "ll-option ll-dim", role: "option", "aria-disabled": "true" }, text);

  const paint = () => {
    list.replaceChildren(...found.matches.map(([by, name], i) => h("div", { class: "ll-option", role: "option", id: `${id}-${i}`, "aria-selected": String(i === at), "data-at": i },
      h("bdi", { title: name.slice(0, 300) }, brief(name, 36)), h("span", { class: "ll-dim" }, ` ${KINDS[by] ?? by}`))));
    if (found.matches.length === 0) list.append(hint("nothing of that name"));
    else if (found.n > found.matches.length) list.append(hint(`${count(found.n)} in all: type on`));
    show(true);
    list.children[at]?.scrollIntoView({ block: "nearest" });
  };

  const search = () => {
    const mine = ++asked;
    desk.ask?.<Found>("suggest", { text: input.value }).then((result) => {
      if (mine !== asked || focusNear(input) !== input) return;
      found = result;
      at = result.matches.length && input.value ? 0 : -1;
      if (hurries && at === 0) return take(0);
      paint();
    }).catch((error: Error) => desk.store.setError(`search: ${error.message}`));
  };

  const take = (i: number) => {
    const match = found.matches[i];
    if (!match) return;
    asked++;
    hurries = false;
    show(false);
    input.value = "";
    choose(match[0] as "gene", match[1]);
  };

  desk.scope.on(input, "input", () => { at = -1; hurries = false; asked++; clearTimeout(timer); timer = setTimeout(search, REST_MS); });
  desk.scope.on(input, "focus", () => { if (list.hidden) search(); });
  desk.scope.on(input, "blur", () => { clearTimeout(timer); asked++; hurries = false; show(false); });
  desk.scope.on<PointerEvent>(list, "pointerdown", (event) => {
    event.preventDefault(); // the box keeps the focus, so the list stays until the click is done
    const option = (event.target as Element).closest<HTMLElement>("[data-at]");
    if (option) take(Number(option.dataset.at));
  });
  desk.scope.on<KeyboardEvent>(input, "keydown", (event) => {
    const n = found.matches.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (list.hidden) search();
      else if (n) { at = (at + (event.key === "ArrowDown" ? 1 : -1) + n) % n; paint(); }
    } else if (event.key === "Enter") {
      if (!list.hidden && at >= 0) take(at);
      else hurries = input.value !== "";
    } else if (event.key === "Escape" && !list.hidden) {
      show(false);
      event.stopPropagation();
    } else return;
    event.preventDefault();
  });
  desk.scope.add(() => clearTimeout(timer));
  return { box, input };
}
