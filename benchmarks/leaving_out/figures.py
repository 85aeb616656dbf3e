"""Means over runs, per method, per data set, and for subtypes apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np

MEANS = ("auroc", "aupr", "fpr95", "detected_at_target", "realised_fpr", "in_flags", "false_flags")
BARS = {"auroc": 0.88, "fpr95": 0.35, "detected_at_target": 0.55, "realised_fpr": (0.03, 0.07)}
QUERY_AWARE_BARS = {"auroc": 0.93, "fpr95": 0.30, "detected_at_target": 0.75}


def figures(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The issue's figures of the default, then every method, data set, and batches that training has not seen."""
    random = [one for one in records if one["what"] == "random" and "refused" not in one]
    full = [one for one in random if one["share"] == "all"]
    few = [one for one in random if one["share"] == "few"]
    default = means([one for one in full if one["method"] == "combined"])
    aware = means([one for one in few if one["method"] == "query_aware"])
    return default | {
        "bars": {"met": met(default, BARS), "query_aware_met": met(aware, QUERY_AWARE_BARS)},
        "methods": split(full, "method"),
        "few_novel": split(few, "method"),
        "data": {name: split(own, "method") for name, own in groups(full, "data").items()},
        "subtypes": split([one for one in full if one["is_subtype"]], "method"),
        "other_types": split([one for one in full if not one["is_subtype"]], "method"),
        "weak_estimate": weak_estimate([one for one in full if one["method"] == "combined"]),
        "thesis_by_minimum": thesis_by_minimum([one for one in full if one["method"] == "thesis"]),
        "new_batches": [
            {key: one.get(key) for key in ("data", "what", "held_out", "method", "realised_fpr", "refused", "warnings")}
            for one in records
            if one["what"] != "random"
        ],
        "runs": [{key: value for key, value in one.items() if key != "warnings"} for one in random],
    }


def means(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure over runs; the worst AUROC; how many runs."""
    if not records:
        return {"n_runs": 0}
    result: dict[str, Any] = {
        name: float(np.mean([one[name] for one in records])) for name in MEANS if name in records[0]
    }
    if "auroc" in records[0]:
        result["median_auroc"] = float(np.median([one["auroc"] for one in records]))
        result["worst_auroc"] = min(one["auroc"] for one in records)
    return result | {"n_runs": len(records)}


def groups(records: Sequence[dict[str, Any]], key: str) -> dict[str, list[dict[str, Any]]]:
    """Records by the value of one field."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in records:
        found.setdefault(one[key], []).append(one)
    return found


def split(records: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    """Means by the value of one field."""
    return {name: means(own) for name, own in groups(records, key).items()}


def met(measured: dict[str, Any], bars: dict[str, Any]) -> dict[str, bool]:
    """Which bars are met."""
    result = {}
    for name, bar in bars.items():
        if name in measured:
            value = measured[name]
            low, high = bar if isinstance(bar, tuple) else ((-np.inf, bar) if name == "fpr95" else (bar, np.inf))
            result[name] = bool(low <= value <= high)
    return result


def weak_estimate(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rank correlation of what the quick estimate said with what was found."""
    from scipy.stats import spearmanr

    pairs = [(one["estimate"], one["detected_at_target"]) for one in records if one.get("estimate") is not None]
    if len(pairs) < 3:
        return {"n_runs": len(pairs)}
    return {"n_runs": len(pairs), "spearman": float(spearmanr(*zip(*pairs, strict=True)).statistic)}


def thesis_by_minimum(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The document's own count: of runs by their smallest likelihood, not of cells."""
    from livelatent.judge.novelty.thesis import threshold_curve

    if not records:
        return {}
    least = np.array([one["least_novel"] for one in records] + [one["least_known"] for one in records])
    return threshold_curve(least, np.repeat([True, False], len(records)), np.array([0.1, 0.25, 0.5])).to_dict("list")


def text(table: dict[str, Any]) -> str:
    """For people: one line a method."""
    lines = [f"{table['n_runs']} types left out; bars met: {table['bars']}"]
    names = ("auroc", "median_auroc", "worst_auroc", "aupr", "fpr95", "detected_at_target", "realised_fpr")
    parts = {"all": table["methods"], "5 % novel": table["few_novel"], "subtypes": table["subtypes"], **table["data"]}
    for title, part in parts.items():
        lines.append(title)
        for method, own in part.items():
            lines.append(f"  {method:12s} " + " ".join(f"{name} {own[name]:.3f}" for name in names if name in own))
    lines += [
        f"{one['what']} {one['data']} {one['held_out'][0]}... {one['method']}: "
        + (f"realised {one['realised_fpr']:.3f}" if one["realised_fpr"] is not None else "refused")
        for one in table["new_batches"]
    ]
    return "\n".join(lines)
