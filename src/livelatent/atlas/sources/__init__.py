"""Sources: files of any format, read chunk by chunk; nothing in them is trusted before it was checked."""

from livelatent.atlas.sources.fingerprints import fingerprint_of
from livelatent.atlas.sources.opening import open_sources
from livelatent.atlas.sources.source import Source

__all__ = ["Source", "fingerprint_of", "open_sources"]
