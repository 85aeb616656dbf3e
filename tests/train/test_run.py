import _thread
import json
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from livelatent.atlas.foreign import open_foreign
from livelatent.errors import ResumeError, StoreBusyError
from livelatent.models.cellular import Cellular
from livelatent.models.weights import load_model
from livelatent.simulated.simulate import simulate
from livelatent.stream.plan import StreamConfig
from livelatent.train.run import Run, RunStatus
from watched import until

torch.set_num_threads(1)
CONFIG = StreamConfig(minibatch_cells=100, block_cells=16, buffer_cells=200)


def make(atlas, folder, epochs=2, **settings):
    return Run(Cellular(atlas, n_genes=40, n_latent=8, **settings), atlas, epochs, folder, CONFIG, "cpu")


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_trains_in_the_background_and_leaves_a_model(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run")
    assert run.status.state == "ready"
    assert not (tmp_path / "run").exists()
    run.start()
    status = run.wait()
    assert (status.state, status.stage, status.epoch, status.epochs) == ("done", "classifier", 4, 4)
    assert status.step == 4 * -(-len(tiny_atlas.rows("train", labelled=True)) // 100)
    assert {path.name for path in run.folder.iterdir()} >= {
        "config.json", "history.npz", "state.safetensors", "state.json", "model",
    }  # fmt: skip
    assert run.model.folder == run.folder / "model"
    assert load_model(run.folder / "model").sha256() == run.model.sha256()
    assert {("type", "train"), ("type", "validation"), ("accuracy", "validation")} <= set(run.history.names())
    assert [text for _, text in run.history.marks] == ["stage representation", "stage classifier"]
    assert json.loads((run.folder / "config.json").read_text())["stream"]["minibatch_cells"] == 100
    with pytest.raises(RuntimeError, match="is done"):
        run.start()


def test_its_folder_lies_beside_the_store(tiny_atlas):
    run = Run(Cellular(tiny_atlas, n_genes=20), tiny_atlas)
    assert run.folder.parent == tiny_atlas.path.parent / "tiny.runs"
    assert run.stream.minibatch_cells == 128


def test_pause_holds_the_weights_still_and_resume_goes_on(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run", epochs=200, patience=1000)
    run.start()
    until(lambda: run.status.step > 2)
    run.pause()
    assert run.status.state == "paused"
    first = run.snapshot()
    second = run.snapshot()
    assert first.step == second.step == run.status.step
    assert same(weights(first.model), weights(second.model))
    assert not first.model.training
    assert run.resume() is run
    until(lambda: run.status.step > first.step + 2)
    run.stop()
    assert run.wait().state == "stopped"


def test_a_snapshot_is_one_steps_weights_and_shares_nothing(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run", epochs=200, patience=1000)
    ready = run.snapshot()
    assert (ready.step, ready.epoch) == (0, 0)
    run.start()
    until(lambda: run.status.step > 0)
    snapshot = run.snapshot()
    held = weights(snapshot.model)
    until(lambda: run.status.step > snapshot.step + 3)
    assert same(held, weights(snapshot.model))
    assert run.model.folder is None
    run.stop()
    run.wait()
    assert same(weights(run.snapshot().model), weights(run.model))
    assert not same(held, weights(run.model))

    # The same number of steps without a thread gives the same weights.
    from livelatent.train.loop import train

    model = Cellular(tiny_atlas, n_genes=40, n_latent=8, patience=1000)
    for step in train(model, tiny_atlas, CONFIG, epochs=200, device="cpu"):
        if step.number == snapshot.step:
            break
    # Nearly always to the last bit; twice on a loaded machine it was not, and why is not known yet. Another step's
    # weights differ by the learning rate, a hundred times the tolerance.
    alone = weights(model)
    assert all(torch.allclose(alone[name].double(), held[name].double(), rtol=0, atol=1e-5) for name in held)


def test_a_stopped_run_goes_on_with_start_or_from_its_folder(tiny_atlas, tmp_path):
    whole = make(tiny_atlas, tmp_path / "whole", epochs=2)
    whole.start()
    whole.wait()
    for way in ("start", "folder"):
        run = make(tiny_atlas, tmp_path / way, epochs=2)
        run.start()
        until(lambda run=run: run.status.step >= 7)
        run.stop()
        stopped = run.wait()
        assert stopped.state == "stopped"
        if way == "folder":
            run = Run.resume(tmp_path / way)
            assert (run.status.state, run.status.step) == ("ready", stopped.step)
        run.start()
        assert run.wait().state == "done"
        assert same(weights(run.model), weights(whole.model))
        for name in whole.history.names():
            np.testing.assert_array_equal(run.history.series(*name)[0], whole.history.series(*name)[0])
            np.testing.assert_array_equal(run.history.series(*name)[1], whole.history.series(*name)[1])


SCRIPT = """
import json, sys, time, torch
torch.set_num_threads(1)
from livelatent.atlas import Atlas
from livelatent.models.cellular import Cellular
from livelatent.stream.plan import StreamConfig
from livelatent.train.run import Run
atlas = Atlas.open(sys.argv[1])
config = StreamConfig(minibatch_cells=100, block_cells=16, buffer_cells=200)
run = Run(Cellular(atlas, n_genes=40, n_latent=8), atlas, 6, sys.argv[2], config, "cpu")
run.start()
while run.status.step < 12:
    time.sleep(0.002)
run.pause()  # a pause saves, so that there is a place to go on from
while json.loads((run.folder / "state.json").read_text())["step"] < run.status.step:
    time.sleep(0.002)
run.resume()
print("training", flush=True)
run.wait()
time.sleep(120)  # whoever is to kill it may be late
"""


def test_a_killed_run_goes_on_from_its_folder_to_the_same_weights(tiny_atlas, tmp_path):
    whole = make(tiny_atlas, tmp_path / "whole", epochs=6)
    whole.start()
    whole.wait()
    command = [sys.executable, "-c", SCRIPT, str(tiny_atlas.path), str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "training\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    run = Run.resume(tmp_path / "killed")
    assert run.status.step >= 12
    if run.status.state == "ready":
        run.start()
    assert run.wait().state == "done"
    assert same(weights(run.model), weights(whole.model))


def test_a_finished_run_comes_back_done(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run", epochs=1)
    run.start()
    run.wait()
    again = Run.resume(str(tmp_path / "run"))
    assert again.status.state == "done"
    assert again.model.sha256() == run.model.sha256()
    assert again.model.folder == tmp_path / "run" / "model"
    assert again.wait().state == "done"


def test_an_exception_fails_the_run_with_its_message(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run")
    with torch.no_grad():
        run.model.encoder[1].weight[:] = float("nan")
    run.start()
    with pytest.raises(FloatingPointError, match="not finite"):
        run.wait()
    assert run.status.state == "failed"
    assert "not finite" in run.status.message
    assert run.snapshot().step > 0
    with pytest.raises(RuntimeError, match="is failed"):
        run.start()


def test_an_interrupt_while_waiting_stops_the_run(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run", epochs=2000, patience=10000)
    run.start()
    until(lambda: run.status.step > 0)
    interrupt = threading.Timer(0.3, _thread.interrupt_main)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert run.status.state == "stopped"


def test_wait_gives_up_after_its_timeout_and_needs_a_start(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run", epochs=2000, patience=10000)
    with pytest.raises(RuntimeError, match=r"run\.start\(\) first"):
        run.wait()
    run.start()
    assert run.wait(timeout=0.05).state == "training"
    run.stop()
    run.wait()


def test_a_paused_run_can_be_stopped(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run", epochs=2000, patience=10000)
    run.start()
    run.pause()
    run.stop()
    assert run.wait().state == "stopped"


def test_a_folder_that_holds_another_run_is_refused(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run", epochs=1)
    run.start()
    run.wait()
    with pytest.raises(ResumeError, match=r"Run\.resume"):
        make(tiny_atlas, tmp_path / "run", epochs=1).start()


def test_one_run_at_a_time_writes_a_folder(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run", epochs=2000, patience=10000)
    run.start()
    until(lambda: (tmp_path / "run" / "state.json").exists())
    other = Run.resume(tmp_path / "run")
    other.start()
    with pytest.raises(StoreBusyError):
        other.wait()
    run.stop()
    run.wait()


def test_a_folder_without_a_run_or_without_its_store_is_refused(own_atlas, tmp_path):
    with pytest.raises(ResumeError, match=r"no config\.json"):
        Run.resume(tmp_path)
    run = make(own_atlas, tmp_path / "run", epochs=1)
    run.start()
    run.wait()
    own_atlas.path.rename(tmp_path / "elsewhere.zarr")
    with pytest.raises(ResumeError, match="not there any more"):
        Run.resume(tmp_path / "run")


def test_a_run_of_chosen_rows_goes_on_with_them(tiny_atlas, tmp_path):
    rows = np.arange(0, tiny_atlas.n_cells, 2)
    model = Cellular(tiny_atlas, n_genes=40, n_latent=8, rows=rows)
    run = Run(model, tiny_atlas, 2, tmp_path / "run", CONFIG, "cpu", rows=rows)
    run.start()
    run.wait()
    again = Run.resume(tmp_path / "run")
    np.testing.assert_array_equal(again.rows, rows)


def test_a_status_is_a_line_for_people():
    status = RunStatus("done", "classifier", 58, 58, 1232, 4769.4676, 0.0425, "")
    assert repr(status) == (
        "RunStatus(done: epoch 58 of 58, step 1,232 (classifier), 4,769 cells/s, 4% of the time waiting for data)"
    )
    failed = RunStatus("failed", "representation", 0, 5, 0, 0.0, 0.0, "no more memory")
    assert repr(failed) == "RunStatus(failed: epoch 0 of 5, step 0 (representation). no more memory)"


def test_a_run_on_a_file_that_was_not_ingested_is_resumed_on_it(tmp_path):
    source = simulate(tmp_path / "other.h5ad", 400, 60, n_types=3, n_batches=2, seed=4)
    atlas = open_foreign(source, label="cell_type", batch="batch", progress=False)
    run = Run(Cellular(atlas, n_genes=40, n_latent=4), atlas, epochs=1, folder=tmp_path / "run")
    run.start()
    assert run.wait(60).state == "done"
    again = Run.resume(tmp_path / "run")
    assert again.status.state == "done"
    assert (again.atlas.uuid, again.atlas.label_names) == (atlas.uuid, atlas.label_names)
