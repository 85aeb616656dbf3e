import { describe, expect, it } from "vitest";
import { Painter, Scope } from "../src/dom";

const frame = () => new Promise((done) => requestAnimationFrame(done));

describe("the painter", () => {
  it("does in one frame what one job asks another for, and what asks for itself in the next", async () => {
    const painter = new Painter(new Scope());
    const done: string[] = [];
    const move = () => { done.push("move"); if (done.length < 6) painter.request(move); };
    const paint = () => { done.push("paint"); };
    painter.request(move);
    painter.request(() => { done.push("take"); painter.request(paint); painter.request(paint); });
    await frame();
    expect(done).toEqual(["move", "take", "paint"]);
    await frame();
    expect(done).toEqual(["move", "take", "paint", "move"]);
  });

  it("does nothing once its view is closed", async () => {
    const scope = new Scope();
    const painter = new Painter(scope);
    let n = 0;
    painter.request(() => { n++; });
    scope.close();
    await frame();
    expect(n).toBe(0);
  });
});
