"""Stores for the stream's tests, written once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from livelatent.atlas import Atlas, ingest
from streamed import LAYOUT, uneven_adata, uneven_atlas


@pytest.fixture(scope="session")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Atlas]:
    """By number type: 211 cells of 0 to 37 genes. Shared: change a copy."""
    made: dict[str, Atlas] = {}

    def of_kind(kind: str) -> Atlas:
        if kind not in made:
            made[kind] = uneven_atlas(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return of_kind


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """90 cells without a batch column, in float32: genes 49 down to 10, where those of `uneven` are 0 to 36."""
    folder = tmp_path_factory.mktemp("other")
    adata = uneven_adata("float32", n_cells=90, n_genes=50, seed=8)[:, ::-1][:, :40].copy()
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"NK": "A monocyte"})
    adata.write_h5ad(folder / "other.h5ad")
    return ingest(folder / "other.h5ad", folder / "other.zarr", label="cell_type", layout=LAYOUT, seed=6)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Atlas], Atlas]:
    """Copies a store, so that the test may change it."""

    def copy(atlas: Atlas) -> Atlas:
        shutil.copytree(atlas.path, tmp_path / atlas.path.name)
        manifest = atlas.path.with_name(f"{atlas.path.stem}.manifest.json")
        shutil.copy(manifest, tmp_path / manifest.name)
        return Atlas.open(tmp_path / atlas.path.name)

    return copy
