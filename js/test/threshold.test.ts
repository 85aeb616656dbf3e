import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Desk } from "../src/desk";
import type { FlagsFrame } from "../src/frames";
import { Store } from "../src/store";
import { thresholdControl } from "../src/threshold";

const frame = (more: Partial<FlagsFrame> = {}, curve: Partial<FlagsFrame["curve"]> = {}): FlagsFrame => ({
  kind: "flags", seq: 1, target_fpr: 0.05, n_scored: 1000, n_flagged: 70, calibration: "500 cells", flags: [],
  curve: { target_fpr: [0.001, 0.01, 0.05, 0.25], n_flagged: [5, 30, 70, 400], by_chance: [1, 10, 50, 250], ...curve }, ...more,
});

function control(given: FlagsFrame) {
  const asked: object[] = [];
  const desk = new Desk(new Store(), document.createElement("div"), (async (_: string, args: object) => { asked.push(args); }) as never);
  desk.store.flags = given;
  const made = thresholdControl(desk);
  made.paint(given);
  const slider = made.element.querySelector("input")!;
  const reading = () => made.element.querySelector(".ll-reading")!.textContent;
  return { ...made, asked, slider, reading };
}

beforeEach(() => { vi.useFakeTimers(); });
afterEach(() => { vi.useRealTimers(); });

it("while it is dragged the count is shown, and nothing is asked until it is let go", () => {
  const { slider, reading, asked } = control(frame());
  expect(reading()).toContain("70 cells flagged");
  slider.value = "1";
  slider.dispatchEvent(new Event("input"));
  vi.advanceTimersByTime(5000);
  expect(reading()).toContain("30 cells flagged");
  expect(reading()).toContain("10 if none were new");
  expect(reading()).toContain("applied when let go");
  expect(slider.getAttribute("aria-valuetext")).toBe("1\u2009% false alarms: 30 cells flagged, 10 if none were new");
  expect(asked).toEqual([]);
  slider.dispatchEvent(new Event("change"));
  vi.advanceTimersByTime(300);
  expect(asked).toEqual([{ target_fpr: 0.01 }]);
});

it("precision is shown where it is known, and else the reason why it is not", () => {
  const unknown = control(frame({}, { of: "Precision is not known: no scored cell bears the name of a new type." }));
  expect(unknown.reading()).not.toContain("precision");
  expect(unknown.element.textContent).toContain("Precision is not known");
  const known = control(frame({}, { precision: [null, 0.9, 0.5, 0.25], coverage: [0, 0.25, 0.75, 1] }));
  expect(known.reading()).toContain("precision 50\u2009%");
  expect(known.reading()).toContain("coverage 75\u2009%");
  known.slider.value = "0";
  known.slider.dispatchEvent(new Event("input"));
  expect(known.reading()).not.toContain("precision"); // nothing is flagged there: a share of nothing
});

it("warnings and what is on its way are said in words", () => {
  const { element, reading } = control(frame({ warnings: ["Subtypes are <b>hard</b> to see."], is_computing: true }));
  expect(element.querySelector(".ll-note")!.textContent).toBe("Subtypes are <b>hard</b> to see.");
  expect(element.querySelector("b:not(.ll-rate)")).toBeNull();
  expect(reading()).toContain("being computed…");
});

it("a rate in force that the curve lacks has its place on the slider", () => {
  const { slider, reading } = control(frame({ target_fpr: 0.1, n_flagged: 120 }));
  expect([slider.max, slider.value]).toEqual(["4", "3"]);
  expect(reading()).toContain("120 cells flagged");
});

it("before anything is scored there is no control", () => {
  expect(control(frame({ n_scored: 0 })).element.hidden).toBe(true);
});
