"""CELLULAR, Models 1 to 3 of Andrekson (2024; docs/equations.md): an encoder trained by three contrastive terms."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from livelatent.arrays import Float, Int, Rows, as_rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.centroids import centroid_distances
from livelatent.atlas.group_sums import group_sums
from livelatent.atlas.passes import logs_of
from livelatent.atlas.pca import pca
from livelatent.errors import LabelError
from livelatent.models.active_units import point_alarm
from livelatent.models.augment import Augmentation
from livelatent.models.cellular_config import CellularConfig, Encoder
from livelatent.models.encoder import GeneSetSource, build_encoder, read_prior
from livelatent.models.genes import atlas_facts, genes_to_read, training_rows
from livelatent.models.losses.batch_mixing import BatchTerm, batch_mixing
from livelatent.models.losses.centroid import centroid
from livelatent.models.losses.class_weights import Weights, class_weights
from livelatent.models.losses.similarity import exponential_similarity
from livelatent.models.losses.soft_nearest_neighbour import soft_nearest_neighbour
from livelatent.models.model import Losses, Model, Verdict
from livelatent.stream.minibatch import Minibatch
from livelatent.train.stage import Stage

__all__ = ["Cellular", "CellularConfig"]

TEMPERATURE_START = 0.25
TEMPERATURE_RANGE = (0.1, 1.0)
BATCH_TEMPERATURE = 0.5


class Cellular(Model):
    """Cells of one type lie together, whatever their batch, and types as far apart as in the data.

    Parameters
    ----------
    atlas
        Where genes, class weights and reference distances are computed, over labelled training cells. A
        `CellularConfig` rebuilds a model without one; its buffers are then filled by `load_state_dict`.
    encoder
        `"feed_forward"` is Model 1. `"genes"` is Model 2, a transformer over gene tokens; `"genes+sets"` is Model 3,
        which has another over gene sets beside it. Without a GPU those two are for some hundred genes.
    gene_sets
        Of Model 3: a GMT file, or names and their genes. The 500 of highest Q are used (`select_gene_sets`).
    gene_vectors
        Of Models 2 and 3: the published gene2vec table. Vectors of genes that it lacks, or of all, are learned.
    n_genes
        Highly variable genes to read.
    rows
        Cells that may be used; the atlas's training split of them is.
    settings
        Fields of `CellularConfig`.

    Raises
    ------
    LabelError
        If fewer than two training cells have a label.
    CountsError
        If no gene differs between them.
    SourceError, GeneMismatchError
        If `gene_sets` or `gene_vectors` is no such file, or shares too few genes with the atlas.

    Notes
    -----
    L. Andrekson, *Learning Meaningful Representations of Cells*, Master's thesis, Chalmers University of Technology,
    Gothenburg 2024; docs/equations.md has each equation's place in the code. Two defaults differ from it:
    `weights="uniform"` and `batch_term="bounded"`; `"thesis"` and `"inverse"` are its own.
    """

    type_count: Tensor
    batch_count: Tensor
    reference: Tensor

    def __init__(
        self,
        atlas: Atlas | CellularConfig,
        *,
        encoder: Encoder = "feed_forward",
        gene_sets: GeneSetSource | None = None,
        gene_vectors: str | Path | None = None,
        n_genes: int = 2000,
        n_latent: int = 100,
        weights: Weights = "uniform",
        batch_term: BatchTerm = "bounded",
        rows: Rows | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        if isinstance(atlas, CellularConfig):
            self.config = atlas
            self._build()
            return
        used = training_rows(atlas, rows, labelled=True)
        if len(used) < 2:
            raise LabelError(
                f"{atlas.path}: CELLULAR learns from labels, and {len(used)} of the training cells that it may use "
                "(by split, QC and `rows`) have one. "
                'Name the column that holds them (`ingest(..., label="cell_type")`), or label cells by hand and '
                "write them with `atlas.write_labels()`."
            )
        genes = genes_to_read(atlas, n_genes, used)
        facts = atlas_facts(atlas, genes)
        prior = read_prior(encoder, facts["genes"], gene_sets, gene_vectors)
        self.config = CellularConfig(
            **facts,
            n_latent=n_latent,
            weights=weights,
            batch_term=batch_term,
            encoder=encoder,
            **(settings if prior is None else settings | prior.config_fields()),
        )
        self._build()
        self._measure(atlas, used, genes)
        if prior is not None:
            prior.fill(self.encoder, atlas, genes, used)
        self.notes = (*self._facts(), *(() if prior is None else prior.facts(len(genes))))

    def _measure(self, atlas: Atlas, used: Rows, genes: Int[ndarray, " gene"]) -> None:
        """Fill the buffers that speak of types: their sizes, their distances in the data, and what they look like."""
        label, batch = atlas.label[used], atlas.batch[used]
        self.type_count.copy_(torch.from_numpy(np.bincount(label, minlength=len(self.type_count))))
        self.batch_count.copy_(torch.from_numpy(np.bincount(batch, minlength=len(self.batch_count))))
        n_components = min(self.config.n_components, len(used) - 1, len(genes))
        components = pca(atlas, genes, n_components, used, mean_total=self.mean_total)
        distances = centroid_distances(atlas, components, genes, used, mean_total=self.mean_total)
        self.reference.copy_(torch.from_numpy(distances.mean))
        if self.augmentation is not None and self.config.replace_share:
            sums, _ = group_sums(atlas, label, len(self.type_count), used, logs_of(atlas, self.mean_total))
            self.augmentation.mean.copy_(torch.from_numpy(sums.mean[:, genes]))
            self.augmentation.deviation.copy_(torch.from_numpy(np.sqrt(sums.variance[:, genes])))

    def relabelled(self, atlas: Atlas, rows: Rows | None = None) -> "Cellular":
        """A model of these weights that knows the labels of `atlas`; see `Model.relabelled`.

        Encoder and classifier go on as they are: a type of the same name keeps its row of the last layer, a new one
        gets a fresh row. Class sizes and the distances between types in the data are taken anew.

        Raises
        ------
        LabelError
            If fewer than two training cells have a label, or a type has none among them.
        """
        used = atlas.rows("train", labelled=True)
        if rows is not None:
            used = np.intersect1d(used, as_rows(rows, atlas.n_cells))
        sizes = np.bincount(atlas.label[used], minlength=len(atlas.label_names))
        known = set(self.label_names)
        unseen = [n for n, size in zip(atlas.label_names, sizes.tolist(), strict=True) if not size and n not in known]
        if len(used) < 2 or unseen:
            raise LabelError(
                f"{atlas.path}: no training cell is named {', '.join(unseen)}: the cells that bear the name are all "
                "set aside for calibration and validation. Name more of them."
                if unseen
                else f"{atlas.path}: {len(used)} training cells have a label, and two at least are needed."
            )
        twin = Cellular(dataclasses.replace(self.config, label_names=tuple(atlas.label_names)))
        weights, fresh = self.state_dict(), twin.state_dict()
        by_type = ("type_count", "reference", "augmentation.")
        own = {name: value for name, value in weights.items() if not name.startswith(by_type)}
        last = len(self.classifier) - 1
        before = [place for place, name in enumerate(self.label_names) if name in atlas.label_names]
        after = [twin.label_names.index(self.label_names[place]) for place in before]
        for part in ("weight", "bias"):
            row = fresh[f"classifier.{last}.{part}"].clone()
            row[after] = weights[f"classifier.{last}.{part}"][before].to(row.device)
            own[f"classifier.{last}.{part}"] = row
        twin.load_state_dict(fresh | own)
        place = {str(name): gene for gene, name in enumerate(atlas.genes)}
        twin._measure(atlas, used, np.array([place[name] for name in self.config.genes], np.int64))
        # What was said of types and batches at first is said anew; the rest (of gene sets) is as it was.
        told = set(self._facts())
        twin.notes = (*twin._facts(), *(note for note in self.notes if note not in told))
        return twin

    def _build(self) -> None:
        config = self.config
        n_genes, n_types = len(config.genes), len(config.label_names)
        # A model of one seed has one set of starting weights, and the caller's random state is left alone.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.encoder = build_encoder(config)
            self.classifier = nn.Sequential(
                nn.Linear(config.n_latent, 512),
                nn.ReLU(),
                nn.Dropout(0.2),
                nn.Linear(512, 512),
                nn.ReLU(),
                nn.Dropout(0.2),
                nn.Linear(512, max(n_types, 1)),
            )
        self.temperature = nn.Parameter(torch.tensor(TEMPERATURE_START))
        self.register_buffer("type_count", torch.zeros(n_types, dtype=torch.int64))
        self.register_buffer("batch_count", torch.zeros(max(len(config.batch_names), 1), dtype=torch.int64))
        self.register_buffer("reference", torch.zeros(n_types, n_types))
        self.augmentation = (
            Augmentation(n_types, n_genes, config.mask_share, config.replace_share)
            if config.mask_share or config.replace_share
            else None
        )

    @property
    def _mixes_batches(self) -> bool:
        return int((self.batch_count > 0).sum()) > 1

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The representation first, then a classifier on it, frozen."""
        config = self.config
        terms = {"type": config.type_weight, "centroid": config.centroid_weight}
        if self._mixes_batches:
            terms["batch"] = config.batch_weight
        return (
            Stage(
                name="representation",
                trains=("encoder.", "temperature"),
                no_decay=("temperature",),
                compares_cells=True,
                weights={name: weight for name, weight in terms.items() if weight != 0},
                epochs=config.epochs,
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                warmup_epochs=config.warmup_epochs,
                patience=config.patience,
            ),
            Stage(
                name="classifier",
                trains=("classifier.",),
                moves_latent=False,
                weights={"cross_entropy": 1.0},
                epochs=config.classifier_epochs,
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                patience=config.patience,
            ),
        )

    def embed(self, minibatch: Minibatch) -> Float[Tensor, "cell latent"]:
        """Latent of each cell, of length 1: the contrastive terms see directions only."""
        return nn.functional.normalize(self.encoder(minibatch.x))

    def logits(self, latent: Float[Tensor, "cell latent"]) -> Float[Tensor, "cell label"]:
        """Classifier logits over `label_names`, from what `embed` returns."""
        logits: Tensor = self.classifier(latent * math.sqrt(self.config.n_latent))
        return logits

    def losses(self, minibatch: Minibatch, stage: Stage) -> Losses:
        """The terms that `stage` weights, over the minibatch's labelled cells."""
        known = minibatch.label >= 0
        x, label, batch = minibatch.x[known], minibatch.label[known], minibatch.batch[known]
        if stage.name == "classifier":
            return self._classifier_losses(x, label)
        if self.augmentation is not None and self.encoder.training:
            x = self.augmentation(x, label)
        latent = self.encoder(x)
        terms, diagnostics = self._representation_terms(latent, label, batch, stage.weights)
        total = latent.sum() * 0
        for name, term in terms.items():
            total = total + stage.weights[name] * term
        return Losses(terms, total, diagnostics, cells={"latent": nn.functional.normalize(latent.detach())})

    def verdict(self, cells: Mapping[str, Tensor]) -> Verdict:
        """An alarm where all cells have become one point."""
        alarm = point_alarm(cells["latent"])
        return Verdict(alarms=() if alarm is None else (alarm,))

    def _representation_terms(
        self,
        latent: Float[Tensor, "cell latent"],
        label: Int[Tensor, " cell"],
        batch: Int[Tensor, " cell"],
        weights: dict[str, float],
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        config = self.config
        unit = nn.functional.normalize(latent)
        cosine = unit @ unit.T
        temperature = self.temperature.clamp(*TEMPERATURE_RANGE)
        terms: dict[str, Tensor] = {}
        diagnostics = {"temperature": temperature.detach(), "n_anchors": latent.new_tensor(len(latent))}
        if "type" in weights:
            terms["type"], diagnostics["type_skipped"] = soft_nearest_neighbour(
                exponential_similarity(cosine, temperature), label, class_weights(self.type_count, config.weights)
            )
        if "batch" in weights:
            terms["batch"], diagnostics["batch_skipped"] = batch_mixing(
                exponential_similarity(cosine, BATCH_TEMPERATURE),
                label,
                batch,
                class_weights(self.batch_count, config.weights),
                config.batch_term,
            )
        if "centroid" in weights:
            terms["centroid"] = centroid(latent, label, self.reference)
        return terms, diagnostics

    def _classifier_losses(self, x: Float[Tensor, "cell gene"], label: Int[Tensor, " cell"]) -> Losses:
        with torch.no_grad():
            latent = nn.functional.normalize(self.encoder(x))
        logits = self.logits(latent)
        if len(label) == 0:
            nothing = logits.sum()
            return Losses({"cross_entropy": nothing}, nothing)
        loss = nn.functional.cross_entropy(logits, label)
        accuracy = (logits.detach().argmax(1) == label).float().mean()
        return Losses({"cross_entropy": loss}, loss, metrics={"accuracy": accuracy})

    def _facts(self) -> tuple[str, ...]:
        facts = []
        if not self.config.batch_names:
            facts.append("No batch column: the batch term is off.")
        elif not self._mixes_batches:
            facts.append("One batch among the training cells: the batch term is off.")
        absent = [name for name, count in zip(self.label_names, self.type_count.tolist(), strict=True) if count == 0]
        if len(self.label_names) - len(absent) == 1:
            only = next(name for name in self.label_names if name not in absent)
            facts.append(f"All training cells are of one type ({only}): there is nothing to tell it from.")
        if absent:
            facts.append(f"No training cell of {', '.join(absent)}: the model can't learn it.")
        return tuple(facts)
