// The colours of the last frame, kept while nothing that they come from has changed: a new layout moves cells and no more.
import { colourCells, type Coloured, type Emphasis, type Inks, type Mode } from "./colour";
import type { FlagsFrame, MapFrame, ValuesFrame } from "./frames";

export class Colouring {
  private seen: readonly unknown[] = [];
  private held: Coloured | null = null;

  /** As `colourCells`; the very same object where columns, names, flags, emphasis and theme are as they were. */
  of(frame: MapFrame, mode: Mode, flags: FlagsFrame | null, emphasis: Emphasis, inks: Inks, values: ValuesFrame | null): Coloured {
    const names = [frame.label_names, frame.predicted_names, frame.batch_names, frame.given_names, frame.label_colours, frame.batch_colours];
    const seen = [
      frame.label, frame.predicted, frame.batch, frame.given, frame.p_value, frame.flag, frame.is_query, JSON.stringify(names),
      mode, flags, emphasis.focus, emphasis.selected, JSON.stringify(inks), values,
    ];
    if (this.held === null || seen.some((one, i) => one !== this.seen[i])) {
      this.held = colourCells(frame, mode, flags, emphasis, inks, values);
      this.seen = seen;
    }
    return this.held;
  }
}
