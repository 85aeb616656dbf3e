"""Lines of a text file that a user named, told from whatever else may bear its name."""

from collections.abc import Iterator
from pathlib import Path

from livelatent.errors import SourceError

__all__ = ["text_lines"]

COMPRESSED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\xfd7zXZ": "xz", b"BZh": "bzip2"}


def text_lines(path: Path, *, kind: str, longest: int) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, without its end; nothing is held but one line.

    Parameters
    ----------
    kind
        What the file should be, in words: "a table of gene vectors".
    longest
        Bytes of the longest line that can be meant; one more and the file is refused, unread.

    Raises
    ------
    SourceError
        If the file can't be read, is compressed, a web page or no UTF-8 text, or has a longer line.
    """
    number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(longest + 1):
                if not number:
                    _refuse_other_kinds(line, path, kind)
                if len(line) > longest and not line.endswith(b"\n"):
                    raise SourceError(
                        f"{path}, line {number + 1} is longer than {longest:,} bytes: this is not {kind}."
                    )
                # A lone carriage return ends a line too: old spreadsheets write no other end.
                for part in line.removesuffix(b"\n").removesuffix(b"\r").split(b"\r"):
                    number += 1
                    yield number, _decoded(part, path, number, kind)
    except OSError as error:
        raise SourceError(f"{path} can't be read: {error.strerror or error}. It should be {kind}.") from error


def _refuse_other_kinds(line: bytes, path: Path, kind: str) -> None:
    packed = next((name for start, name in COMPRESSED.items() if line.startswith(start)), None)
    if packed is not None:
        raise SourceError(f"{path} is compressed ({packed}); {kind} was wanted. Unpack it first.")
    if line.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html")):
        raise SourceError(f"{path} is a web page; {kind} was wanted. Download the raw file.")


def _decoded(line: bytes, path: Path, number: int, kind: str) -> str:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}, line {number}: this is no UTF-8 text ({error.reason}), so it is not {kind}. Save it as UTF-8."
        ) from error
    if "\0" in text:
        raise SourceError(
            f"{path}, line {number}: there are zero bytes between the letters, so it is not {kind}, or one in UTF-16. "
            "Save it as UTF-8."
        )
    return text
