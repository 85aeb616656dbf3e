import { describe, expect, it } from "vitest";
import { categoryColours, mixColours, word } from "../src/palette";

const linear = (c: number) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const channels = (rgb: number) => [rgb >> 16, (rgb >> 8) & 255, rgb & 255].map((c) => linear(c / 255));
const times = (m: number[][], v: number[]) => m.map((row) => row.reduce((sum, x, i) => sum + x * v[i], 0));

// Machado, Oliveira and Fernandes 2009, severity 1.
const EYES: Record<string, number[][]> = {
  normal: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

/** CIELAB, D65. */
function lab(rgb: number, eye: number[][]): number[] {
  const seen = times(eye, channels(rgb)).map((c) => Math.min(1, Math.max(0, c)));
  const f = (t: number) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
  const [x, y, z] = times([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], seen);
  const [fx, fy, fz] = [f(x / 0.95047), f(y), f(z / 1.08883)];
  return [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)];
}

describe.each([true, false])("on dark %s", (dark) => {
  it.each(Object.keys(EYES))("eight colours stay at least 12 apart (CIELAB) under %s", (eye) => {
    const seen = categoryColours(8, dark).map((colour) => lab(colour, EYES[eye]));
    for (let i = 0; i < 8; i++) for (let j = 0; j < i; j++) expect(Math.hypot(...seen[i].map((v, d) => v - seen[j][d]))).toBeGreaterThan(12);
  });

  it("no colour of a long palette is given twice before the 65th, and none vanishes in the background", () => {
    const colours = categoryColours(65, dark);
    expect(new Set(colours.slice(0, 64)).size).toBe(64);
    expect(colours[64]).toBe(colours[0]);
    const background = lab(dark ? 0x111315 : 0xffffff, EYES.normal);
    for (const colour of colours) expect(Math.hypot(...lab(colour, EYES.normal).map((v, d) => v - background[d]))).toBeGreaterThan(25);
  });
});

it("a word has its bytes in the order R, G, B, A", () => {
  expect([...new Uint8Array(Uint32Array.of(word(0x123456, 1)).buffer)]).toEqual([0x12, 0x34, 0x56, 255]);
  expect([...new Uint8Array(Uint32Array.of(word(0xff0080, 0.5)).buffer)]).toEqual([0xff, 0, 0x80, 128]);
});

it("colours mix channel by channel", () => {
  expect(mixColours(0x000000, 0xff8040, 0.5)).toBe(0x804020);
  expect(mixColours(0x123456, 0xffffff, 0)).toBe(0x123456);
});
