import { describe, expect, it } from "vitest";
import { fitBounds, toLayout, toScreen, zoomAt } from "../src/camera";
import { inPolygon, medianPoint, nearestPoint, nextPoint, overlap, placeLabels, pointsInPolygon, robustEllipse, samples } from "../src/geometry";

const L_SHAPE = [0, 0, 4, 0, 4, 1, 1, 1, 1, 3, 0, 3];

describe("inside a polygon", () => {
  it.each([[0.5, 0.5, true], [3.5, 0.5, true], [0.5, 2.5, true], [2, 2, false], [-1, 0.5, false], [5, 0.5, false], [0.5, 3.5, false]])("(%f, %f) in an L: %s", (x, y, inside) => {
    expect(inPolygon(x, y, L_SHAPE)).toBe(inside);
  });

  it("agrees with the rectangle's own inequality, whichever way round it was drawn", () => {
    const points = Float32Array.from({ length: 2000 }, (_, i) => Math.sin(i * 12.9898) * 3);
    const wanted = Array.from({ length: 1000 }, (_, i) => i).filter((i) => points[2 * i] > -1 && points[2 * i] < 2 && points[2 * i + 1] > -0.5 && points[2 * i + 1] < 1.5);
    expect(wanted.length).toBeGreaterThan(50);
    expect(pointsInPolygon(points, [-1, -0.5, 2, -0.5, 2, 1.5, -1, 1.5])).toEqual(wanted);
    expect(pointsInPolygon(points, [-1, 1.5, 2, 1.5, 2, -0.5, -1, -0.5])).toEqual(wanted);
  });

  it("the hole of a figure that crosses itself is outside, and no polygon holds nothing", () => {
    const twice = [0, 0, 4, 0, 4, 4, 0, 4, 0, 0, 4, 0, 4, 4, 0, 4];
    expect(inPolygon(2, 2, twice)).toBe(false);
    expect(pointsInPolygon([1, 1], [])).toEqual([]);
  });
});

it("a cluster is at its median, where one stray does not pull it, and codes beyond the names are left out", () => {
  const points = [0, 0, 1, 1, 2, 8, 100, 2, 9, 9, 5, 5];
  const types = samples([0, 0, 0, 65535, 1, 7], 3);
  expect(types.map(({ n }) => n)).toEqual([3, 1, 0]);
  expect(types.map(({ members }) => medianPoint(points, members))).toEqual([[1, 1], [9, 9], [NaN, NaN]]);
});

it("of a large type an even sample stands for all", () => {
  const [large, small] = samples(Uint16Array.from({ length: 10_001 }, (_, i) => Number(i === 5000)), 2);
  expect([large.n, small.n, small.members]).toEqual([10_000, 1, [5000]]);
  expect(large.members).toHaveLength(2000);
  const gaps = large.members.slice(1).map((i, at) => i - large.members[at]);
  expect([Math.min(...gaps), Math.max(...gaps)]).toEqual([5, 6]); // one cell of the other type lies between
});

it("an outline turns with its cluster and ignores a stray", () => {
  const points: number[] = [];
  for (let i = -20; i <= 20; i++) points.push(i + 0.2 * Math.sin(i * 7), i + 0.2 * Math.cos(i * 5));
  points.push(400, -300);
  const ring = robustEllipse(points, Array.from({ length: points.length / 2 }, (_, i) => i))!;
  expect(ring.angle).toBeCloseTo(Math.PI / 4, 1);
  expect(ring.rx).toBeGreaterThan(20);
  expect(ring.rx).toBeLessThan(60);
  expect(ring.ry).toBeLessThan(3);
  expect(robustEllipse(points, [])).toBeNull();
  for (let i = 0; i < 9; i++) points.push(400 + i, -300 - 30 * i); // a fifth of all: a second heap far away
  const still = robustEllipse(points, Array.from({ length: points.length / 2 }, (_, i) => i))!;
  expect(still.rx).toBeLessThan(60);
  expect(robustEllipse([3, 4, 3, 4], [0, 1])).toMatchObject({ x: 3, y: 4, rx: 0, ry: 0 });
});

describe("names on the map", () => {
  it("never overlap, and the first in line keeps its place", () => {
    const wishes = Array.from({ length: 40 }, (_, i) => ({ x: 200 + 9 * Math.sin(i), y: 150 + 9 * Math.cos(i), w: 60 + i, h: 17 }));
    const places = placeLabels(wishes, { w: 400, h: 300 });
    expect(places[0]).toEqual([wishes[0].x, wishes[0].y]);
    const boxes = places.flatMap((place, i) => (place ? [{ x: place[0] - wishes[i].w / 2, y: place[1] - wishes[i].h / 2, w: wishes[i].w, h: wishes[i].h }] : []));
    expect(boxes.length).toBeGreaterThan(4);
    for (const a of boxes) for (const b of boxes) if (a !== b) expect(overlap(a, b)).toBe(false);
  });

  it("stay inside the frame, keep off what is taken, and go where their cluster goes: away", () => {
    const [edge, gone, nan] = placeLabels([{ x: 2, y: 2, w: 80, h: 17 }, { x: -50, y: 10, w: 80, h: 17 }, { x: NaN, y: 1, w: 9, h: 9 }], { w: 300, h: 200 });
    expect(edge![0]).toBeGreaterThanOrEqual(40);
    expect(edge![1]).toBeGreaterThanOrEqual(8.5);
    expect([gone, nan]).toEqual([null, null]);
    const [beside] = placeLabels([{ x: 100, y: 100, w: 40, h: 17, is_beside: true }], { w: 300, h: 200 });
    expect(beside).toEqual([100, 82]);
    const [moved] = placeLabels([{ x: 100, y: 100, w: 40, h: 17 }], { w: 300, h: 200 }, [{ x: 90, y: 95, w: 20, h: 10 }]);
    expect(moved).not.toBeNull();
    expect(moved).not.toEqual([100, 100]);
  });
});

describe("the camera", () => {
  const size = { w: 640, h: 400 };
  const camera = { x: 3, y: -2, scale: 17 };

  it("goes to the screen and back", () => {
    const [px, py] = toScreen(camera, size, 5, 1);
    expect(toLayout(camera, size, px, py)).toEqual([expect.closeTo(5, 9), expect.closeTo(1, 9)]);
    expect(py).toBeLessThan(size.h / 2); // y grows upwards
  });

  it("zooms about the pointer", () => {
    const under = toLayout(camera, size, 100, 50);
    const after = toLayout(zoomAt(camera, size, 100, 50, 2.5), size, 100, 50);
    expect(after).toEqual(under.map((v) => expect.closeTo(v, 9)));
  });

  it("fits all of the bounds, and one point too", () => {
    for (const bounds of [[-10, 10, -1, 1], [0, 1, -50, 50], [2, 2, 2, 2]]) {
      const fitted = fitBounds(bounds, size);
      for (const [x, y] of [[bounds[0], bounds[2]], [bounds[1], bounds[3]]]) {
        const [px, py] = toScreen(fitted, size, x, y);
        expect(px >= 0 && px <= size.w && py >= 0 && py <= size.h).toBe(true);
      }
    }
  });
});

describe("from point to point", () => {
  const n = 400;
  const points = Float32Array.from({ length: 2 * n }, (_, i) => Math.sin(i * 12.9898) * 3 + Math.cos(i * 0.37));
  const at = (i: number): [number, number] => [points[2 * i], points[2 * i + 1]];
  const all = Array.from({ length: n }, (_, i) => i);
  const among = Uint8Array.from(all, (i) => Number(i % 3 === 1));
  const first = (some: number[], x: number, y: number) => [...some].sort((a, b) => Math.hypot(at(a)[0] - x, at(a)[1] - y) - Math.hypot(at(b)[0] - x, at(b)[1] - y))[0] ?? -1;

  it("the nearest is the first of all by distance, of those meant, within reach", () => {
    for (const [x, y] of [[0, 0], [2.5, -1], [-9, 4]] as const) {
      expect(nearestPoint(points, [x, y])).toBe(first(all, x, y));
      expect(nearestPoint(points, [x, y], among)).toBe(first(all.filter((i) => among[i]), x, y));
    }
    expect(nearestPoint(points, [-90, 4], null, 3)).toBe(-1);
    expect(nearestPoint([], [0, 0])).toBe(-1);
  });

  it.each([[1, 0], [-1, 0], [0, 1], [0, -1]] as [number, number][])("the next towards (%i, %i) lies in that quarter, nearest to where one wants to go", (dx, dy) => {
    for (const far of [0, 1.5]) for (const from of [0, 7, 130, 399]) for (const some of [null, among]) {
      const [x, y] = at(from);
      // Within 45 degrees of the direction, by the angle itself.
      const ahead = all.filter((i) => i !== from && (!some || some[i]) && Math.abs(Math.atan2((at(i)[0] - x) * -dy + (at(i)[1] - y) * dx, (at(i)[0] - x) * dx + (at(i)[1] - y) * dy)) <= Math.PI / 4);
      expect(nextPoint(points, from, [dx, dy], far, some)).toBe(first(ahead, x + far * dx, y + far * dy));
    }
  });
});
