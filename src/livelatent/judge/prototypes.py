"""One point, one radius and one real cell for each type."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd

from livelatent import atomic
from livelatent.arrays import Float, Int, ndarray

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Prototypes", "fit_prototypes"]

EXACT_MEDOID_CELLS = 20_000
# A 95 % quantile of fewer distances than this is one or two cells' whim.
RADIUS_CELLS = 5

Kind = Literal["centroid", "median", "medoid"]


@dataclass(frozen=True)
class Prototypes:
    """What each type looks like in a latent space. Types without a cell are not among them."""

    names: tuple[str, ...]
    centroid: Float[ndarray, "prototype latent"]
    median: Float[ndarray, "prototype latent"]
    """The median of each dimension by itself: no cell need look like it."""
    medoid: Float[ndarray, "prototype latent"]
    """A real cell: the one with the least summed distance to its own type, see `medoid_is_exact`."""
    medoid_cell: Int[ndarray, " prototype"]
    medoid_is_exact: tuple[bool, ...]
    """False for types above 20,000 cells, whose medoid is the cell nearest to the centroid."""
    count: Int[ndarray, " prototype"]
    spread: Float[ndarray, " prototype"]
    """Root mean squared distance of a type's cells to its centroid."""
    radius: Float[ndarray, " prototype"]
    """Distance to the centroid within which 95 % of the type's own cells lie; 0 for a single cell."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def scale(self) -> Float[ndarray, " prototype"]:
        """The radius to divide by: a type's own, or the median of the others' where it has fewer than five cells."""
        usable = (self.count >= RADIUS_CELLS) & (self.radius > 0)
        if usable.all():
            return self.radius
        positive = self.radius[usable] if usable.any() else self.radius[self.radius > 0]
        common = float(np.median(positive)) if positive.size else 1.0
        return np.where(usable, self.radius, common)

    def distances(self, kind: Kind = "centroid") -> Float[ndarray, "prototype other"]:
        """Euclidean distances between the prototypes of one kind."""
        points = self.points(kind).astype(np.float64)
        return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=2))

    def points(self, kind: Kind) -> Float[ndarray, "prototype latent"]:
        """The prototypes of one kind.

        Raises
        ------
        ValueError
            If there is no such kind.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"prototypes are {', '.join(get_args(Kind))}; got {kind!r}.")
        return np.asarray(getattr(self, kind))

    def in_radii(self, latent: Float[ndarray, "cell latent"]) -> Float[ndarray, "cell prototype"]:
        """Distance of each cell to each centroid, in that type's own radii."""
        return np.asarray(_distances(latent, self.centroid) / self.scale)

    def nearest(
        self, latent: Float[ndarray, "cell latent"]
    ) -> tuple[Int[ndarray, " cell"], Float[ndarray, " cell"], Float[ndarray, " cell"]]:
        """The prototype that each cell is fewest radii away from.

        Returns
        -------
        Its index, the distance in latent units, and the distance in its radii.
        """
        distance = _distances(latent, self.centroid)
        radii = distance / self.scale
        index = np.argmin(radii, axis=1)
        cell = np.arange(len(index))
        return index, distance[cell, index], radii[cell, index]

    def facts(self, cell_names: Sequence[str] | None = None) -> pd.DataFrame:
        """A row per type: count, radius, spread, and the medoid by its row in the store, and by name where given.

        Parameters
        ----------
        cell_names
            Of every cell of the atlas (`atlas.obs.index`).
        """
        table = pd.DataFrame(
            {
                "count": self.count,
                "radius": self.radius,
                "spread": self.spread,
                "medoid_cell": self.medoid_cell,
                "medoid_is_exact": list(self.medoid_is_exact),
            },
            index=pd.Index(self.names, name="cell_type", dtype=object),
        )
        if cell_names is not None:
            if self.count.size and len(cell_names) <= self.medoid_cell.max():
                raise ValueError(
                    "cell_names are those of every cell of the atlas (`atlas.obs.index`), "
                    f"{self.medoid_cell.max() + 1:,} at least; got {len(cell_names):,}."
                )
            table["medoid"] = [str(cell_names[int(cell)]) for cell in self.medoid_cell]
        return table

    def to_table(self, kind: Kind = "centroid", cell_names: Sequence[str] | None = None) -> pd.DataFrame:
        """The facts of each type, then its point of that kind as columns `latent_0`, `latent_1`, ..."""
        points = self.points(kind)
        columns = [f"latent_{dim}" for dim in range(points.shape[1])]
        facts = self.facts(cell_names)
        return pd.concat([facts, pd.DataFrame(points, index=facts.index, columns=columns)], axis=1)

    def to_anndata(self, kind: Kind = "centroid", cell_names: Sequence[str] | None = None) -> "AnnData":
        """Types as observations: `X` the points of that kind, the other kinds as layers, `obsp["distance"]` of `X`."""
        from anndata import AnnData

        points = self.points(kind)
        var = pd.DataFrame(index=pd.Index([f"latent_{dim}" for dim in range(points.shape[1])], dtype=object))
        return AnnData(
            points.copy(),
            obs=self.facts(cell_names),
            var=var,
            layers={other: getattr(self, other).copy() for other in get_args(Kind) if other != kind},
            obsp={"distance": self.distances(kind)},
            uns={"kind": kind},
        )

    def save(self, path: Path | str, kind: Kind = "centroid", cell_names: Sequence[str] | None = None) -> Path:
        """Write `.h5ad` (an AnnData), `.csv` (the table), or `.safetensors`, which another model can condition on.

        Notes
        -----
        The safetensors file holds `centroid`, `median`, `medoid` [prototype, latent], `distance` [prototype, other]
        (between points of that kind), `count`, `radius` and `spread` [prototype]; the names are in its header, as JSON
        under `names`. An earlier file of that name is replaced once the new one is whole.

        Raises
        ------
        ValueError
            If the path ends in none of the three.
        """
        path = Path(path)
        match path.suffix:
            case ".h5ad":
                with atomic.fresh_file(path) as aside:
                    self.to_anndata(kind, cell_names).write_h5ad(aside)
            case ".csv":
                table = self.to_table(kind, cell_names).reset_index()
                atomic.write_csv(path, [str(name) for name in table.columns], table.itertuples(index=False, name=None))
            case ".safetensors":
                import safetensors.numpy

                arrays = {
                    name: np.ascontiguousarray(getattr(self, name))
                    for name in ("centroid", "median", "medoid", "count", "radius", "spread")
                }
                arrays["distance"] = self.distances(kind)
                header = {"names": json.dumps(self.names), "kind": kind}
                atomic.write_bytes(path, safetensors.numpy.save(arrays, header))
            case other:
                raise ValueError(f"{path}: prototypes are saved as .h5ad, .csv or .safetensors; got {other!r}.")
        return path


def fit_prototypes(
    latent: Float[ndarray, "cell latent"],
    label: Int[ndarray, " cell"],
    names: tuple[str, ...],
    cell: Int[ndarray, " cell"],
) -> Prototypes:
    """Prototypes of the types that have at least one labelled cell.

    Parameters
    ----------
    label
        An index into `names`; cells of -1 carry no label and enter nothing.
    cell
        What to call each cell in `medoid_cell`: its row in the store.

    Raises
    ------
    ValueError
        If labels or names of cells are not of as many cells, a label has no name, or a labelled cell's latent is not
        finite.
    """
    latent, label, cell = np.asarray(latent), np.asarray(label), np.asarray(cell)
    if latent.ndim != 2 or label.shape != (len(latent),) or cell.shape != label.shape or label.dtype.kind not in "iu":
        raise ValueError(
            f"a latent [cell, dimension] was wanted with a code and a row for each cell; got {latent.shape} with "
            f"{label.shape} labels of type {label.dtype} and {cell.shape} rows."
        )
    if label.size and label.max() >= len(names):
        raise ValueError(f"labels are indices into {len(names)} names, -1 for none; got {int(label.max())}.")
    n_bad = int((~np.isfinite(latent[label >= 0])).any(axis=1).sum())
    if n_bad:
        raise ValueError(f"the latents of {n_bad:,} labelled cells are not finite: such a mean is no prototype.")
    kept = tuple(code for code in range(len(names)) if (label == code).any())
    rows: list[dict[str, object]] = []
    for code in kept:
        own = np.flatnonzero(label == code)
        points = np.asarray(latent[own], np.float64)
        centroid = points.mean(axis=0)
        distance = np.linalg.norm(points - centroid, axis=1)
        is_exact = len(own) <= EXACT_MEDOID_CELLS
        medoid = _medoid(points) if is_exact else int(np.argmin(distance))
        rows.append(
            {
                "centroid": centroid,
                "median": np.median(points, axis=0),
                "medoid": points[medoid],
                "medoid_cell": int(cell[own[medoid]]),
                "is_exact": is_exact,
                "count": len(own),
                "spread": np.sqrt(np.mean(distance**2)),
                "radius": np.quantile(distance, 0.95),
            }
        )

    def stacked(name: str, dtype: type) -> ndarray:
        return np.array([row[name] for row in rows], dtype)

    n_dims = latent.shape[1]
    return Prototypes(
        names=tuple(names[code] for code in kept),
        centroid=stacked("centroid", np.float32).reshape(-1, n_dims),
        median=stacked("median", np.float32).reshape(-1, n_dims),
        medoid=stacked("medoid", np.float32).reshape(-1, n_dims),
        medoid_cell=stacked("medoid_cell", np.int64),
        medoid_is_exact=tuple(bool(row["is_exact"]) for row in rows),
        count=stacked("count", np.int64),
        spread=stacked("spread", np.float64),
        radius=stacked("radius", np.float64),
    )


def _distances(
    latent: Float[ndarray, "cell latent"], points: Float[ndarray, "prototype latent"]
) -> Float[ndarray, "cell prototype"]:
    """Euclidean, one prototype at a time: no cell x prototype x latent array."""
    if latent.ndim != 2 or latent.shape[1] != points.shape[1]:
        raise ValueError(
            f"latents of {points.shape[1]} dimensions were wanted, as prototypes have; got {latent.shape}."
        )
    columns = [np.linalg.norm(latent.astype(np.float64) - point, axis=1) for point in points]
    return np.stack(columns, axis=1) if columns else np.empty((len(latent), 0))


def _medoid(points: Float[ndarray, "cell latent"]) -> int:
    """The index of the point with the least summed distance to the others, a thousand rows at a time."""
    from scipy.spatial.distance import cdist

    total = [cdist(points[start : start + 1000], points).sum(axis=1) for start in range(0, len(points), 1000)]
    return int(np.argmin(np.concatenate(total)))
