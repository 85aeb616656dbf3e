"""What to say where an optional library is missing: how its extra is installed from where livelatent came from."""

from pathlib import Path

__all__ = ["how_to_install"]


def how_to_install(extra: str) -> str:
    """The command that adds an extra; livelatent is on no index, so pip is given the folder that it was cloned to."""
    folder = Path(__file__).parents[2]
    if (folder / "pyproject.toml").is_file():
        return f'pip install "{folder}[{extra}]"'
    # Installed as a copy: pip does not tell us from where.
    return f'pip install ".[{extra}]" in the folder that livelatent was installed from'
