import os
import signal
import threading

import numpy as np
import pytest

from livelatent.atlas import Atlas, ingest
from livelatent.errors import LabelError
from livelatent.judge.flags import find_novel
from livelatent.session.live import LiveSession
from watched import HIDDEN, hidden_atlas, small_run, until


@pytest.fixture
def ready(own_atlas, tmp_path):
    """A session on a run that has not been started, its map a PCA."""
    session = LiveSession(small_run(own_atlas, tmp_path / "run"))
    session.settle(timeout_s=0.0)
    yield session
    session.close()
    own_atlas.labels.close()


@pytest.fixture
def settled(finished):
    """The finished session, its labels and threshold put back afterwards."""
    yield finished
    while finished.board.ledger.undo():
        pass
    finished.board.threshold(0.05)


def test_a_run_that_was_not_started_shows_its_cells_and_types(ready):
    shown = ready.latent_map()
    assert len(shown.cell) == shown.n_total == 607
    assert np.isfinite(shown.xy).all()
    assert shown.label_names == ("B cell", "NK cell", "T cell", "monocyte")
    assert (shown.label == ready.atlas.label).all()
    assert shown.batch_names == ("d1", "d2", "d3")
    assert np.isnan(shown.p_value).all() and not shown.flag.any()
    assert ready.prototypes().names == ready.atlas.label_names
    status = ready.status()
    assert status.state == "ready" and status.can.start and not status.can.pause
    assert status.store == "tiny.zarr" and status.journal == "tiny.labels"


def test_before_any_look_every_topic_is_there_and_empty(own_atlas, tmp_path):
    session = LiveSession(small_run(own_atlas, tmp_path / "run"))
    kinds = [type(topic).__name__ for topic in session.topics()]
    assert kinds == ["Status", "Curves", "LatentMap", "PrototypeView", "FlagList", "Moments", "CellValues"]
    assert len(session.latent_map().cell) == 0 and session.latent_map().n_total == 607


def test_the_hidden_type_is_flagged_and_shown_on_the_map(finished):
    flags = finished.board.flag_list()
    assert flags.flags and flags.n_scored > 0 and flags.calibration
    hidden = finished.atlas.true_labels == HIDDEN
    best = finished.board.flag(flags.flags[0].id)
    assert hidden[best.rows].mean() > 0.5  # of all cells it is 0.08
    shown = finished.latent_map()
    assert set(shown.cell[shown.flag == best.id]) == set(best.rows)
    assert np.isfinite(shown.p_value).sum() == flags.n_scored
    table = finished.prototypes()
    assert table.names[-1] == f"flag {flags.flags[-1].id}"
    assert table.distance.shape == (len(table.names),) * 2
    assert sorted(table.order) == list(range(len(table.names)))


def test_a_finished_run_shows_the_classifiers_predictions(finished):
    from livelatent.judge.classifier import annotate

    shown = finished.latent_map()
    want = annotate(finished.run.model, finished.atlas)["label"].to_numpy()
    assert [shown.predicted_names[code] for code in shown.predicted] == list(want)


def test_a_finished_runs_map_is_a_umap_and_its_curves_are_whole(finished):
    assert finished.status().alarms == ()
    assert finished.latent_map().layout >= 1
    curves = finished.curves()
    assert {(curve.name, curve.split) for curve in curves.series} == set(finished.run.history.names())
    first = curves.series[0]
    later = finished.curves({(first.name, first.split): 3}).series[0]
    assert later.start == 3 and (later.steps == first.steps[3:]).all()
    assert [mark.text for mark in curves.marks] == ["stage representation", "stage classifier"]


def test_it_follows_a_run_from_start_to_end_and_leaves_no_thread_or_process(own_atlas, tmp_path):
    threads = set(threading.enumerate())
    session = LiveSession(small_run(own_atlas, tmp_path / "run"), panel_cells=300)
    session.start()
    before = session.versions()
    assert session.answer("1", "start", {}).result["state"] in ("training", "done")
    session.run.wait()
    until(lambda: session.board.novelties[0] is not None and session.sight.look is not None)
    until(lambda: session.lookout.is_up_to_date)
    after = session.versions()
    assert all(after[topic] > before[topic] for topic in before if topic not in ("moments", "values"))  # nobody asked
    assert session.sight.look.step == session.run.status.step
    assert 300 <= len(session.latent_map().cell) < 607
    assert session.status().state == "done" and session.spent_s > 0
    # Whatever map came last, the find before it or after: a classifier's names have a probability.
    until(lambda: session.sight.predicted(session.sight.look).probability is not None)
    pid = session.lookout.worker.pid
    session.close()
    assert {thread.name for thread in set(threading.enumerate()) - threads} & {
        "livelatent-session",
        "livelatent-layout",
    } == set()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_how_far_prototypes_went_is_a_curve_with_a_point_for_each_look(own_atlas, tmp_path):
    session = LiveSession(small_run(own_atlas, tmp_path / "run"))
    session.lookout._looks.map()
    before = session.versions()["curves"]
    assert all(curve.name != "prototype drift" for curve in session.curves().series)
    session.run.start()
    session.run.wait()
    session.lookout._looks.map()
    (drift,) = [curve for curve in session.curves().series if curve.name == "prototype drift"]
    assert drift.steps.tolist() == [session.run.status.step]
    assert drift.values[0] == session.prototypes().drift > 0
    assert session.versions()["curves"] > before
    (rest,) = [one for one in session.curves({("prototype drift", "train"): 1}).series if one.name == drift.name]
    assert (rest.start, len(rest.steps)) == (1, 0)
    # The same step again is no movement.
    session.lookout._looks.map()
    assert len(session.sight.drift) == 1
    session.close()


def test_pause_and_resume_reach_the_run(own_atlas, tmp_path):
    session = LiveSession(small_run(own_atlas, tmp_path / "run", epochs=500, patience=1000))
    session.answer("1", "start", None)
    assert session.answer("2", "pause", {}).result == {"state": "paused"}
    assert session.status().can.resume
    assert session.answer("3", "resume", {}).result == {"state": "training"}
    session.answer("4", "stop", {})
    session.run.wait()
    assert session.run.status.state == "stopped"


def test_looking_at_the_status_copies_no_model(own_atlas, tmp_path, monkeypatch):
    session = LiveSession(small_run(own_atlas, tmp_path / "run", epochs=500, patience=1000))
    session.answer("1", "start", None)

    def copied():
        raise AssertionError("a copy of the model was made")

    monkeypatch.setattr(session.run, "snapshot", copied)
    assert session.versions() and session.status().notes == session.run.notes
    session.answer("2", "stop", {})
    session.run.wait()


def test_the_journal_shown_is_the_one_written_also_for_a_store_of_another_name(own_atlas, tmp_path):
    path = own_atlas.path.rename(tmp_path / "blood.v2")
    session = LiveSession(small_run(Atlas.open(path), tmp_path / "run"))
    session.label([0], "x")
    assert (tmp_path / session.status().journal / "journal.jsonl").exists()
    session.atlas.labels.close()


def test_a_killed_layout_process_leaves_a_pca_and_says_so(ready, caplog):
    ready.lookout.open_worker()
    os.kill(ready.lookout.worker.pid, signal.SIGKILL)
    until(lambda: not ready.lookout.worker.is_alive)
    ready.settle(timeout_s=0.0)
    [alarm] = ready.status().alarms
    assert "PCA" in alarm and "died" in alarm
    assert np.isfinite(ready.latent_map().xy).all()


def test_an_error_in_a_look_becomes_an_alarm_until_it_works_again(ready, caplog, monkeypatch):
    def broken():
        raise OSError("the disk went away")

    with monkeypatch.context() as patch:
        patch.setattr(ready.run, "snapshot", broken)
        ready.lookout.look_again()
        ready.settle(timeout_s=0.0)
    assert "The map could not be brought up to date: the disk went away" in ready.status().alarms
    assert "could not be brought up to date" in caplog.text
    ready.lookout.look_again()
    ready.settle(timeout_s=0.0)
    assert not any("brought up to date" in alarm for alarm in ready.status().alarms)


def test_a_name_given_in_the_browser_is_on_disk_once(settled):
    flag = settled.board.flags[0]
    args = {"flag": flag.id, "name": "NK?"}
    before = len(settled.atlas.labels.entries)
    first = settled.answer("rid", "label", args)
    again = settled.answer("rid", "label", args)
    assert first == again and first.ok and first.result["n_cells"] == len(flag.rows)
    entry = Atlas.open(settled.atlas.path).labels.entries[-1]
    assert entry.seq == before
    assert entry.model == settled.run.model.sha256()
    assert entry.how["kind"] == "flag" and entry.how["target_fpr"] == 0.05
    shown = settled.latent_map()
    assert set(shown.cell[shown.given == 0]) == set(flag.rows) and shown.given_names == ("NK?",)
    assert settled.answer("undo u", "undo", {}).result == {
        "n_undo": 0,
        "n_redo": 1,
        "what": f"{len(flag.rows)} cells: NK?",
    }
    assert (settled.latent_map().given == -1).all()


def test_a_lasso_is_kept_with_the_hash_of_the_layout_it_was_drawn_on(settled):
    shown = settled.latent_map()
    polygon = [[0, 0], [1, 0.5], [0, 1]]
    drawn = {"kind": "lasso", "layout": shown.layout}
    parts = [
        {"mode": "replace", **drawn, "polygon": polygon},
        {"mode": "subtract", **drawn, "polygon": [[0, 0], [1, 0], [0, 0.1]]},
    ]
    selector = {"kind": "lasso", "polygon": polygon, "layout": shown.layout, "parts": parts}
    answer = settled.answer("label 1", "label", {"cells": [[0, 5], [0, 3]], "selector": selector, "name": "mine"})
    assert answer.result["n_cells"] == 2
    how = settled.atlas.labels.entries[-1].how
    assert how["polygon"] == polygon and how["layout_sha256"] == settled.sight.look.layout.sha256
    assert [{name: part[name] for name in parts[0]} for part in how["parts"]] == parts


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("label", {"flag": 999, "name": "x"}),
        ("label", {"flag": "1", "name": "x"}),
        ("label", {"cells": [[1, 0]], "name": "x"}),
        ("label", {"cells": [[0, 10**9]], "name": "x"}),
        ("label", {"cells": [[0, 1]], "name": "x", "selector": {"kind": "lasso", "polygon": "x", "layout": 1}}),
        ("label", {"cells": [[0, 1]], "name": "x", "selector": "lasso"}),
        ("label", {"name": "x", "selector": {"kind": "cells"}}),
        (
            "label",
            {
                "cells": [[0, 1]],
                "name": "x",
                "selector": {"kind": "lasso", "layout": 1, "parts": [{"mode": "eat", "kind": "lasso", "polygon": []}]},
            },
        ),
        ("label", {"cells": [[0, 1]], "name": ["x"]}),
        ("threshold", {"target_fpr": 7}),
        ("threshold", {}),
        ("nearest", {"prototype": 999}),
        ("dismiss", {"flag": 999}),
        ("start", {}),
    ],
)
def test_what_cant_be_done_is_answered_with_a_reason_and_changes_nothing(finished, name, args):
    before, entries = finished.versions(), finished.atlas.labels.entries
    answer = finished.answer(f"{name} {args}", name, args)
    assert not answer.ok and answer.error
    assert finished.atlas.labels.entries == entries and finished.versions() == before


def test_a_prototypes_nearest_cells_and_neighbours(settled):
    table = settled.prototypes()
    result = settled.answer("nearest 2", "nearest", {"prototype": 0}).result
    assert len(result["neighbors"]) == len(table.names) - 1
    distances = [distance for _, distance in result["neighbors"]]
    assert distances == sorted(distances)
    assert result["name"] == table.names[0] and set(result["drift"]) == {"steps", "values"}
    label = settled.atlas.label_names[settled.atlas.label[result["cells"][0][1]]]
    assert label == table.names[0]


def test_a_threshold_changes_the_flags_and_not_the_scores(settled):
    n = settled.answer("threshold 3", "threshold", {"target_fpr": 0.2}).result["n_flagged"]
    novelty = settled.board.novelties[0]
    assert n == (novelty.p_value <= 0.2).sum() and settled.board.flag_list().target_fpr == 0.2


def test_a_flag_is_cut_merged_again_and_shown_as_found_by_commands(settled):
    whole = settled.board.flags[0]
    inside = [[int(whole.is_query), int(row)] for row in whole.rows[: len(whole.rows) // 3]]
    cut = settled.answer("split 1", "split", {"flag": whole.id, "cells": inside})
    assert cut == settled.answer("split 1", "split", {"flag": whole.id, "cells": inside})  # once, however often sent
    part, rest = cut.result["flags"]
    assert (part[1], rest) == (len(inside), [whole.id, len(whole.rows) - len(inside)])
    view = next(view for view in settled.board.flag_list().flags if view.id == part[0])
    assert view.is_hand_made and view.measures and view.reason
    assert settled.board.ledger.history.undo == ()
    merged = settled.answer("merge 1", "merge", {"flags": [whole.id, part[0]]})
    assert merged.result == {"flag": whole.id, "flags": [[whole.id, len(whole.rows)]]}
    assert settled.answer("apart 1", "apart", {"flag": whole.id}).ok
    assert settled.board.flag(whole.id).rows.tolist() == whole.rows.tolist()
    refused = settled.answer("merge 2", "merge", {"flags": [whole.id]})
    assert not refused.ok and "2 to 1,000 flags" in refused.error


def test_a_card_has_the_measures_of_its_cells_and_of_the_nearest_type(settled):
    view, flag = settled.board.flag_list().flags[0], settled.board.flags[0]
    depth = next(one for one in view.measures if one.name == "depth")
    assert depth.flag == np.median(settled.atlas.total[flag.rows])
    assert depth.low <= depth.usual <= depth.high and depth.overall > 0


def test_python_labels_flags_rows_and_masks(settled, tiny_atlas):
    novel = find_novel(settled.run.model, settled.atlas)
    assert settled.label(novel[0], "one").n_cells == len(novel[0].rows)
    assert settled.label(settled.board.flags[0], "two").label == "two"
    assert settled.label(settled.board.flags[0].id, "three").n_saved == 3
    assert settled.label(np.arange(settled.atlas.n_cells) < 4, "four").n_cells == 4
    assert settled.label([1, 2], None).label is None
    with pytest.raises(LabelError, match="no query"):
        settled.label([1], "x", query=True)


def test_a_query_is_shown_scored_and_labelled_in_its_own_journal(finished_run, tiny_h5ad, tmp_path):
    query = ingest([tiny_h5ad[1]], tmp_path / "query.zarr", label="cell_type")
    session = LiveSession(finished_run, query)
    session.settle(timeout_s=0.0)
    shown = session.latent_map()
    assert shown.is_query.sum() == query.n_cells and shown.n_total == session.atlas.n_cells + query.n_cells
    here = shown.is_query == 1
    names = np.array([*shown.label_names, "none"])
    assert (names[shown.label[here]] == np.array([*query.label_names, "none"])[query.label]).all()
    assert np.isfinite(shown.p_value[here]).all()
    n_entries = len(session.atlas.labels.entries)
    session.label([3, 5], "NK", query=True)
    assert len(query.labels.entries) == 1 and len(session.atlas.labels.entries) == n_entries
    shown = session.latent_map()
    assert shown.cell[(shown.given == 0) & here].tolist() == [3, 5]
    session.close()
    query.labels.close()


def test_a_query_of_other_genes_is_left_out_with_an_alarm(ready, tiny_adatas, tmp_path):
    other = tiny_adatas["two.h5ad"].copy()
    other.var_names = [f"OTHER{gene}" for gene in range(other.n_vars)]
    other.write_h5ad(tmp_path / "other.h5ad")
    query = ingest([tmp_path / "other.h5ad"], tmp_path / "other.zarr")
    session = LiveSession(ready.run, query)
    session.settle(timeout_s=0.0)
    assert any("The query is not shown" in alarm for alarm in session.status().alarms)
    assert len(session.latent_map().cell) == ready.atlas.n_cells
    session.close()


def test_flags_are_looked_for_while_training_goes_on(tiny_h5ad, tmp_path):
    atlas = hidden_atlas(tiny_h5ad, tmp_path)
    run = small_run(atlas, tmp_path / "run", epochs=100_000, patience=100_000)
    session = LiveSession(run, cpu_share=0.9)
    session.start()
    run.start()
    try:
        until(lambda: session.board.flag_list().n_scored)
        assert run.status.state == "training"
        unseen = (atlas.label < 0) | (atlas.split == "validation")
        assert session.board.flag_list().n_scored == unseen.sum()
    finally:
        run.stop()
        run.wait()
        session.close()
        atlas.labels.close()


def test_all_cells_are_placed_on_request_and_the_panel_stays_where_it_was(own_atlas, tmp_path):
    session = LiveSession(small_run(own_atlas, tmp_path / "run"), panel_cells=120)
    session.settle(timeout_s=0.0)
    before = session.latent_map()
    assert session.answer("1", "place_all", {}).ok  # at once where no thread watches
    after = session.latent_map()
    assert sorted(after.cell) == list(range(607)) and after.panel != before.panel and after.layout == before.layout
    where = {cell: at for cell, at in zip(after.cell, after.xy, strict=True)}
    assert np.allclose([where[cell] for cell in before.cell], before.xy, atol=1e-3)
    assert len(after.predicted) == 607 and after.predicted_names == before.predicted_names
    assert session.status().placing is None
    # The next layout is the panel's again.
    session.lookout._looks.map()
    assert len(session.latent_map().cell) == len(before.cell)
    session.close()


def test_placed_cells_bear_the_classifiers_names_as_the_panels_do(finished_run):
    from livelatent.judge.classifier import annotate

    session = LiveSession(finished_run, panel_cells=120)
    session.settle(timeout_s=0.0)
    names = session.latent_map().predicted_names
    session.place_all()
    shown = session.latent_map()
    want = annotate(finished_run.model, finished_run.atlas)["label"].to_numpy()
    assert len(shown.cell) == 607 and shown.predicted_names[: len(names)] == names  # a type keeps its colour
    assert [shown.predicted_names[code] for code in shown.predicted] == list(want[shown.cell])
    session.close()


def test_thinned_placing_keeps_every_flagged_cell(finished, monkeypatch):
    from livelatent.session import sight

    monkeypatch.setattr(sight, "MOST_PLACED", 150)
    finished.place_all()
    shown = set(finished.latent_map().cell)
    assert 150 <= len(shown) < 607 and all(set(flag.rows) <= shown for flag in finished.board.flags)
    finished.sight._placed = None


def test_the_share_of_a_core_is_seen_and_set_from_a_page(ready):
    assert ready.status().layout_share == 0.15 and ready.status().layout_next_s is None
    assert ready.answer("1", "budget", {"share": 0.4}).result == {"share": 0.4}
    assert ready.status().layout_share == 0.4
    refused = ready.answer("2", "budget", {"share": 40})
    assert not refused.ok and "between 0.01 and 1" in refused.error and ready.status().layout_share == 0.4
