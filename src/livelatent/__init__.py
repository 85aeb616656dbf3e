"""Learn cell representations from an atlas that does not fit in memory, and name what is new.

Names load on first use, so that `import livelatent` stays light: none of scanpy, umap, numba,
scikit-learn or IPython is imported until something needs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "write_example": "livelatent.example",
    "Atlas": "livelatent.atlas.atlas",
    "Balance": "livelatent.stream.balance",
    "ingest": "livelatent.atlas.ingest",
    "append": "livelatent.atlas.append",
    "open_foreign": "livelatent.atlas.foreign",
    "simulate": "livelatent.simulated.simulate",
    "Stream": "livelatent.stream.stream",
    "StreamConfig": "livelatent.stream.plan",
    # Not in __all__: a star import must not need Lightning.
    "StreamDataModule": "livelatent.stream.lightning_data",
    "LightningWatch": "livelatent.train.lightning_watch",
    "BetaVAE": "livelatent.models.beta_vae",
    "Cellular": "livelatent.models.cellular",
    "load_model": "livelatent.models.weights",
    "Run": "livelatent.train.run",
    "embed": "livelatent.train.embed",
    "qc": "livelatent.atlas.qc",
    "highly_variable_genes": "livelatent.atlas.hvg",
    "centroid_distances": "livelatent.atlas.centroids",
    "rank_genes": "livelatent.judge.rank_genes",
    "embed_into": "livelatent.train.embed",
    "annotate": "livelatent.judge.classifier",
    "attention_by_type": "livelatent.judge.attention",
    "attention_stability": "livelatent.judge.attention_stability",
    "fit_annotator": "livelatent.judge.annotator",
    "LabelTree": "livelatent.judge.label_tree",
    "compare": "livelatent.judge.comparison.compare",
    "find_novel": "livelatent.judge.flags",
    "threshold_curve": "livelatent.judge.novelty.thesis",
    "fit_reference": "livelatent.judge.reference",
    "fit_prototypes": "livelatent.judge.prototypes",
    "compare_latents": "livelatent.judge.metrics.compare",
    "score_latent": "livelatent.judge.metrics.integration",
    "LiveView": "livelatent.widget.view",
}

__all__ = [
    "Atlas",
    "Balance",
    "BetaVAE",
    "Cellular",
    "LabelTree",
    "LiveView",
    "Run",
    "Stream",
    "StreamConfig",
    "__version__",
    "annotate",
    "append",
    "attention_by_type",
    "attention_stability",
    "centroid_distances",
    "compare",
    "compare_latents",
    "embed",
    "embed_into",
    "find_novel",
    "fit_annotator",
    "fit_prototypes",
    "fit_reference",
    "highly_variable_genes",
    "ingest",
    "load_model",
    "open_foreign",
    "qc",
    "rank_genes",
    "score_latent",
    "simulate",
    "threshold_curve",
    "write_example",
]

if TYPE_CHECKING:
    from livelatent.atlas.append import append
    from livelatent.atlas.atlas import Atlas
    from livelatent.atlas.centroids import centroid_distances
    from livelatent.atlas.foreign import open_foreign
    from livelatent.atlas.hvg import highly_variable_genes
    from livelatent.atlas.ingest import ingest
    from livelatent.atlas.qc import qc
    from livelatent.example import write_example
    from livelatent.judge.annotator import fit_annotator
    from livelatent.judge.attention import attention_by_type
    from livelatent.judge.attention_stability import attention_stability
    from livelatent.judge.classifier import annotate
    from livelatent.judge.comparison.compare import compare
    from livelatent.judge.flags import find_novel
    from livelatent.judge.label_tree import LabelTree
    from livelatent.judge.metrics.compare import compare_latents
    from livelatent.judge.metrics.integration import score_latent
    from livelatent.judge.novelty.thesis import threshold_curve
    from livelatent.judge.prototypes import fit_prototypes
    from livelatent.judge.rank_genes import rank_genes
    from livelatent.judge.reference import fit_reference
    from livelatent.models.beta_vae import BetaVAE
    from livelatent.models.cellular import Cellular
    from livelatent.models.weights import load_model
    from livelatent.simulated.simulate import simulate
    from livelatent.stream.balance import Balance
    from livelatent.stream.lightning_data import StreamDataModule as StreamDataModule
    from livelatent.stream.plan import StreamConfig
    from livelatent.stream.stream import Stream
    from livelatent.train.embed import embed, embed_into
    from livelatent.train.lightning_watch import LightningWatch as LightningWatch
    from livelatent.train.run import Run
    from livelatent.widget.view import LiveView


def __getattr__(name: str) -> Any:
    """Import the room that a public name lives in, once."""
    if name not in _HOME:
        raise AttributeError(f"module 'livelatent' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *_HOME})
