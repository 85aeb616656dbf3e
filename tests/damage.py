"""Damage to files, as disks and copies do it."""

from pathlib import Path


def flip(path: Path, position: int, bit: int) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)
