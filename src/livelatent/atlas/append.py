"""More cells for a store that stands: they are shuffled and split among themselves, and no earlier row changes."""

import dataclasses
import json
import os

from livelatent.atlas.atlas import Atlas
from livelatent.atlas.building.build import Base, Recipe, build, folder_bytes, scratch_bytes, sources_json
from livelatent.atlas.building.joined_obs import check_identity, joined_obs
from livelatent.atlas.building.memory import divided
from livelatent.atlas.building.target import remove_leftovers
from livelatent.atlas.building.work import Work
from livelatent.atlas.elements import sha256
from livelatent.atlas.genes import Duplicates, Join, joined_genes
from livelatent.atlas.ingest import (
    GeneNames,
    Paths,
    carried_layers,
    check_unchanged,
    kept_if_interrupted,
    opened_sources,
    report_of,
)
from livelatent.atlas.layout import Layout
from livelatent.atlas.sources import Source, open_sources
from livelatent.atomic import need_space, only_writer, refusals_named
from livelatent.errors import SourceError, StoreBusyError, StoreError
from livelatent.paths import store_path
from livelatent.progress import CellProgress, shown


def append(
    store: Atlas | str | os.PathLike[str],
    sources: Paths,
    *,
    counts: str = "X",
    join: Join = "inner",
    gene_names: GeneNames = None,
    duplicates: Duplicates = "refuse",
    memory: str | int = "4GB",
    seed: int = 0,
    progress: CellProgress | bool | None = None,
) -> Atlas:
    """Add the cells of more sources to a store.

    The store's genes, label and batch columns stay what they are; a source without one of these columns has it
    missing. Labels given by hand, runs and models that know the store stay valid: its earlier rows keep their places.

    Parameters
    ----------
    join
        `"inner"` refuses a source that lacks genes of the store, `"outer"` stores up to half of them as zeros.

    Returns
    -------
    The store, opened again (an Atlas opened before goes on showing the earlier rows).

    Raises
    ------
    SourceError, CountsError, GeneMismatchError
        If a source can't be read, is in the store already, lacks one of its layers, or does not have its genes.
    MemoryLimitError, DiskSpaceError, StoreBusyError
        If there is too little memory or disk, or somebody else is writing there.

    Notes
    -----
    The grown store is made beside the old one, with which it shares all finished shards, and takes its place in one
    step; a killed call goes on where it stood. The mean total (L) of the store is taken anew over all cells, models
    keep their own. Arrays in `obsm` that a source lacks are NaN for its cells. What `qc` decided holds for the
    earlier cells; run it again for the new ones, which are kept until then.
    """
    target = store.path if isinstance(store, Atlas) else store_path(store, StoreError)
    if not isinstance(target, os.PathLike):
        raise StoreError(f"{target} is remote; append to the store where it lies as a folder, and copy that again.")
    as_it_was = sha256(target / "zarr.json") if (target / "zarr.json").is_file() else ""
    before = Atlas.open(target)
    facts = before.facts
    known = json.loads(str(facts["sources"]))
    taken = [str(name) for name in before.obs["source"].astype(str).unique()]
    opened = opened_sources(sources, counts=counts, gene_names=gene_names, taken=taken)
    asked = {
        # Without their names, which are others once the store has grown by them.
        "sources": [[str(s.path), s.counts.where, dataclasses.asdict(s.fingerprint)] for s in opened],
        "names": [join, gene_names if gene_names is None or isinstance(gene_names, str) else list(gene_names)],
        "duplicates": duplicates,
        "memory": str(memory),
        "seed": seed,
        "grows": [before.uuid, as_it_was],
    }
    lock, what = target.with_name(f".{target.name}.lock"), f"the store {target}"
    finished = Work.placed(target, asked, but="grows")
    if finished is not None:
        with only_writer(lock, what):
            finished.settle()
        return Atlas.open(target)
    for source in opened:
        for entry in known:
            if entry["sha256"] == source.fingerprint.sha256 and entry["n_cells"] == source.n_cells:
                raise SourceError(f"{source.path} is in {target} already (as {entry['name']}).")
    genes = joined_genes(opened, join, [str(gene) for gene in before.genes], duplicates)
    base = open_sources(target)[0]
    layers = tuple(base.layers)
    check_layers(opened, layers, target)
    obs = joined_obs([base, *opened])
    check_identity(obs)
    recipe = Recipe(
        sources=opened,
        genes=genes,
        layers=carried_layers(opened, layers),
        obs=obs,
        facts={
            "label": before.label_column,
            "batch": before.batch_column,
            "unlabelled": facts["unlabelled"],
            "sources": json.dumps([*known, *json.loads(sources_json(opened))]),
            "report": json.dumps([*json.loads(str(facts.get("report", "[]"))), *report_of(opened, genes, layers)]),
        },
        budget=divided(
            memory,
            n_cells=obs.n_cells,
            n_genes=max(len(genes), max(len(source.genes) for source in opened)),
            n_elements=sum(source.counts.n_elements for source in opened),
        ),
        layout=Layout(),
        compression="local",  # as the store was compressed, in fact
        seed=seed,
        base=Base(target, base),
    )
    with refusals_named(target), only_writer(lock, what):
        if sha256(target / "zarr.json") != as_it_was:
            raise StoreBusyError(
                f"{target} was written to by somebody else while its cells were looked at; append again."
            )
        remove_leftovers(target)
        work = Work.begun(target, asked, before.uuid)
        with kept_if_interrupted(work):
            needed = scratch_bytes(opened, layers) + 500 * before.n_cells - folder_bytes(work.scratch)
            need_space(target, max(0, needed), f"Appending to {target}")
            with shown(progress) as report:
                build(work, recipe, report)
            check_unchanged(opened)
            work.finish()
    return Atlas.open(target)


def check_layers(sources: tuple[Source, ...], layers: tuple[str, ...], store: os.PathLike[str]) -> None:
    """Raise where a source lacks a layer of the store: zeros in its place would be wrong numbers."""
    for source in sources:
        for name in layers:
            if name not in source.layers:
                raise SourceError(
                    f'{source.path} lacks the layer "{name}" that {store} has. Add it to the file, or ingest the '
                    "sources anew with `layers=()`."
                )
