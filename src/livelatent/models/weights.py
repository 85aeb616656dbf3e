"""Models on disk: safetensors and JSON, never pickle."""

import dataclasses
import hashlib
import importlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from livelatent import atomic
from livelatent.errors import ModelError
from livelatent.models.config import config_facts
from livelatent.models.model import Model
from livelatent.paths import local_path

FORMAT = 1

KEPT = ("judge", "annotator")
"""Folders that `judge` keeps in a model's: its reference, and its annotator."""

_CLASSES = {
    "Cellular": ("livelatent.models.cellular", "Cellular", "CellularConfig"),
    "BetaVAE": ("livelatent.models.beta_vae", "BetaVAE", "BetaVAEConfig"),
}
"""What a model file may name: a file chooses from this list and can't reach any other code."""


def hash_model(model: Model) -> str:
    """Sha256 of a model's class, config and weights."""
    config = json.dumps(config_facts(model.config), sort_keys=True, separators=(",", ":"))
    return hash_tensors(model.state_dict(), head=f"{type(model).__name__}\n{config}\n")


def hash_tensors(tensors: Mapping[str, Tensor], head: str = "") -> str:
    """Sha256 of tensors by name, their kinds and shapes, and of the text before them."""
    digest = hashlib.sha256(head.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_model(model: Model, folder: Path) -> Path:
    """Write the model to `folder`, whole or not at all; what `judge` fitted is copied from where the model was kept.

    Raises
    ------
    ModelError
        If something stands there that is no model.
    """
    from livelatent import __version__

    folder = local_path(folder, ModelError)
    check_place(folder)
    sha256 = hash_model(model)
    home = model.folder
    with atomic.fresh_folder(folder) as aside:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        atomic.write_bytes(aside / "model.safetensors", safetensors.torch.save(tensors))
        atomic.write_json(
            aside / "model.json",
            {
                "format": FORMAT,
                "class": type(model).__name__,
                "version": __version__,
                "sha256": sha256,
                "config": config_facts(model.config),
                "notes": list(model.notes),
            },
        )
        # What judge fitted belongs to these weights; after more training it would describe another model.
        if home is not None and _hash_at(home) == sha256:
            for name in KEPT:
                if (home / name).is_dir():
                    shutil.copytree(home / name, aside / name)
    model.folder = folder
    return folder


def check_place(folder: Path) -> None:
    """Raise where saving a model would replace something else, such as the store that it was trained on."""
    if (
        folder.exists()
        and not (folder / "model.json").is_file()
        and not (folder.is_dir() and not any(folder.iterdir()))
    ):
        raise ModelError(f"{folder} exists and is no model, so no model replaces it. Name another folder.")


def load_model(folder: str | Path) -> Model:
    """Read a model that `save` wrote, in evaluation mode on the CPU.

    Raises
    ------
    ModelError
        If the folder holds no model, one of another format, or a damaged one.
    """
    from livelatent import __version__

    folder = local_path(folder, ModelError)
    facts = _read_facts(folder)
    module, class_name, config_name = _CLASSES[facts["class"]]
    home = importlib.import_module(module)
    known = {field.name for field in dataclasses.fields(getattr(home, config_name))}
    if strange := sorted(set(facts["config"]) - known):
        raise ModelError(
            f"{folder}: the model has settings that this version of livelatent ({__version__}) does not know "
            f"({', '.join(strange[:3])}). Load it with that which wrote it ({facts.get('version', 'unknown')}), or a "
            "later one."
        )
    try:
        config = getattr(home, config_name)(**_tuples(facts["config"]))
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
        with torch.device("meta"):  # a config may ask for more memory than there is; the file can't
            shapes = {name: tensor.shape for name, tensor in getattr(home, class_name)(config).state_dict().items()}
        if shapes != {name: tensor.shape for name, tensor in tensors.items()}:
            raise ValueError("the weights have other shapes than the config asks for")
        model: Model = getattr(home, class_name)(config)
        model.load_state_dict(tensors)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise ModelError(
            f"{folder}: the model can't be read ({str(error).rstrip('.')}). Copy it again from where it was saved, or "
            "train again."
        ) from error
    if hash_model(model) != facts["sha256"]:
        raise ModelError(
            f"{folder}: weights and config don't match the sha256 in model.json, so one of them was changed or "
            "damaged. Copy both files again from where the model was saved."
        )
    model.notes = tuple(str(note) for note in facts.get("notes", ()))
    model.folder = folder
    return model.eval()


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise ValueError("not a JSON object")
        found = facts.get("format")
        if found != FORMAT:
            raise ModelError(
                f"{folder}: a model of format {found!r} was found; this version of livelatent reads format {FORMAT}. "
                "Load it with the version that wrote it "
                f"({facts.get('version', 'unknown')}), or train again."
            )
        if str(facts["class"]) not in _CLASSES:
            raise ModelError(
                f"{folder}: a model of class {facts['class']!r} was found; known are {', '.join(_CLASSES)}."
            )
        if not isinstance(facts["config"], dict) or not isinstance(facts["sha256"], str):
            raise ValueError("config or sha256 is missing")
        if not isinstance(facts.get("notes", []), list):
            raise ValueError("notes are no list")
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} holds no model: there is no model.json. Name the folder that `model.save(...)` wrote."
        ) from error
    except ModelError:
        raise
    except (ValueError, KeyError, OSError, RecursionError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ModelError(f"{folder}: model.json can't be read ({what}). Copy it again from its source.") from error
    return facts


def _hash_at(folder: Path) -> str | None:
    try:
        return str(_read_facts(folder)["sha256"])
    except ModelError:
        return None


def _tuples(config: dict[str, Any]) -> dict[str, Any]:
    # JSON has no tuples, and a frozen config holds no lists.
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}


def copy_to(model: Model, device: torch.device) -> Model:
    """A copy in evaluation mode that shares nothing with `model`."""
    twin: Model = type(model)(model.config)
    twin.load_state_dict(model.state_dict())
    twin.notes = model.notes
    return twin.to(device).eval()
