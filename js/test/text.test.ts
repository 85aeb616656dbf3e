import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { h } from "../src/dom";
import { brief, count, percent, pValue, value, when } from "../src/words";

const HOSTILE = ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "&lt;b&gt;", "\" onmouseover=\"alert(1)", "x".repeat(10_000), "خلايا", "🧬🩸"];

describe("a name that somebody else wrote", () => {
  it.each(HOSTILE)("is text as a child and as an attribute: %.40s", (name) => {
    const host = h("div", {}, h("span", { title: name, "aria-label": name }, name), name);
    expect(host.children).toHaveLength(1);
    expect(host.children[0].children).toHaveLength(0);
    expect(host.children[0].textContent).toBe(name);
    expect(host.children[0].getAttribute("title")).toBe(name);
    expect(host.textContent).toBe(name + name);
  });

  it("never meets a sink that reads HTML", () => {
    const folder = join(import.meta.dirname, "../src");
    const files = readdirSync(folder).filter((file) => file.endsWith(".ts"));
    expect(files.length).toBeGreaterThan(10);
    for (const file of files) {
      expect(readFileSync(join(folder, file), "utf8"), file).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTMLUnsafe|\beval\(|new Function/);
    }
  });

  it("is cut for drawing at a whole character", () => {
    expect(brief("CD4 T")).toBe("CD4 T");
    expect([...brief("🧬".repeat(50))]).toHaveLength(28);
    expect(brief("🧬".repeat(50))).toMatch(/^(🧬)+…$/u);
    expect(brief("x".repeat(10_000), 12)).toBe("x".repeat(11) + "…");
  });
});

it("numbers read as a person writes them", () => {
  expect(count(1204331)).toBe("1\u2009204\u2009331");
  expect(count(412)).toBe("412");
  expect([value(0.1843), value(12.34), value(123456), value(0.00012), value(-1.5), value(NaN)]).toEqual(["0.184", "12.3", "1.2e+5", "1.2e−4", "−1.500", "NaN"]);
  expect([percent(0.05), percent(0.001), percent(0.031), percent(0)]).toEqual(["5\u2009%", "0.1\u2009%", "3.1\u2009%", "0\u2009%"]);
  expect([pValue(0.0004), pValue(0.0123), pValue(null)]).toEqual(["p < 0.001", "p 0.012", "p unknown"]);
});

it("a time is short, and a text that is no time stays", () => {
  const now = new Date();
  now.setHours(12, 4);
  expect(when(now.toISOString())).toBe("12:04");
  expect(when("12:04")).toBe("12:04");
  expect(when("soon")).toBe("soon");
});
