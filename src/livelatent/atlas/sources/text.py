"""Text files, plain or gzip, read line by line or in blocks of whole lines; no line may be endless."""

import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from livelatent.atlas.sources.faults import faults_named
from livelatent.errors import SourceError

BLOCK = 2**23
"""Bytes of text parsed at once."""
LONGEST_LINE = 2**20


def text_lines(path: Path, *, keep_empty: bool = False) -> Iterator[str]:
    """The lines of a text file, plain or gzip, without their ends."""
    with opened_text(path) as file:
        while True:
            line = file.readline(LONGEST_LINE + 1)
            if not line:
                return
            if len(line) > LONGEST_LINE:
                raise SourceError(f"{path} has a line of more than {LONGEST_LINE} bytes, which is none of 10x's.")
            text = line.rstrip(b"\r\n")
            if text or keep_empty:
                yield decoded(path, text)


def decoded(path: Path, line: bytes) -> str:
    """A line as text."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is no UTF-8 text ({error}). Get the file again.") from error


def line_blocks(path: Path, n_skipped: int) -> Iterator[bytes]:
    """The file's lines after the first few, some MB of whole lines at a time."""
    with opened_text(path) as file:
        for _ in range(n_skipped):
            file.readline(LONGEST_LINE)
        rest = b""
        while block := file.read(BLOCK):
            end = block.rfind(b"\n") + 1
            if not end and len(rest) + len(block) > LONGEST_LINE:
                raise SourceError(f"{path} has a line of more than {LONGEST_LINE} bytes, which is none of 10x's.")
            if end:
                yield rest + block[:end]
                rest = block[end:]
            else:
                rest += block
        if rest:
            yield rest + b"\n"


@contextlib.contextmanager
def opened_text(path: Path) -> Iterator[BinaryIO]:
    """A plain or gzip file to read; whatever breaks inside the block names it."""
    with faults_named(path):
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        if packed:
            with gzip.open(path, "rb") as unpacked:
                yield cast(BinaryIO, unpacked)
        else:
            with open(path, "rb") as plain:
                yield plain
