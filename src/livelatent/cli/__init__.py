"""The shell's face: every command parses, calls and prints."""

from livelatent.cli.app import app

__all__ = ["app"]
