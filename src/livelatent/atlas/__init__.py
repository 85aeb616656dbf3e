"""The data on disk: ingest, open, read, whole-atlas passes, labels."""

from livelatent.atlas.append import append
from livelatent.atlas.atlas import Atlas, CsrArrays
from livelatent.atlas.entries import Entry
from livelatent.atlas.ingest import ingest
from livelatent.atlas.labels import LabelJournal

__all__ = ["Atlas", "CsrArrays", "Entry", "LabelJournal", "append", "ingest"]
