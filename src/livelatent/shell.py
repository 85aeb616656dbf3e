"""What every command shares: its streams, its options, its one message when it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from typer.core import TyperGroup

from livelatent.errors import LivelatentError
from livelatent.paths import is_address

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else there.")]


def place(text: str) -> Any:
    """Where a store lies: a path, or an address, whose text is then without its credentials."""
    if not is_address(text):
        return Path(text)
    from livelatent.atlas.remote import Address

    return Address(text)


Store = Annotated[
    Any, typer.Argument(parser=place, help="A store made by `livelatent ingest`, or its address.", metavar="STORE")
]

stdout = Console()
stderr = Console(stderr=True)


class OneMessage(TyperGroup):
    """Ends every refusal of ours in one message on stderr and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (LivelatentError, OSError) as error:
            stderr.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt as stop:
            stderr.print(escape(" ".join(["stopped.", *getattr(stop, "__notes__", [])])), soft_wrap=True)
            raise typer.Exit(130) from None


def say(value: dict[str, Any], as_json: bool, table: Callable[[], None]) -> None:
    """Print one JSON object, or a table for people."""
    if as_json:
        sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    else:
        table()


def print_rows(rows: list[tuple[str, object]]) -> None:
    """Print names and values in two columns; names and values are text, never markup."""
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(f"[dim]{escape(name)}[/]", escape(str(value)))
    stdout.print(grid, soft_wrap=True)


@contextmanager
def bar() -> Iterator[Callable[[str, float], None]]:
    """Show a progress bar on stderr for what is being done now."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task("starting", total=1.0)
        phase = ""

        def show(what: str, share: float) -> None:
            nonlocal phase
            # Off a terminal the bar is not drawn: say each new phase once instead.
            if what.split(":")[0] != phase:
                phase = what.split(":")[0]
                if not stderr.is_terminal:
                    stderr.print(escape(phase), highlight=False)
            progress.update(task, description=escape(what), completed=share)

        yield show
