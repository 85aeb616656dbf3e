"""Which cells a model learns from, and which it is then asked about."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MIN_CELLS = 20
QUERY_SHARE = 0.2
REPORT = ("kang_pbmc_ctrl", "pbmc_multistudy", "sc_mixology_5protocol_hvg")
TUNING = ("pbmc3k_seurat", "paul15_myeloid", "worm_l2_monocle3")
UNLABELLED = ("Unclassified neurons",)
# A type is a subtype where another type of its lineage stays in the reference; other types are lineages themselves.
T_AND_NK = ("CD4 T", "CD4 T cells", "CD8 T", "CD8 T cells", "NK", "NK cells", "Naive CD4 T", "Memory CD4 T")
MONOCYTES = ("CD14 Mono", "CD14+ Mono", "CD14+ Monocytes", "FCGR3A Mono", "FCGR3A+ Mono", "FCGR3A+ Monocytes")
LINEAGES = (
    T_AND_NK,
    (*MONOCYTES, "DC", "Dendritic cells"),
    ("1Ery", "2Ery", "3Ery", "4Ery", "5Ery", "6Ery", "7MEP", "8Mk"),
    ("9GMP", "10GMP", "14Mo", "15Mo", "16Neu", "17Neu", "11DC", "12Baso", "13Baso", "18Eos"),
    ("Other interneurons", "flp-1(+) interneurons"),
)
NEW_DONORS = (("donor_1488", "donor_101"), ("donor_1244", "donor_107"))
STUDIES = {"pbmc3k": "10x PBMC3k", "zheng": "Zheng 2017", "kang": "Kang 2018"}


@dataclass(frozen=True)
class Task:
    """One model: cells of `hidden` and, drawn at random within batches or as whole batches, a query of known ones."""

    data: str
    hidden: str | None = None
    held_out: tuple[str, ...] = ()
    what: str = "random"
    """"random", "new donors" or "new study"."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return re.sub(r"\W+", "_", "-".join([self.data, self.what, self.hidden or "+".join(self.held_out)[:40]]))

    @property
    def is_subtype(self) -> bool:
        """Whether the hidden type's lineage is known."""
        return any(self.hidden in lineage for lineage in LINEAGES)


def tasks_of(folder: Path, data: str) -> list[Task]:
    """Every type of 20 cells or more left out once; then new donors, or new studies."""
    adata = read(folder, data)
    count = adata.obs["cell_type"].value_counts()
    tasks = [Task(data, hidden=str(name)) for name, n in count.items() if n >= MIN_CELLS and name not in UNLABELLED]
    batches = [str(name) for name in adata.obs["batch"].unique()]
    if data == "kang_pbmc_ctrl":
        tasks += [Task(data, held_out=donors, what="new donors") for donors in NEW_DONORS]
    if data == "pbmc_multistudy":
        for study in STUDIES:
            own = tuple(name for name in batches if name.startswith(study))
            tasks.append(Task(data, held_out=own, what="new study"))
    return tasks


def read(folder: Path, data: str) -> Any:
    """The cells with a label."""
    import anndata

    adata = anndata.read_h5ad(folder / f"{data}.h5ad")
    adata.obs = adata.obs[["cell_type", "batch"]].astype(str)
    return adata[~adata.obs["cell_type"].isin(UNLABELLED)].copy()


def divided(adata: Any, task: Task, seed: int) -> tuple[Any, Any]:
    """Reference and query; no cell is in both, and the query's known types are the reference's."""
    kind, batch = adata.obs["cell_type"].to_numpy(str), adata.obs["batch"].to_numpy(str)
    hidden = kind == task.hidden
    if task.held_out:
        asked = np.isin(batch, task.held_out)
    else:
        rng, asked = np.random.default_rng(seed), np.zeros(len(kind), bool)
        for name in np.unique(batch):
            own = np.flatnonzero((batch == name) & ~hidden)
            asked[rng.choice(own, round(QUERY_SHARE * len(own)), replace=False)] = True
    reference = ~asked & ~hidden
    query = hidden | (asked & np.isin(kind, kind[reference]))
    return adata[reference].copy(), adata[query].copy()
