"""Dataclasses of arrays as safetensors and JSON: what `judge` fitted, on disk without pickle."""

import dataclasses
import hashlib
import json
import types
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import numpy as np

from livelatent import atomic
from livelatent.arrays import ndarray
from livelatent.errors import ModelError

__all__ = ["read", "write"]

FORMAT = 1


def write(folder: Path, name: str, fitted: Any) -> None:
    """Write `name.safetensors` and `name.json` into the folder, which must exist; the JSON holds both sha256."""
    import safetensors.numpy

    from livelatent import __version__

    arrays: dict[str, ndarray] = {}
    facts = _facts(fitted, "", arrays)
    data = safetensors.numpy.save({key: np.asarray(value, order="C") for key, value in arrays.items()})
    atomic.write_bytes(folder / f"{name}.safetensors", data)
    atomic.write_json(
        folder / f"{name}.json",
        {
            "format": FORMAT,
            "version": __version__,
            "sha256": hashlib.sha256(data).hexdigest(),
            "facts_sha256": _hash(facts),
            "facts": facts,
        },
    )


def read[Fitted](folder: Path, name: str, kind: type[Fitted]) -> Fitted:
    """Read what `write` wrote.

    Raises
    ------
    ModelError
        If either file is missing, damaged or of another format; the caller adds what to do about it.
    """
    import safetensors.numpy

    try:
        head = json.loads((folder / f"{name}.json").read_bytes())
        if head["format"] != FORMAT:
            raise ModelError(f"{folder}: {name}.json is of format {head['format']!r}, this version reads {FORMAT}")
        data = (folder / f"{name}.safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != head["sha256"]:
            raise ModelError(f"{folder}: {name}.safetensors is damaged (its sha256 is not the one noted)")
        # Files of 0.1's first weeks have no hash of their facts.
        if head.get("facts_sha256", _hash(head["facts"])) != _hash(head["facts"]):
            raise ModelError(f"{folder}: {name}.json is damaged (the sha256 of its facts is not the one noted)")
        return cast(Fitted, _rebuilt(kind, head["facts"], "", safetensors.numpy.load(data)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{folder}: {name} can't be read ({type(error).__name__}: {error})") from error


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _facts(fitted: Any, prefix: str, arrays: dict[str, ndarray]) -> dict[str, Any]:
    """What is no array, as JSON values; arrays go into `arrays` under dotted names."""
    facts: dict[str, Any] = {}
    for field in dataclasses.fields(fitted):
        value, key = getattr(fitted, field.name), f"{prefix}{field.name}"
        if isinstance(value, np.ndarray):
            arrays[key] = value
        elif dataclasses.is_dataclass(value):
            facts[field.name] = _facts(value, f"{key}.", arrays)
        else:
            facts[field.name] = list(value) if isinstance(value, tuple) else value
    return facts


def _rebuilt(kind: Any, facts: dict[str, Any], prefix: str, arrays: dict[str, ndarray]) -> Any:
    """An instance of the dataclass `kind`."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        key = f"{prefix}{field.name}"
        if key in arrays:
            values[field.name] = arrays[key]
            continue
        if field.name not in facts and field.default is not dataclasses.MISSING:
            continue  # kept by a version that did not have it
        fact = facts[field.name]
        hint = hints[field.name]
        if isinstance(hint, types.UnionType) and fact is not None:
            hint = next(option for option in get_args(hint) if option is not type(None))
        if isinstance(fact, dict):
            values[field.name] = _rebuilt(hint, fact, f"{key}.", arrays)
        else:
            values[field.name] = tuple(fact) if isinstance(fact, list) else fact
    return kind(**values)
