import json
import os
import pickle

import pytest
import torch

from livelatent.errors import ModelError
from livelatent.models.cellular import Cellular
from livelatent.models.weights import copy_to, load_model

torch.set_num_threads(1)


@pytest.fixture
def model(tiny_atlas):
    return Cellular(tiny_atlas, n_genes=30, n_latent=8)


def test_a_saved_model_comes_back_whole(model, tmp_path):
    model.save(tmp_path / "m")
    twin = load_model(tmp_path / "m")
    assert twin.config == model.config
    assert twin.sha256() == model.sha256()
    assert twin.notes == model.notes
    assert twin.folder == model.folder == tmp_path / "m"
    assert not twin.training
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["model.json", "model.safetensors"]


def test_the_hash_follows_weights_and_config(model, tiny_atlas):
    before = model.sha256()
    with torch.no_grad():
        model.temperature += 1e-6
    assert model.sha256() != before
    assert Cellular(tiny_atlas, n_genes=30, n_latent=8, dropout=0.3).sha256() != before


def test_judges_files_go_with_the_weights_they_describe(model, tmp_path):
    model.save(tmp_path / "a")
    (tmp_path / "a" / "judge").mkdir()
    (tmp_path / "a" / "judge" / "facts.json").write_text("{}")
    model.save(tmp_path / "b")
    assert (tmp_path / "b" / "judge" / "facts.json").read_text() == "{}"
    model.save(tmp_path / "b")
    assert (tmp_path / "b" / "judge" / "facts.json").exists()
    with torch.no_grad():
        model.temperature += 0.1
    model.save(tmp_path / "c")
    assert not (tmp_path / "c" / "judge").exists()


def edit(folder, **changes):
    facts = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**facts, **changes}))


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def ask_for_memory(folder):
    # 4 TB of weights: the config may not be believed before the file was looked at.
    config = json.loads((folder / "model.json").read_text())["config"]
    edit(folder, config={**config, "n_latent": 10**9})


def flip(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def ask_for_layers(folder):
    # Laid out one by one, a billion layers would take days before their shapes could be compared.
    edit(
        folder, config={**json.loads((folder / "model.json").read_text())["config"], "encoder": "genes", "depth": 10**9}
    )


def configured(**changes):
    def damage(folder):
        edit(folder, config={**json.loads((folder / "model.json").read_text())["config"], **changes})

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.json").unlink(), "holds no model"),
        (lambda folder: (folder / "model.safetensors").unlink(), "can't be read"),
        (lambda folder: (folder / "model.json").write_text("{"), "can't be read"),
        (lambda folder: (folder / "model.json").write_text("[]"), "can't be read"),
        (lambda folder: edit(folder, notes=5), "can't be read"),
        (lambda folder: edit(folder, format=2), "format 2"),
        (lambda folder: edit(folder, **{"class": "os.system"}), "known are Cellular"),
        (lambda folder: edit(folder, **{"class": ["Cellular"]}), "can't be read|known are"),
        (
            lambda folder: edit(folder, config={"unknown": 1}),
            r"settings that this version .* does not know \(unknown\)",
        ),
        (lambda folder: edit(folder, config={}), "can't be read"),
        (lambda folder: (folder / "model.json").write_text('{"format": 1}'), "it lacks 'class'"),
        (lambda folder: (folder / "model.json").write_text("[" * 200_000), "can't be read"),
        (ask_for_memory, "other shapes"),
        (ask_for_layers, "depth is a whole number of at least 1 and at most 1,000"),
        (configured(n_latent=10**30), "n_latent is a whole number"),
        (configured(n_latent="8"), "n_latent"),
        (configured(dropout=7.0), "dropout is a share"),
        (configured(genes=[]), "names of genes were wanted"),
        (configured(mean_total=float("nan")), "mean_total is a finite number"),
        (lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe{"), "can't be read"),
        (lambda folder: edit(folder, sha256="0" * 64), "don't match the sha256"),
        (cut, "can't be read"),
        (flip, "don't match the sha256"),
    ],
)
def test_a_damaged_model_is_refused_by_name(model, tmp_path, damage, message):
    folder = model.save(tmp_path / "m")
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


def test_a_copy_shares_nothing(model):
    model.train()
    twin = copy_to(model, torch.device("cpu"))
    with torch.no_grad():
        model.temperature += 0.5
    assert twin.temperature.item() == 0.25
    assert model.training
    assert not twin.training


def test_a_model_replaces_a_model_and_nothing_else(model, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("precious")
    for place in ("folder", "folder/thesis.txt"):
        with pytest.raises(ModelError, match="no model replaces it"):
            model.save(tmp_path / place)
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        model.save(tmp_path / "empty")
    assert load_model(tmp_path / "empty").sha256() == model.sha256()


class Payload:
    """What a pickle can do to whoever loads it."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("wrapped", [torch.save, lambda payload, file: file.write_bytes(pickle.dumps(payload))])
@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_nothing_in_a_model_file_is_run(model, tmp_path, wrapped, name):
    folder = model.save(tmp_path / "m")
    wrapped({"encoder.0.weight": Payload(tmp_path / "owned")}, folder / name)
    with pytest.raises(ModelError, match="can't be read"):
        load_model(folder)
    assert not (tmp_path / "owned").exists()
