"""Sources: files of any format, read chunk by chunk; nothing in them is trusted before it was checked."""

from livelatent.atlas.sources.fingerprints import fingerprint_of as fingerprint_of
from livelatent.atlas.sources.old_h5ad import (
    Fingerprint as Fingerprint,
)
from livelatent.atlas.sources.old_h5ad import (
    Source as Source,
)
from livelatent.atlas.sources.old_h5ad import (
    fingerprint as fingerprint,
)
from livelatent.atlas.sources.old_h5ad import (
    open_source as open_source,
)
from livelatent.atlas.sources.old_h5ad import (
    read_chunks as read_chunks,
)
from livelatent.atlas.sources.opening import open_sources as open_sources
