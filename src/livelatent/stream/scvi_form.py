"""A minibatch, and the facts of an atlas, as scvi-tools models take them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from livelatent.errors import ColumnError, LabelError
from livelatent.stream.minibatch import Minibatch
from livelatent.stream.stream import Stream

UNLABELLED = "Unknown"
"""What scvi-tools' own data modules call a cell without a label."""
MISSING = "(missing)"
"""Category of a covariate that a cell lacks: scvi-tools knows no missing value."""


@dataclass(frozen=True)
class ScviForm:
    """The names behind the codes of a stream, in the order that scvi-tools gets them."""

    genes: Sequence[str]
    batch_names: tuple[str, ...]
    label_names: tuple[str, ...]
    covariates: Mapping[str, tuple[str, ...] | None]
    """Columns that come along: names of the categories, or None for numbers."""

    @classmethod
    def of_stream(cls, stream: Stream) -> Self:
        """Of what a stream of counts delivers.

        Raises
        ------
        ValueError
            If it delivers logarithms.
        ColumnError
            If one of its atlases has batches and another none.
        """
        if stream.values != "counts":
            raise ValueError(
                f"scvi-tools models take counts, and the stream delivers {stream.values}. "
                'Make it with Stream(..., values="counts").'
            )
        without = [str(atlas.path) for atlas in stream.atlases if stream.batch_names and not atlas.batch_names]
        if without:
            raise ColumnError(
                f"{', '.join(without)}: no batch column, where others of the stream have one; scvi-tools models need a "
                'batch for every cell. Ingest it with `batch=` (`batch="source"` takes the file\'s name).'
            )
        return cls(stream.genes.tolist(), stream.batch_names, stream.label_names, stream.obs_names)

    @property
    def batches(self) -> tuple[str, ...]:
        """Batch names; one without a name where there is no batch column."""
        return self.batch_names or ("",)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, and behind them the one for cells without a label."""
        if UNLABELLED in self.label_names:
            raise LabelError(
                f'to scvi-tools models cells without a label are "{UNLABELLED}", and the atlas has a label of that '
                f'name. Ingest it with unlabelled=["{UNLABELLED}"].'
            )
        return (*self.label_names, UNLABELLED)

    @property
    def categorical(self) -> dict[str, tuple[str, ...]]:
        """Categories of each categorical covariate, the one for missing values last."""
        return {column: (*names, MISSING) for column, names in self.covariates.items() if names is not None}

    @property
    def continuous(self) -> tuple[str, ...]:
        """Covariates that are numbers."""
        return tuple(column for column, names in self.covariates.items() if names is None)

    def tensors(self, minibatch: Minibatch) -> dict[str, Tensor]:
        """Counts and codes under scvi-tools' keys, every code a column of its own."""
        out = {
            "X": minibatch.x,
            "batch": minibatch.batch[:, None],
            "labels": _last_where_none(minibatch.label, len(self.label_names))[:, None],
            "ind_x": minibatch.cell[:, None],
        }
        if categorical := self.categorical:
            codes = [_last_where_none(minibatch.obs[name], len(names) - 1) for name, names in categorical.items()]
            out["extra_categorical_covs"] = torch.stack(codes, dim=1)
        if self.continuous:
            out["extra_continuous_covs"] = torch.stack([minibatch.obs[name] for name in self.continuous], dim=1)
        return out

    def registry(
        self, n_cells: int, *, batch_column: str, label_column: str, model: str = "SCVI", version: str
    ) -> dict[str, Any]:
        """What `SCVI(registry=...)` reads in place of an AnnData: sizes, names and where they come from.

        Parameters
        ----------
        model
            Name of the model's class.
        version
            Of scvi-tools.
        """
        categorical = self.categorical
        fields = {
            "X": {
                "data_registry": {"attr_name": "X", "attr_key": None},
                "state_registry": {
                    "n_obs": n_cells,
                    "n_vars": len(self.genes),
                    "column_names": np.array(self.genes, dtype=object),
                },
                "summary_stats": {"n_vars": len(self.genes), "n_cells": n_cells},
            },
            "batch": {
                "data_registry": {"attr_name": "obs", "attr_key": "_scvi_batch"},
                "state_registry": {
                    "categorical_mapping": np.array(self.batches, dtype=object),
                    "original_key": batch_column or "_scvi_batch",
                },
                "summary_stats": {"n_batch": len(self.batches)},
            },
            "labels": {
                "data_registry": {"attr_name": "obs", "attr_key": "_scvi_labels"},
                "state_registry": {
                    "categorical_mapping": np.array(self.labels, dtype=object),
                    "original_key": label_column or "_scvi_labels",
                    "unlabeled_category": UNLABELLED,
                },
                "summary_stats": {"n_labels": len(self.labels)},
            },
            "extra_categorical_covs": {
                "data_registry": {"attr_name": "obsm", "attr_key": "_scvi_extra_categorical_covs"},
                "state_registry": {
                    "field_keys": list(categorical),
                    "mapping": {name: np.array(names, dtype=object) for name, names in categorical.items()},
                    "n_cats_per_key": [len(names) for names in categorical.values()],
                },
                "summary_stats": {"n_extra_categorical_covs": len(categorical)},
            },
            "extra_continuous_covs": {
                "data_registry": {"attr_name": "obsm", "attr_key": "_scvi_extra_continuous_covs"},
                "state_registry": {"columns": np.array(self.continuous, dtype=object)},
                "summary_stats": {"n_extra_continuous_covs": len(self.continuous)},
            },
        }
        for name, is_given in (("extra_categorical_covs", categorical), ("extra_continuous_covs", self.continuous)):
            if not is_given:
                fields[name] |= {"data_registry": {}, "state_registry": {}}
        nothing: dict[str, Any] = {"data_registry": {}, "state_registry": {}, "summary_stats": {}}
        return {
            "scvi_version": version,
            "model_name": model,
            "setup_args": {
                "layer": None,
                "batch_key": batch_column or None,
                "labels_key": label_column or None,
                "size_factor_key": None,
                "categorical_covariate_keys": list(categorical) or None,
                "continuous_covariate_keys": list(self.continuous) or None,
            },
            "field_registries": {
                **fields,
                "ind_x": {**nothing, "data_registry": {"attr_name": "obs", "attr_key": "_indices"}},
                "sample": {**nothing, "summary_stats": {"n_sample": 0}},
                "size_factor": nothing,
            },
            "setup_method_name": "setup_datamodule",
        }


def _last_where_none(codes: Tensor, last: int) -> Tensor:
    return torch.where(codes < 0, last, codes).long()
