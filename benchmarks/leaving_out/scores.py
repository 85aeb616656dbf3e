"""Every method's answers about one query, held against what is known of it."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leaving_out.tasks import Task
from leaving_out.trained import Trained

METHODS = ("combined", "expression", "query_aware", "knn", "mahalanobis", "synthetic", "thesis")
TARGET = 0.05
FEW = 0.05
"""Share of novel cells in the second query of each task, for which the query-aware score has its bar."""


def scored(task: Task, one: Trained, methods: Sequence[str], kept: Path, *, again: bool) -> Iterator[dict[str, Any]]:
    """One record a method and query, from the folder where they are kept; the query of few novel cells for two."""
    kept.mkdir(exist_ok=True)
    asked = [(method, "all") for method in methods]
    if task.hidden is not None:
        asked += [(method, "few") for method in methods if method in ("combined", "query_aware")]
    for method, share in asked:
        file = kept / f"{method}-{share}.json"
        if again or not file.exists():
            file.write_text(json.dumps(score(task, one, method, share)))
        yield json.loads(file.read_text())


def score(task: Task, one: Trained, method: str, share: str) -> dict[str, Any]:
    """Ask `find_novel` and count."""
    import livelatent as ll
    from livelatent.errors import CalibrationError

    start = time.process_time()
    reference = ll.fit_reference(one.model, one.reference)
    hidden, known = np.flatnonzero(one.is_hidden), np.flatnonzero(~one.is_hidden)
    if share == "few":
        n_few = round(FEW / (1 - FEW) * len(known))
        hidden = np.random.default_rng(0).permutation(hidden)[:n_few]
    record: dict[str, Any] = {
        "data": task.data,
        "what": task.what,
        "hidden": task.hidden,
        "held_out": list(task.held_out),
        "is_subtype": task.is_subtype,
        "method": method,
        "share": share,
        "n_novel": len(hidden),
        "n_known": len(known),
        "epochs_cpu_s": one.facts["training_cpu_s"],
    }
    try:
        novelty = ll.find_novel(
            one.model,
            one.query,
            rows=np.union1d(hidden, known),
            target_fpr=TARGET,
            method=method,
            training_atlas=one.reference,
        )
    except CalibrationError as error:
        return record | {"refused": str(error)}
    new = one.is_hidden[novelty.rows]
    # The document's rule flags below its threshold, all others at most at the target.
    flagged = novelty.p_value < novelty.target_fpr if method == "thesis" else novelty.p_value <= TARGET
    record |= {
        "realised_fpr": float(flagged[~new].mean()),
        "cpu_s": round(time.process_time() - start, 2),
        "calibration": novelty.calibration,
        "warnings": list(novelty.warnings),
    }
    if len(hidden):
        record |= ranking(novelty.score, new) | {"detected_at_target": float(flagged[new].mean())}
        record |= flags(novelty, new)
        if method == "thesis":
            record |= {
                "least_novel": float(novelty.p_value[new].min()),
                "least_known": float(novelty.p_value[~new].min()),
            }
        if method == "combined":
            record["estimate"] = estimate(reference, one, new, novelty)
    return record


def ranking(score: Any, new: Any) -> dict[str, float]:
    """How well the score ranks new cells before known ones, whatever the threshold."""
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    fpr, tpr, _ = roc_curve(new, score)
    return {
        "auroc": float(roc_auc_score(new, score)),
        "aupr": float(average_precision_score(new, score)),
        "fpr95": float(fpr[np.searchsorted(tpr, 0.95)]),
    }


def flags(novelty: Any, new: Any) -> dict[str, Any]:
    """How much of the hidden type is in flags, and how pure the flag with most of it is."""
    is_new = dict(zip(novelty.rows.tolist(), new.tolist(), strict=True))
    counts = [(sum(is_new[row] for row in flag.rows.tolist()), flag.n_cells) for flag in novelty]
    best = max(counts, default=(0, 0))
    return {
        "n_flags": len(counts),
        "in_flags": sum(n for n, _ in counts) / int(new.sum()),
        "best_purity": best[0] / best[1] if best[1] else None,
        "false_flags": sum(n < 0.5 * size for n, size in counts),
        "technical_flags": sum(flag.is_probably_technical for flag in novelty),
    }


def estimate(reference: Any, one: Trained, new: Any, novelty: Any) -> float | None:
    """What the quick estimate says of the type that most of the hidden cells look like."""
    from livelatent import annotate

    weak = reference.inspection.weak
    looks = annotate(one.model, one.query, novelty.rows[new])["label"].value_counts().index[0]
    found = float(weak.found[reference.label_names.index(looks)])
    return None if np.isnan(found) else found


def line(record: dict[str, Any]) -> str:
    """One record in a line."""
    head = f"{record['method']:12s} {record['share']:4s}"
    if "refused" in record:
        return f"{head} refused"
    names = ("auroc", "aupr", "fpr95", "detected_at_target", "realised_fpr")
    return f"{head} " + " ".join(f"{name} {record[name]:.3f}" for name in names if name in record)
