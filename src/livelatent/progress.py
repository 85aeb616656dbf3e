"""How far a pass over cells is: a bar with cells per second and time left, in a terminal or a notebook."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

CellProgress = Callable[[int, int, str], None]
"""Called often with cells done, cells in all, and what is being done."""


class Speed(ProgressColumn):
    """Cells per second, of the phase under way."""

    def render(self, task: Task) -> Text:
        """Draw it."""
        return Text("" if not task.speed else f"{task.speed:,.0f} cells/s")


@contextmanager
def cells_bar(console: Console | None = None) -> Iterator[CellProgress]:
    """Show a bar on stderr, one phase after another; where no bar can be drawn each phase is said once."""
    console = console or Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        Speed(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console, transient=True) as progress:
        task, phase = progress.add_task("starting", total=1), ""

        def show(done: int, total: int, what: str) -> None:
            nonlocal phase
            if what != phase:
                phase = what
                # A new phase has a speed of its own.
                progress.reset(task, total=total, completed=done, description=escape(what))
                if not (console.is_terminal or console.is_jupyter):
                    console.print(escape(what), highlight=False)
            progress.update(task, completed=done)

        yield show


@contextmanager
def shown(progress: CellProgress | bool | None) -> Iterator[CellProgress]:
    """What a caller wants to see: its own function, a bar (True; None in a terminal or notebook), or nothing."""
    if progress is None:
        progress = "ipykernel" in sys.modules or sys.stderr.isatty()
    if progress is True:
        with cells_bar() as bar:
            yield bar
    elif progress is False:
        yield lambda done, total, what: None
    else:
        yield progress
