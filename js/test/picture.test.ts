import { expect, test } from "vitest";
import { plain } from "../src/picture";

test("a name that XML could not hold is made one that it can, and any other stays as it is", () => {
  const kept = "<img src=x onerror=1> & خلايا 🧬 \t b̈";
  expect(plain(kept)).toBe(kept);
  expect(plain("a\0b\x1f\ud83e")).toBe("a\ufffdb\ufffd\ufffd");
  expect(plain("\uddec\ud83e\uddec")).toBe("\ufffd\ud83e\uddec");
});
