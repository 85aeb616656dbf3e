// Colours of categories. Up to 8: Okabe and Ito's, which colour-blind people tell apart. Beyond: names on the map and
// focus do the work, the colours (palette.py) only help. Vermillion is the eighth, because flags wear it too.

const FIRST = ["E69F00", "56B4E9", "009E73", "F0E442", "0072B2", "CC79A7", "000000", "D55E00"];
const REST =
  "7c10f4 a01070 70581c 40dc88 d04cf4 a05864 6440ac dcacc4 88b894 d01040 d028a0 1c88f4 104cd0 f44c64 9470d0 f488f4 b8c458 706494 " +
  "888840 10a0b8 34704c 7058dc f48858 f464c4 7c94dc c4881c 10d0d0 a04cb8 883494 64b858 4c7c88 ac341c d0a07c 28c410 d094dc b87c70 " +
  "ac88f4 c4407c 9440f4 70dc10 f494a0 9410c4 647cac ac88c4 588858 a04070 70a034 885840 648810 e81064 7ca088 7c4c88 d094ac 946410 " +
  "f46494 b8b8e8";
const LONG = [...FIRST.slice(0, 6), "8C8C8C", FIRST[7], ...REST.split(" ")];

/** 0xRRGGBB. */
export function hex(text: string): number {
  return parseInt(text.replace("#", ""), 16);
}

/** One colour per category; the 65th has the first one's again. */
export function categoryColours(n: number, dark: boolean): number[] {
  const base = n <= FIRST.length ? FIRST : LONG;
  return Array.from({ length: n }, (_, i) => {
    const colour = hex(base[i % base.length]);
    if (colour === 0x000000) return dark ? 0xe6e9ec : 0x4a5057; // black would hide the names written over it
    if (colour === 0xf0e442 && !dark) return 0xe5d61e; // Okabe-Ito's yellow fades on white; darker still, and it is orange under deuteranopia
    return colour;
  });
}

/** Bytes R, G, B, A as one little-endian word, as ImageData and a vertex buffer take it. */
export function word(rgb: number, alpha = 1): number {
  return ((Math.round(alpha * 255) << 24) | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}

export function mixColours(a: number, b: number, share: number): number {
  const channel = (shift: number) => Math.round(((a >> shift) & 255) * (1 - share) + ((b >> shift) & 255) * share) << shift;
  return channel(16) | channel(8) | channel(0);
}

export function css(rgb: number): string {
  return `#${rgb.toString(16).padStart(6, "0")}`;
}
