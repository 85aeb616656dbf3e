"""One way to score novelty, made ready for one query: its scores, and the known cells they are held against."""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.errors import CalibrationError, ModelError
from livelatent.judge.batches import batches_of
from livelatent.judge.evidence import StrangeCells
from livelatent.judge.expression import gene_indices, log_genes
from livelatent.judge.model_atlas import model_atlas
from livelatent.judge.novelty.conformal import Conformal
from livelatent.judge.novelty.methods import SCORES, Method, reads_latent
from livelatent.judge.novelty.query_aware import joint_components, query_aware_scores
from livelatent.judge.novelty.thesis import Likelihoods, likelihood
from livelatent.judge.own_classifier import own_logits
from livelatent.judge.prototypes import Prototypes
from livelatent.judge.reference import Reference
from livelatent.models.model import Model
from livelatent.train.embed import embed

__all__ = ["Scoring", "scoring_for"]

# Batch shares of query and calibration may differ by so much (total variation) before the query-aware score warns.
SHARES_DIFFER = 0.2


@dataclass(frozen=True)
class Scoring:
    """What `find_novel` asks for each slab of cells."""

    model: Model
    reference: Reference
    query: Atlas
    method: Method
    genes: Int[ndarray, " gene"]
    """The model's, in the query; -1 for one that it lacks."""
    conformal: Conformal | Likelihoods
    cells: Int[ndarray, " calibration"]
    """Which calibration cells `conformal` is of."""
    calibration: str
    warnings: tuple[str, ...] = ()
    asked: Float[ndarray, " cell"] | None = None
    """The query-aware score of every cell of `rows`."""

    def slab(self, rows: Rows, start: int, stop: int) -> tuple[StrangeCells, Float[ndarray, " cell"]]:
        """The cells `rows[start:stop]` with their p-values, and their T."""
        own = rows[start:stop]
        pcs = self.reference.expression.projection(log_genes(self.query, own, self.genes, self.model.mean_total))
        latent = embed(self.model, self.query, own) if reads_latent(self.method) else pcs
        if isinstance(self.conformal, Likelihoods):
            scores = likelihood(own_logits(self.model, latent))[None]
        else:
            scores = self.reference.scores(latent, pcs, SCORES[self.method])
        if self.asked is not None:
            scores = np.concatenate([scores, self.asked[None, start:stop]])
        total, p_value = self.conformal.combine(scores)
        return StrangeCells(own, p_value, latent, pcs), total

    @property
    def known(self) -> StrangeCells:
        """The calibration cells with p-values of their own."""
        expression, space = self.reference.expression, self.reference.latent.calibration
        return StrangeCells(
            expression.calibration[self.cells],
            self.conformal.p_value,
            (space if reads_latent(self.method) else expression.calibration_pcs)[self.cells],
            expression.calibration_pcs[self.cells],
        )

    @property
    def prototypes(self) -> Prototypes:
        """Of the types, where cells are compared: in the latent, or in PCs where none is read."""
        return self.reference.prototypes if reads_latent(self.method) else self.reference.inspected.prototypes


def scoring_for(
    model: Model,
    reference: Reference,
    query: Atlas,
    rows: Rows,
    method: Method,
    *,
    training_atlas: Atlas | None = None,
    seed: int = 0,
) -> Scoring:
    """Choose the calibration that fits the query, and compute what needs all of its cells at once.

    Raises
    ------
    CalibrationError
        If the query-aware score is asked for, and a batch of the query is none of the calibration's.
    ModelError
        If the query-aware score is asked for, and the atlas that the model was trained on is gone; or the thesis's
        rule, and the model has no classifier.
    """
    is_own = str(query.uuid) == reference.atlas_uuid
    genes = gene_indices(query, model.genes)
    names = batches_of(query, rows)
    if method == "thesis":
        # Its threshold promises no rate, so there is nothing to calibrate: these cells are what flags are held against.
        values = likelihood(own_logits(model, reference.latent.calibration))
        cells = np.arange(len(values))
        text = f"nothing: the thesis's rule promises no rate of false alarms; {len(cells):,} known cells beside it"
        return Scoring(model, reference, query, method, genes, Likelihoods(values), cells, text)
    warnings: list[str] = []
    new = reference.new_batches(names)
    if method == "query_aware":
        return _query_aware(model, reference, query, rows, names, genes, training_atlas, is_own=is_own, seed=seed)
    conformal, cells, text = reference.calibration_for(names, is_own=is_own, names=SCORES[method])
    if new and not reference.calibration_is_new_batches:
        some = ", ".join(new[:3]) + (", ..." if len(new) > 3 else "")
        warnings.append(
            f"New to the model: {len(new)} of the query's batches ({some}). Of another donor the rate of false alarms "
            "is about kept; of a new study, which differs in protocol, expect two to three times the rate asked for."
        )
    return Scoring(model, reference, query, method, genes, conformal, cells, text, tuple(warnings))


def _query_aware(
    model: Model,
    reference: Reference,
    query: Atlas,
    rows: Rows,
    names: tuple[str, ...],
    genes: Int[ndarray, " gene"],
    training_atlas: Atlas | None,
    *,
    is_own: bool,
    seed: int,
) -> Scoring:
    """The query-aware score, where calibration and query are of the same batches; an error everywhere else."""
    atlas = query if is_own else _training_atlas(model, reference, training_atlas)
    calibration = reference.expression.calibration
    calibrated = batches_of(atlas, calibration)
    strange = [name for name in names if name not in calibrated]
    if strange or not (names or is_own):
        which = f"not {', '.join(strange[:3])}" if strange else "and the query names no batch"
        known = ", ".join(sorted(calibrated)[:5]) or "no named batch"
        raise CalibrationError(
            f"{query.path}: the query-aware score finds whatever the query has more of than the reference, so "
            f"calibration cells must come from the query's own batches. They are of {known}, "
            f"{which}: there false alarms ran to 17 % (new donors) and 91 % (a new study) for 5 % asked. Use "
            'method="combined".'
        )
    conformal, cells, _ = reference.calibration_for(names, is_own=is_own, names=SCORES["query_aware"])
    # Cells of other batches than the query's would be told apart by their batch.
    codes = [atlas.batch_names.index(name) for name in names]
    chosen = np.isin(atlas.batch[calibration[cells]], codes) if names else np.ones(len(cells), bool)
    cells = cells[chosen]
    own = reference.expression.reference
    own = own[np.isin(atlas.batch[own], codes)] if names else own
    if not len(own):
        raise CalibrationError(f'{query.path}: no reference cell is of the query\'s batches. Use method="combined".')
    model_genes = gene_indices(atlas, model.genes)
    parts = [
        log_genes(atlas, own, model_genes, model.mean_total),
        log_genes(atlas, calibration[cells], model_genes, model.mean_total),
        log_genes(query, rows, genes, model.mean_total),
    ]
    reference_pcs, held, asked = joint_components(parts)
    scores = query_aware_scores(reference_pcs, np.concatenate([held, asked]), seed=seed)
    warnings = ["Of a query with fewer than about 5 % new cells the query-aware score gained nothing in our trials."]
    if names:
        share = np.array([(query.batch[rows] == query.batch_names.index(name)).mean() for name in names])
        usual = np.array([(atlas.batch[calibration[cells]] == code).mean() for code in codes])
        apart = float(np.abs(share - usual).sum() / 2)
        if apart > SHARES_DIFFER:
            warnings.append(
                f"The query's batches have other shares than among the calibration cells ({apart:.0%} of the cells "
                "would have to change batch): expect other rates of false alarms than asked for."
            )
    return Scoring(
        model,
        reference,
        query,
        "query_aware",
        genes,
        Conformal(np.concatenate([conformal.scores[:, chosen], scores[None, : len(cells)]])),
        cells,
        f"{len(cells):,} calibration cells drawn at random, of the query's batches",
        tuple(warnings),
        scores[len(cells) :],
    )


def _training_atlas(model: Model, reference: Reference, given: Atlas | None) -> Atlas:
    """The atlas that the reference was fitted on."""
    atlas = given or model_atlas(
        model,
        "The query-aware score, which compares the query with the training atlas's cells, can't be had",
        "Name it: `find_novel(..., training_atlas=ll.Atlas.open(PATH))`.",
    )
    if str(atlas.uuid) != reference.atlas_uuid:
        raise ModelError(
            f"{atlas.path}: this is not the atlas that the model's reference was fitted on. Name that one: "
            "`find_novel(..., training_atlas=ll.Atlas.open(PATH))`."
        )
    return atlas
