// Where cells and camera are between two layouts: both move for a moment, and a hand may stop either.
import { fitBounds, mixCameras, type Camera, type Size } from "./camera";
import { wantsStill } from "./theme";

const MOVE_MS = 800;
const FLY_MS = 420;

interface Move { begin: number; length: number; cameraFrom: Camera | null; cameraTo: Camera | null; points: boolean }

export class Motion {
  from: Float32Array = new Float32Array();
  to: Float32Array = new Float32Array();
  /** How far the cells have come from `from` to `to`. */
  mix = 1;
  camera: Camera = { x: 0, y: 0, scale: 1 };
  size: Size = { w: 0, h: 0 };
  private move: Move | null = null;
  private is_fitted = true; // the camera follows each new layout until a person moves it
  private bounds: readonly number[] | null = null;

  constructor(private readonly request: () => void) {}

  get is_moving(): boolean {
    return this.move !== null;
  }

  /** No cells any more. */
  empty(): void {
    this.from = this.to = new Float32Array();
    this.bounds = this.move = null;
  }

  /** The cells have other places; `moved` says whether they are the same cells, which then go there by and by. */
  go(places: Float32Array, bounds: readonly number[], moved: boolean): void {
    const still = !moved || wantsStill() || document.hidden;
    this.from = still ? places : this.mix < 1 ? this.now() : this.to;
    this.to = places;
    this.bounds = bounds;
    const goal = this.is_fitted && this.size.w > 0 ? fitBounds(bounds, this.size) : null;
    this.mix = still ? 1 : 0;
    this.move = still ? null : { begin: performance.now(), length: MOVE_MS, cameraFrom: { ...this.camera }, cameraTo: goal, points: true };
    if (still && goal) this.camera = goal;
  }

  /** As far as this moment has it; asks for another paint while something moves. */
  step(): void {
    const { move } = this;
    if (!move) return;
    const share = Math.min(1, (performance.now() - move.begin) / move.length);
    const eased = share < 0.5 ? 2 * share * share : 1 - 2 * (1 - share) * (1 - share);
    if (move.points) this.mix = eased;
    if (move.cameraFrom && move.cameraTo) this.camera = mixCameras(move.cameraFrom, move.cameraTo, eased);
    if (share < 1) return this.request();
    if (move.points) this.land();
    this.move = null;
  }

  /** The cells are where they were going. */
  halt(): void {
    if (!this.move?.points) return;
    this.land();
    this.move = null;
    this.request();
  }

  /** A hand has the camera from now on. */
  hold(camera: Camera): void {
    if (this.move) this.move.cameraTo = null;
    this.is_fitted = false;
    this.camera = camera;
    this.request();
  }

  /** The camera goes there by and by, and is left alone afterwards. */
  flyTo(goal: Camera): void {
    this.is_fitted = false;
    this.fly(goal);
  }

  /** Shows the whole map, and follows each new layout again. */
  fit(): void {
    this.is_fitted = true;
    if (this.bounds) this.fly(fitBounds(this.bounds, this.size));
  }

  resize(size: Size): void {
    this.size = size;
    if (this.bounds && this.is_fitted && size.w > 0) {
      const goal = fitBounds(this.bounds, size);
      if (this.move) this.move.cameraTo = goal;
      else this.camera = goal;
    }
    this.request();
  }

  /** How much nearer than the whole map. */
  get zoom(): number {
    return this.bounds ? this.camera.scale / fitBounds(this.bounds, this.size).scale : 1;
  }

  private fly(goal: Camera): void {
    if (wantsStill() || document.hidden) {
      this.camera = goal;
      if (this.move) this.move.cameraTo = null;
    } else if (this.move?.points) {
      this.move.cameraFrom = { ...this.camera };
      this.move.cameraTo = goal;
    } else this.move = { begin: performance.now(), length: FLY_MS, cameraFrom: { ...this.camera }, cameraTo: goal, points: false };
    this.request();
  }

  private land(): void {
    this.mix = 1;
    this.from = this.to;
  }

  private now(): Float32Array {
    const { from, to, mix } = this;
    const places = new Float32Array(to.length);
    for (let i = 0; i < places.length; i++) places[i] = from[i] + (to[i] - from[i]) * mix; // `map` takes ten times as long
    return places;
  }
}
