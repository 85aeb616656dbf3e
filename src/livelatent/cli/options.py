"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[Path, typer.Argument(help="A model's folder made by `livelatent train`.", metavar="MODEL")]
Epochs = Annotated[int, typer.Option(min=1, help="Most epochs of each stage: the representation, then the classifier.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]
CellCycle = Annotated[
    Path | None,
    typer.Option(help="A GMT file with gene sets S and G2M: flags then say how many of their cells divide."),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
