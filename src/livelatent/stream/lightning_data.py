"""An atlas as a Lightning DataModule, for training loops that Lightning runs; scvi-tools' are among them."""

import dataclasses
import functools
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Literal, Self

import numpy as np

from livelatent.atlas.atlas import Atlas
from livelatent.atlas.building.memory import parse_memory
from livelatent.extras import how_to_install
from livelatent.stream.minibatch import Values
from livelatent.stream.plan import StreamConfig
from livelatent.stream.scvi_form import UNLABELLED, ScviForm
from livelatent.stream.stream import Stream, suited
from livelatent.stream.torch_data import StreamDataset, TorchForm

try:
    from lightning.pytorch import LightningDataModule
except ImportError:
    try:
        from pytorch_lightning import LightningDataModule  # type: ignore[assignment]
    except ImportError:
        raise ImportError(
            f"livelatent.StreamDataModule needs Lightning, which is not installed: {how_to_install('lightning')}"
        ) from None

ModuleForm = Literal["livelatent", "scvi", "scanvi"]
Part = Literal["train", "validation", "all"]


class StreamDataModule(LightningDataModule):
    """Dataloaders over an atlas for a Lightning Trainer: its training and validation splits, and all of its cells.

    `trainer.fit` trains on the cells that QC keeps of the split "train" and validates on those of "validation";
    `trainer.predict` goes through every cell in the store's order, so that what it gives can go into obsm. Ranks
    share the cells, epochs are the trainer's, a checkpoint in the middle of an epoch goes on with the next minibatch,
    and threads end with the fit. Minibatches lie on the CPU; the trainer moves them.

    Parameters
    ----------
    atlas
        One, or several; of several, minibatches mix the cells of all.
    config
        How an epoch is cut up. Validation and prediction keep its sizes, and the store's order.
    memory
        Limit such as `"2GB"` for training and validation together; each gets half.
    values
        `"log1p"` or `"counts"`; None means what the form needs.
    form
        As of `StreamDataset`; or `"scanvi"`: what scANVI takes, pairs of all cells and of those with a label.
    sparse
        Minibatches travel to the device as sparse CSR. For scvi-tools they are made dense there, which is quick on a
        GPU only.

    Examples
    --------
    >>> data = ll.StreamDataModule(atlas, ll.StreamConfig(minibatch_cells=128), form="scvi")
    >>> model = scvi.model.SCVI(registry=data.registry)
    >>> model.train(max_epochs=20, datamodule=data)
    >>> atlas.write_obsm("X_scVI", model.get_latent_representation(dataloader=data.inference_dataloader()))
    """

    def __init__(
        self,
        atlas: Atlas | Sequence[Atlas],
        config: StreamConfig | None = None,
        *,
        genes: Sequence[str] | np.ndarray | None = None,
        memory: int | str | None = None,
        values: Values | None = None,
        form: ModuleForm = "livelatent",
        sparse: bool = False,
        obs: Sequence[str] = (),
        obsm: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if form not in ("livelatent", "scvi", "scanvi"):
            raise ValueError(f'form is "livelatent", "scvi" or "scanvi"; got {form!r}.')
        self.atlases = (atlas,) if isinstance(atlas, Atlas) else tuple(atlas)
        self.config = suited(StreamConfig(), self.atlases) if config is None else config
        self.form = form
        self.sparse = sparse
        self._limit = None if memory is None else parse_memory(memory)
        self._what: dict[str, Any] = {
            "genes": genes,
            "values": values or ("log1p" if form == "livelatent" else "counts"),
            "obs": obs,
            "obsm": obsm,
        }
        self._open: dict[tuple[object, ...], StreamDataset] = {}

    # What Lightning asks for

    def train_dataloader(self) -> StreamDataset:
        """Training cells, shuffled."""
        return self._dataset("train")

    def val_dataloader(self) -> StreamDataset:
        """Validation cells, in the store's order."""
        return self._dataset("validation")

    def predict_dataloader(self) -> StreamDataset:
        """Every cell, in the store's order."""
        return self._dataset("all")

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """On the device, make dense what travelled sparse, and pair up what scANVI takes, for scvi-tools' forms."""
        if self.form == "livelatent":
            return batch
        if self.sparse:
            batch = {**batch, "X": batch["X"].to_dense()}
        if self.form == "scvi":
            return batch
        has_label = batch["labels"][:, 0] < len(self._facts.label_names)
        return batch, {name: values[has_label] for name, values in batch.items()} if has_label.any() else None

    def teardown(self, stage: str) -> None:
        """End the threads that read."""
        self.close()

    def close(self) -> None:
        """End the threads that read, and give their memory back. The dataloaders can be asked for again."""
        for dataset in self._open.values():
            dataset.stream.close()
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        # Into processes that Lightning spawns: each opens streams of its own.
        return {**self.__dict__, "_open": {}}

    def _dataset(self, part: Part, *, dense: bool = False) -> StreamDataset:
        rank, world = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        sparse = self.sparse and not dense
        key = (part, rank, world, sparse)
        if key not in self._open:
            config, limit = self.config, self._limit
            # To overfit is to see the same few minibatches again and again.
            if part != "train" or getattr(self.trainer, "overfit_batches", 0) != 0:
                config = dataclasses.replace(config, shuffle=False, balance=None)
            if limit is not None and part != "all":
                limit //= 2
            rows = [np.arange(a.n_cells) if part == "all" else a.rows(part) for a in self.atlases]
            stream = Stream(
                self.atlases, rows, config, rank=rank, world=world, memory=limit, sparse=sparse, **self._what
            )
            form: TorchForm = "livelatent" if self.form == "livelatent" else "scvi"
            self._open[key] = StreamDataset(stream, form=form)
        return self._open[key]

    # What scvi-tools asks for

    @property
    def registry(self) -> dict[str, Any]:
        """What a scvi-tools model is made of in place of an AnnData: `SCVI(registry=data.registry)`."""
        return self._facts.registry(
            self.n_obs,
            batch_column=self.atlases[0].batch_column,
            label_column=self.atlases[0].label_column,
            model="SCANVI" if self.form == "scanvi" else "SCVI",
            version=version("scvi-tools"),
        )

    def inference_dataloader(self) -> StreamDataset:
        """Every cell, in the store's order, for `get_latent_representation(dataloader=...)`."""
        return self._dataset("all", dense=True)

    def set_batch_size(self, batch_size: int | None) -> None:
        """Cut minibatches of this many cells: scvi-tools hands on what `train(batch_size=...)` names."""
        if batch_size is not None and batch_size != self.config.minibatch_cells:
            self.close()
            self.config = dataclasses.replace(self.config, minibatch_cells=batch_size)

    @functools.cached_property
    def _facts(self) -> ScviForm:
        return ScviForm.of_stream(self._dataset("all").stream)

    @property
    def n_obs(self) -> int:
        """Cells that QC keeps."""
        return sum(len(atlas.rows()) for atlas in self.atlases)

    @property
    def n_train(self) -> int:
        """Training cells."""
        return sum(len(atlas.rows("train")) for atlas in self.atlases)

    @property
    def n_val(self) -> int:
        """Validation cells."""
        return sum(len(atlas.rows("validation")) for atlas in self.atlases)

    @property
    def n_vars(self) -> int:
        """Genes."""
        return len(self._facts.genes)

    @property
    def n_batch(self) -> int:
        """Batches."""
        return len(self._facts.batches)

    @property
    def n_labels(self) -> int:
        """Labels, and the one for cells without, which is no class of scANVI's where there are such cells."""
        return len(self._facts.labels) - int(self.form == "scanvi" and UNLABELLED in self.labels_)

    @property
    def n_samples(self) -> int:
        """Samples are what MRVI tells apart; none are named here."""
        return 0

    @property
    def n_continuous_cov(self) -> int:
        """Covariates that are numbers."""
        return len(self._facts.continuous)

    @property
    def n_cats_per_cov(self) -> list[int] | None:
        """Categories of each categorical covariate."""
        return [len(names) for names in self._facts.categorical.values()] or None

    @property
    def batch_labels(self) -> np.ndarray:
        """Batch names."""
        return np.array(self._facts.batches, dtype=object)

    @property
    def labels_(self) -> np.ndarray:
        """Label name of each cell that QC keeps, the one for cells without a label among them."""
        names = [np.array([*atlas.label_names, UNLABELLED], dtype=object) for atlas in self.atlases]
        return np.concatenate(
            [name[atlas.label[atlas.rows()]] for name, atlas in zip(names, self.atlases, strict=True)]
        )
