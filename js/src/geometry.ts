// Plane geometry of the map: which cells lie in a lasso, where a cluster is, how its name finds a free place.

/** Even-odd rule; `polygon` is x, y interleaved. */
export function inPolygon(x: number, y: number, polygon: ArrayLike<number>): boolean {
  let inside = false;
  const n = polygon.length;
  for (let i = 0, j = n - 2; i < n; j = i, i += 2) {
    const yi = polygon[i + 1];
    const yj = polygon[j + 1];
    if (yi > y !== yj > y && x < ((polygon[j] - polygon[i]) * (y - yi)) / (yj - yi) + polygon[i]) inside = !inside;
  }
  return inside;
}

/** Indices of the points inside, ascending. The bounding box comes first: most cells of a million are outside it. */
export function pointsInPolygon(points: ArrayLike<number>, polygon: ArrayLike<number>): number[] {
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < polygon.length; i += 2) {
    x0 = Math.min(x0, polygon[i]);
    x1 = Math.max(x1, polygon[i]);
    y0 = Math.min(y0, polygon[i + 1]);
    y1 = Math.max(y1, polygon[i + 1]);
  }
  const inside: number[] = [];
  for (let i = 0; i < points.length; i += 2) {
    const x = points[i];
    const y = points[i + 1];
    if (x >= x0 && x <= x1 && y >= y0 && y <= y1 && inPolygon(x, y, polygon)) inside.push(i / 2);
  }
  return inside;
}

export type Point = [number, number];

/** The point nearest to (x, y), of those that `among` marks; -1 where none is nearer than `reach`. */
export function nearestPoint(points: ArrayLike<number>, [x, y]: Point, among: Uint8Array | null = null, reach = Infinity): number {
  let best = reach ** 2;
  let found = -1;
  // Every one is looked at: 1.7 ms for a million, less than an index costs to keep.
  for (let i = 0; 2 * i < points.length; i++) {
    const d = (points[2 * i] - x) ** 2 + (points[2 * i + 1] - y) ** 2;
    if (d < best && (!among || among[i])) { best = d; found = i; }
  }
  return found;
}

/** From one point the next in a direction (along an axis): in the quarter that it faces, the nearest to where `far` leads. */
export function nextPoint(points: ArrayLike<number>, from: number, [dx, dy]: Point, far: number, among: Uint8Array | null = null): number {
  let best = Infinity;
  let found = -1;
  for (let i = 0; 2 * i < points.length; i++) {
    const [x, y] = [points[2 * i] - points[2 * from], points[2 * i + 1] - points[2 * from + 1]];
    const along = x * dx + y * dy;
    const across = x * dy - y * dx;
    if (along <= 0 || Math.abs(across) > along || (among && !among[i])) continue;
    const d = (along - far) ** 2 + across ** 2;
    if (d < best) { best = d; found = i; }
  }
  return found;
}

export function median(values: number[]): number {
  if (values.length === 0) return NaN;
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

const SAMPLE = 2000;

/** Per code how many points it has, and which of them stand for it: about 2,000 at most, evenly taken. */
export function samples(codes: ArrayLike<number>, n_codes: number): { members: number[]; n: number }[] {
  const count = new Uint32Array(n_codes);
  for (let i = 0; i < codes.length; i++) if (codes[i] < n_codes) count[codes[i]]++;
  const members: number[][] = Array.from({ length: n_codes }, () => []);
  const step = count.map((n) => Math.ceil(n / SAMPLE));
  const wait = new Uint32Array(n_codes);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code >= n_codes) continue;
    if (wait[code] === 0) {
      members[code].push(i);
      wait[code] = step[code];
    }
    wait[code]--;
  }
  return members.map((some, code) => ({ members: some, n: count[code] }));
}

export function medianPoint(points: ArrayLike<number>, members: readonly number[]): Point {
  return [median(members.map((i) => points[2 * i])), median(members.map((i) => points[2 * i + 1]))];
}

const STRAY = 4;

export interface Ellipse { x: number; y: number; rx: number; ry: number; angle: number }

/**
 * Around the points that lie nearest to their median: at most nine tenths of them, and none more than STRAY times as far
 * away as the median point. A flag's cells are one cluster among the genes; on the map a fifth of them may lie elsewhere.
 */
export function robustEllipse(points: ArrayLike<number>, members: readonly number[]): Ellipse | null {
  if (members.length === 0) return null;
  const cx = median(members.map((i) => points[2 * i]));
  const cy = median(members.map((i) => points[2 * i + 1]));
  const offsets = members.map((i): Point => [points[2 * i] - cx, points[2 * i + 1] - cy]);
  offsets.sort((a, b) => a[0] ** 2 + a[1] ** 2 - b[0] ** 2 - b[1] ** 2);
  const reach = STRAY * median(offsets.map(([x, y]) => Math.hypot(x, y)));
  const core = offsets.slice(0, Math.max(1, Math.ceil(0.9 * offsets.length))).filter(([x, y]) => Math.hypot(x, y) <= reach);
  let [sxx, sxy, syy] = [0, 0, 0];
  for (const [x, y] of core) {
    sxx += (x * x) / core.length;
    sxy += (x * y) / core.length;
    syy += (y * y) / core.length;
  }
  const mean = (sxx + syy) / 2;
  const root = Math.sqrt(((sxx - syy) / 2) ** 2 + sxy ** 2);
  // 2.8 sigma of the trimmed points is about 2.3 sigma of a normal cluster: some 93 % of it.
  const radius = (variance: number) => 2.8 * Math.sqrt(Math.max(variance, 0));
  return { x: cx, y: cy, rx: radius(mean + root), ry: radius(mean - root), angle: 0.5 * Math.atan2(2 * sxy, sxx - syy) };
}

export interface Box { x: number; y: number; w: number; h: number }
export interface Wish { x: number; y: number; w: number; h: number; is_beside?: boolean }
const MIDDLE = [0, 0];
const ASIDE = [[0, -1], [0, 1], [0.55, -0.6], [-0.55, -0.6], [0.55, 0.6], [-0.55, 0.6], [0, -2], [0, 2], [0.7, 0], [-0.7, 0], [0, -3], [0, 3]];

/** The middle of each wished-for box, moved aside where another is (or where it would hide what it names: `is_beside`), or null where nothing is free; the first wins. */
export function placeLabels(wishes: readonly Wish[], frame: { w: number; h: number }, taken: readonly Box[] = []): (Point | null)[] {
  const boxes = [...taken];
  return wishes.map(({ x, y, w, h, is_beside }) => {
    if (!(x >= 0 && x <= frame.w && y >= 0 && y <= frame.h)) return null;
    for (const [dx, dy] of is_beside ? [...ASIDE, MIDDLE] : [MIDDLE, ...ASIDE]) {
      const cx = Math.min(Math.max(x + dx * w, w / 2 + 2), frame.w - w / 2 - 2);
      const cy = Math.min(Math.max(y + dy * (h + 1), h / 2 + 2), frame.h - h / 2 - 2);
      const box = { x: cx - w / 2, y: cy - h / 2, w, h };
      if (boxes.some((other) => overlap(box, other))) continue;
      boxes.push(box);
      return [cx, cy];
    }
    return null;
  });
}

export function overlap(a: Box, b: Box): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}
