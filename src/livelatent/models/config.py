"""Configs that grow: what a model file says of a model, and what its hash is taken over."""

import dataclasses
from typing import Any

__all__ = ["LATER", "config_facts"]

LATER = {"later": True}
"""Metadata of a config's field that models of the same class were saved without.

Where such a field has its default it is neither written nor hashed, so a model saved before the field existed keeps
its sha256, which labels and judge's files name it by.
"""


def config_facts(config: Any) -> dict[str, Any]:
    """Fields of a config by name, without those added later that have their default."""
    facts = dataclasses.asdict(config)
    for one in dataclasses.fields(config):
        if one.metadata.get("later") and facts[one.name] == one.default:
            del facts[one.name]
    return facts
