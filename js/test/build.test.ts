// @vitest-environment node
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";

const FILES = ["widget.js", "widget.css"];
const js = join(import.meta.dirname, "..");

function built(): Buffer[] {
  const folder = mkdtempSync(join(tmpdir(), "livelatent-build-"));
  try {
    execFileSync(process.execPath, ["build.mjs"], { cwd: js, env: { ...process.env, LIVELATENT_STATIC: folder } });
    return FILES.map((file) => readFileSync(join(folder, file)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

it("two builds give the same bytes, and they are the committed ones (else: npm run build)", () => {
  const [first, second] = [built(), built()];
  const committed = FILES.map((file) => readFileSync(join(js, "../src/livelatent/widget/static", file)));
  FILES.forEach((file, i) => {
    expect(first[i].equals(second[i]), `${file}, built twice`).toBe(true);
    expect(first[i].equals(committed[i]), `${file}, as committed`).toBe(true);
  });
});

it("the bundle is at most 120 KB, calls no other machine, and knows no path of this one", () => {
  const [script, style] = built().map((file) => file.toString("utf8"));
  expect(Buffer.byteLength(script)).toBeLessThanOrEqual(120_000);
  expect(script.match(/https?:\/\/[^"'`\s)]+/g)?.filter((url) => !url.startsWith("http://www.w3.org/")) ?? []).toEqual([]);
  expect(style).not.toMatch(/url\(\s*["']?http|@import/);
  expect(script + style).not.toContain("sourceMappingURL");
  expect(script).not.toContain(js);
});
