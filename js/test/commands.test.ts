import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Commands } from "../src/commands";

type Sent = { kind: string; rid: string; name: string; args: object };
let sent: Sent[];
let pending: number[];
let commands: Commands;

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  pending = [];
  commands = new Commands((message) => sent.push(message as Sent), () => pending.push(commands.nPending));
});
afterEach(() => {
  commands.close();
  vi.useRealTimers();
});

it("a command that is not answered is sent again with the same rid, more and more seldom", () => {
  void commands.call("label", { flag: 3, name: "B" });
  vi.advanceTimersByTime(60_000);
  expect(sent.length).toBeGreaterThan(3);
  expect(sent.length).toBeLessThan(10);
  expect(new Set(sent.map((message) => message.rid)).size).toBe(1);
  expect(sent.at(-1)).toEqual({ kind: "cmd", rid: sent[0].rid, name: "label", args: { flag: 3, name: "B" } });
});

it("an answer ends the retries and resolves, and a second answer changes nothing", async () => {
  const label = commands.call<{ n_cells: number }>("label");
  vi.advanceTimersByTime(3_000);
  const n_sent = sent.length;
  commands.reply({ rid: sent[0].rid, ok: true, result: { n_cells: 7 } });
  commands.reply({ rid: sent[0].rid, ok: false, error: "again" });
  expect(await label).toEqual({ n_cells: 7 });
  vi.advanceTimersByTime(60_000);
  expect(sent.length).toBe(n_sent);
  expect(pending).toEqual([1, 0]);
});

it("answers find their commands in any order, each command with a rid of its own", async () => {
  const [a, b] = [commands.call("pause"), commands.call("undo")];
  expect(sent[0].rid).not.toBe(sent[1].rid);
  commands.reply({ rid: sent[1].rid, ok: true, result: "undone" });
  commands.reply({ rid: sent[0].rid, ok: true, result: "paused" });
  expect(await Promise.all([a, b])).toEqual(["paused", "undone"]);
});

it("a refusal rejects with Python's words", async () => {
  const label = commands.call("label");
  commands.reply({ rid: sent[0].rid, ok: false, error: "a name has 1 to 120 characters" });
  await expect(label).rejects.toThrow("a name has 1 to 120 characters");
});

it("two pages never share a rid", () => {
  const other: Sent[] = [];
  const second = new Commands((message) => other.push(message as Sent));
  void commands.call("pause");
  void second.call("pause");
  second.close();
  expect(sent[0].rid).not.toBe(other[0].rid);
});

it("a closed page sends no more", () => {
  void commands.call("pause");
  commands.close();
  vi.advanceTimersByTime(60_000);
  expect(sent).toHaveLength(1);
});
