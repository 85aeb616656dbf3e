"""Sources to one shuffled, sharded store: bounded memory, whole or absent, gone on with after a kill."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from livelatent.atlas.atlas import Atlas
from livelatent.atlas.building.build import Recipe, build, folder_bytes, scratch_bytes, sources_json
from livelatent.atlas.building.joined_obs import check_identity, joined_obs, resolved_column
from livelatent.atlas.building.memory import divided
from livelatent.atlas.building.tables import shared_obsm
from livelatent.atlas.building.target import refuse_existing, remove_leftovers
from livelatent.atlas.building.work import Work
from livelatent.atlas.genes import Duplicates, Join, gene_report, joined_genes
from livelatent.atlas.layout import Compression, Layout
from livelatent.atlas.sources import Source, fingerprint_of, open_sources
from livelatent.atlas.sources.memory import name_of
from livelatent.atomic import need_space, only_writer, refusals_named
from livelatent.errors import SourceError, StoreError, StoreExistsError
from livelatent.paths import local_path, store_path
from livelatent.progress import CellProgress, shown

if TYPE_CHECKING:
    from anndata import AnnData

Given = Union[str, os.PathLike[str], "AnnData"]
Paths = Given | Sequence[Given]
GeneNames = str | None | Sequence[str | None]


def ingest(
    sources: Paths,
    target: str | os.PathLike[str],
    *,
    label: str | None = None,
    batch: str | None = None,
    unlabelled: Sequence[str] = (),
    counts: str = "X",
    layers: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
    join: Join = "inner",
    gene_names: GeneNames = None,
    duplicates: Duplicates = "refuse",
    memory: str | int = "4GB",
    compression: Compression = "local",
    seed: int = 0,
    overwrite: bool = False,
    progress: CellProgress | bool | None = None,
    layout: Layout | None = None,
) -> Atlas:
    """Turn files of any size into one store that streams.

    Parameters
    ----------
    sources
        One or several: `.h5ad`, AnnData Zarr, 10x `.h5`, Matrix Market folders, annbatch collections, an AnnData in
        memory. Their cells are joined and shuffled.
    target
        The store to write, `NAME.zarr`.
    label, batch
        Obs columns with cell types and with the technical batch (`"source"` is the file's name).
    unlabelled
        Names in the label column that mean "no label".
    counts
        Where the counts are: `"X"`, `"raw"`, or a layer's name.
    layers
        Layers to carry along; all that every source has by default, `()` for none.
    genes
        Genes to keep, in this order; all by default.
    join
        Keep the genes that every source has (`"inner"`), or all, zero where not measured (`"outer"`).
    gene_names
        The var column that names the genes, such as `"gene_ids"`, or one for each source; the index by default.
    duplicates
        What to do with several genes of one name: `"refuse"`, or `"sum"` their counts.
    memory
        Limit for what is held at once. The interpreter and its libraries (about 0.3 GB) come on top.
    compression
        `"local"` reads fastest from a disk, `"cloud"` is a quarter smaller.
    progress
        Called often with cells done, cells in all, and what is being done; by default a bar in a terminal or notebook.
    layout
        How the store is cut up; tests make small shards with it.

    Returns
    -------
    The store, opened; `.report` says which genes of which source were kept, and what else was left behind.

    Raises
    ------
    SourceError, CountsError, GeneMismatchError, ColumnError
        If a source can't be read, holds no counts, shares no genes, or lacks a column.
    StoreExistsError
        If something stands at `target`, and `overwrite` is not given or its labels would be lost.
    MemoryLimitError, DiskSpaceError, StoreBusyError
        If there is too little memory or disk, or somebody else is writing there.

    Notes
    -----
    Whatever ends it (an error, Ctrl-C, a crash), what stood at `target` stays as it was. After Ctrl-C or a crash the
    same call goes on where it stood, if the sources are still the same; any other call on that target begins anew.
    """
    target = store_path(target, StoreError)
    if not target.name:
        raise StoreExistsError(f"{target} is no place for a store. Name one in it, such as {target}blood.zarr.")
    if join not in ("inner", "outer"):
        raise ValueError(f'join must be "inner" or "outer"; got {join!r}.')
    if duplicates not in ("refuse", "sum"):
        raise ValueError(f'duplicates must be "refuse" or "sum"; got {duplicates!r}.')
    if compression not in ("local", "cloud"):
        raise ValueError(f'compression must be "local" or "cloud"; got {compression!r}.')
    # All that can be refused is refused before the first byte is written.
    opened = opened_sources(sources, counts=counts, gene_names=gene_names)
    asked = {
        "sources": [[str(s.path), s.name, s.counts.where, dataclasses.asdict(s.fingerprint)] for s in opened],
        "label": label,
        "batch": batch,
        "unlabelled": [str(name) for name in unlabelled],
        "layers": None if layers is None else list(layers),
        "genes": None if genes is None else list(genes),
        "names": [join, gene_names if gene_names is None or isinstance(gene_names, str) else list(gene_names)],
        "duplicates": duplicates,
        "memory": str(memory),
        "compression": compression,
        "seed": seed,
        "layout": None if layout is None else dataclasses.asdict(layout),
    }
    for source in opened:
        if source.kind != "memory" and source.path.resolve().is_relative_to(target):
            raise StoreExistsError(
                f"{source.path} is among the sources, and would be gone with {target} once that is replaced. Name "
                "another target."
            )
    lock, what = target.with_name(f".{target.name}.lock"), f"the store {target}"
    finished = Work.placed(target, asked)
    if finished is not None:
        with only_writer(lock, what):
            finished.settle()
        return Atlas.open(target)
    refuse_existing(target, overwrite=overwrite)
    recipe = recipe_of(
        opened,
        label=label,
        batch=batch,
        unlabelled=unlabelled,
        layers=layers,
        chosen=joined_genes(opened, join, genes, duplicates),
        memory=memory,
        compression=compression,
        seed=seed,
        layout=layout or Layout(),
    )
    with refusals_named(target), only_writer(lock, what):
        remove_leftovers(target)
        refuse_existing(target, overwrite=overwrite)
        work = Work.begun(target, asked)
        with kept_if_interrupted(work):
            needed = scratch_bytes(recipe.sources, recipe.layers) - folder_bytes(work.folder)
            need_space(target, max(0, needed), f"Ingesting into {target}")
            with shown(progress) as report:
                build(work, recipe, report)
            check_unchanged(recipe.sources)
            work.finish()
    return Atlas.open(target)


def opened_sources(
    sources: Paths, *, counts: str, gene_names: GeneNames, taken: Sequence[str] = ()
) -> tuple[Source, ...]:
    """Every source, described, under a name of its own that is none of those taken."""
    named = [sources] if isinstance(sources, str | os.PathLike) or hasattr(sources, "obs_names") else list(sources)
    # An AnnData in memory lies nowhere; a hash of its cells' names stands for its path.
    paths = [local_path(n, SourceError) if isinstance(n, str | os.PathLike) else Path(name_of(n)) for n in named]
    if not paths:
        raise ValueError("no sources were given.")
    columns = [gene_names] * len(paths) if gene_names is None or isinstance(gene_names, str) else list(gene_names)
    if len(columns) != len(paths):
        raise ValueError(
            f"gene_names names {len(columns)} columns for {len(paths)} sources; give one, or one for each."
        )
    names = source_names(paths, taken)
    opened: list[Source] = []
    for source, path, name, column in zip(named, paths, names, columns, strict=True):
        given = path if isinstance(source, str | os.PathLike) else source
        opened += open_sources(given, counts=counts, gene_names=column, name=name)
    return tuple(opened)


def recipe_of(
    sources: tuple[Source, ...],
    *,
    label: str | None,
    batch: str | None,
    unlabelled: Sequence[str],
    layers: Sequence[str] | None,
    chosen: tuple[str, ...],
    memory: str | int,
    compression: Compression,
    seed: int,
    layout: Layout,
) -> Recipe:
    """What is to be made of the sources, once all is checked that can be without reading the matrices."""
    if not chosen:
        raise SourceError(f"{', '.join(str(source.path) for source in sources)}: there are no genes to ingest.")
    obs = joined_obs(sources)
    check_identity(obs)
    carried = carried_layers(sources, layers)
    budget = divided(
        memory,
        n_cells=obs.n_cells,
        n_genes=max(len(chosen), max(len(source.genes) for source in sources)),
        n_elements=sum(source.counts.n_elements for source in sources),
    )
    facts = {
        "label": resolved_column(obs, label, "label"),
        "batch": resolved_column(obs, batch, "batch"),
        "unlabelled": np.array([str(name) for name in unlabelled], dtype=object),
        "sources": sources_json(sources),
        "report": json.dumps(report_of(sources, chosen, carried)),
    }
    return Recipe(
        sources=sources,
        genes=chosen,
        layers=carried,
        obs=obs,
        facts=facts,
        budget=budget,
        layout=layout,
        compression=compression,
        seed=seed,
    )


def carried_layers(sources: Sequence[Source], layers: Sequence[str] | None) -> tuple[str, ...]:
    """The layers that go along: those asked for, or all that every source has."""
    for name in layers or ():
        for source in sources:
            if name not in source.layers:
                raise SourceError(
                    f'{source.path} has no layer "{name}" of these cells and genes. It has: '
                    f"{', '.join(source.layers) or 'none'}. Name another in `layers`."
                )
    if layers is not None:
        return tuple(dict.fromkeys(layers))
    return tuple(name for name in sources[0].layers if all(name in other.layers for other in sources))


def report_of(sources: Sequence[Source], chosen: Sequence[str], layers: Sequence[str]) -> list[dict[str, Any]]:
    """What was kept and left of each source: plain JSON, one entry each."""
    obsm = shared_obsm(sources)
    genes: list[dict[str, Any]] = json.loads(gene_report(sources, chosen).to_json(orient="records"))
    for source, entry in zip(sources, genes, strict=True):
        left = [*source.left]
        left += [f"layers/{name}" for name in source.layers if name not in layers]
        left += [f"obsm/{name}" for name in source.obsm if name not in obsm]
        entry["left"] = ", ".join(left)
    return genes


@contextlib.contextmanager
def kept_if_interrupted(work: Work) -> Iterator[None]:
    """Keep the work for the next call when the user interrupts it; any other failure takes it away."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(
            f"{work.target} is not written yet: the same call goes on from here. ({work.folder} keeps the work.)"
        )
        raise
    except BaseException:
        work.remove()
        raise


def source_names(paths: Sequence[Path], taken: Sequence[str] = ()) -> list[str]:
    """File names, with as much of the folder before them as tells them apart, and from those taken."""
    if len({path.resolve() for path in paths}) != len(paths):
        raise SourceError("the same file is named twice among the sources.")
    for depth in range(1, max(len(path.resolve().parts) for path in paths) + 1):
        names = ["/".join(path.resolve().parts[-depth:]) for path in paths]
        if len(set(names)) == len(names) and not set(names) & set(taken):
            return names
    return [str(path) for path in paths]


def check_unchanged(sources: Sequence[Source]) -> None:
    """Raise if a source was changed while it was read."""
    on_disk = [source for source in sources if source.kind != "memory"]
    for path, known in {source.path: source.fingerprint for source in on_disk}.items():
        try:
            same = fingerprint_of(path) == known
        except OSError:
            same = False
        if not same:
            raise SourceError(f"{path} was changed while it was read. Ingest it again when it is complete.")
