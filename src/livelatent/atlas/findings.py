"""What a doctor finds: what is wrong, where, and what helps."""

from dataclasses import dataclass
from typing import Literal

Cure = Literal["", "leftovers", "metadata", "manifest", "journal"]
COPY = "Copy the store again, or ingest its sources again."


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    what: str
    where: str
    """A file or an element of the store, or a path beside it."""
    is_damage: bool
    """Whether data are lost, or read wrongly; else it is untidy only."""
    remedy: str
    """What helps, in a sentence."""
    cure: Cure = ""
    """Which step of `mend` does it; empty where only a person can."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.remedy}"


def damage(where: str, what: str, remedy: str = COPY, cure: Cure = "") -> Finding:
    """Data are lost or wrong."""
    return Finding(what, where, True, remedy, cure)


def untidy(where: str, what: str, remedy: str, cure: Cure = "") -> Finding:
    """No data are lost."""
    return Finding(what, where, False, remedy, cure)


def at_most(findings: list[Finding], n_most: int = 20) -> list[Finding]:
    """The first of many of one kind, and how many more there are."""
    if len(findings) <= n_most:
        return findings
    rest = len(findings) - n_most
    last = findings[-1]
    return [*findings[:n_most], Finding(f"{rest} more like the ones before.", last.where, last.is_damage, last.remedy)]
