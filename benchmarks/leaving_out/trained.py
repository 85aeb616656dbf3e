"""A task's stores and model, made once and kept in the work folder."""

import json
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from leaving_out.tasks import Task, divided, read


class Trained(NamedTuple):
    """What a task's scores are taken from."""

    model: Any
    reference: Any
    query: Any
    is_hidden: Any
    """Of each of the query's cells."""
    facts: dict[str, Any]


def trained(task: Task, data: Path, work: Path, *, epochs: int, seed: int) -> Trained:
    """Open what is kept, or ingest and train; what was left half done is thrown away."""
    import livelatent as ll

    folder = work / f"{task.name}-{epochs}-{seed}"
    if not (folder / "facts.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "facts.json").write_text(json.dumps(make(task, data, folder, epochs=epochs, seed=seed)))
    query = ll.Atlas.open(folder / "query.zarr")
    return Trained(
        model=ll.load_model(folder / "model"),
        reference=ll.Atlas.open(folder / "reference.zarr"),
        query=query,
        is_hidden=np.asarray(query.true_labels == task.hidden),
        facts=json.loads((folder / "facts.json").read_text()),
    )


def make(task: Task, data: Path, folder: Path, *, epochs: int, seed: int) -> dict[str, Any]:
    """Ingest reference and query, train Model 1 on the reference, and keep all three."""
    import livelatent as ll
    from livelatent.train.loop import train

    for part, name in zip(divided(read(data, task.data), task, seed), ("reference", "query"), strict=True):
        ll.ingest(part, folder / f"{name}.zarr", label="cell_type", batch="batch", seed=seed, progress=False)
    atlas = ll.Atlas.open(folder / "reference.zarr")
    start = time.process_time()
    # The document's rule needs the classifier; on a latent that stays it is trained in a few epochs.
    model = ll.Cellular(atlas, epochs=epochs, classifier_epochs=max(epochs // 3, 1), seed=seed)
    for _ in train(model, atlas, device="cpu"):
        pass
    model.save(folder / "model")
    return {"training_cpu_s": round(time.process_time() - start, 1), "n_reference": atlas.n_cells}
