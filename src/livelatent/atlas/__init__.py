"""The data on disk: ingest, open, read, whole-atlas passes, labels."""

from livelatent.atlas.append import append
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.entries import Entry
from livelatent.atlas.ingest import ingest
from livelatent.atlas.labels import LabelJournal
from livelatent.atlas.stored_matrix import CsrArrays

__all__ = ["Atlas", "CsrArrays", "Entry", "LabelJournal", "append", "ingest"]
