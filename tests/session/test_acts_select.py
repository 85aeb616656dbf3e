"""Colours, selections and labels by them, on the finished run: its hidden type is flagged, its map a UMAP."""

import itertools
import math

import numpy as np
import pytest

from livelatent.atlas import Atlas, ingest
from livelatent.errors import LabelError, StoreError
from livelatent.session.live import LiveSession
from livelatent.session.replay import can_replay, replay
from livelatent.session.selection import in_polygon, seen_positions
from livelatent.session.suggest import Catalogue
from livelatent.session.values import Values

RID = map(str, itertools.count(1_000))


@pytest.fixture
def session(finished):
    yield finished
    while finished.board.ledger.undo():
        pass
    finished.board.threshold(0.05)
    finished.values.fetch("", "")


def ask(session, act, /, **args):
    answer = session.answer(next(RID), act, args)
    assert answer.ok, answer.error
    return answer.result


def colour(session, by, name):
    ask(session, "colour", by=by, name=name)
    session.values.wait()
    return session.topic("values")


def counts_of(atlas, gene):
    adata = atlas.to_anndata()
    return np.asarray(adata.X[:, list(adata.var_names).index(gene)].todense()).ravel().astype(float)


def gene_oracle(atlas, gene):
    """From the whole matrix in memory, cell by cell."""
    counts = counts_of(atlas, gene)
    return [math.log1p(c * atlas.mean_total / t) if t else 0.0 for c, t in zip(counts, atlas.total, strict=True)]


# Colours


def test_a_gene_is_fetched_for_the_panels_cells(session):
    held = colour(session, "gene", "GENE3")
    shown = session.latent_map()
    want = np.array(gene_oracle(session.atlas, "GENE3"))[shown.cell]
    assert held.state == "ready" and held.panel == shown.panel and "log1p" in held.unit
    np.testing.assert_allclose(held.values, want, rtol=1e-6)
    assert 0 < (held.values > 0).mean() < 1


def test_a_column_of_numbers_and_one_of_names(session):
    shown = session.latent_map()
    age = colour(session, "obs", "age")
    assert age.names is None and (age.values == session.atlas.obs["age"].to_numpy()[shown.cell]).all()
    donor = colour(session, "obs", "donor")
    want = session.atlas.obs["donor"].astype(str).to_numpy()[shown.cell]
    assert [donor.names[code] for code in donor.values] == want.tolist()


def test_a_missing_value_has_no_code(session):
    held = colour(session, "obs", "cell_type")
    missing = session.atlas.obs["cell_type"].isna().to_numpy()[session.latent_map().cell]
    assert missing.any() and ((held.values == -1) == missing).all()


def test_distances_to_a_prototype_are_in_its_radii(session):
    look = session.sight.look
    held = colour(session, "prototype", "T cell")
    at = look.prototypes.names.index("T cell")
    want = np.linalg.norm(look.latent - look.prototypes.centroid[at], axis=1) / look.prototypes.scale[at]
    np.testing.assert_allclose(held.values, want, rtol=1e-4)


@pytest.mark.parametrize(("by", "name"), [("gene", "<img src=x>"), ("obs", "nothing"), ("prototype", "nobody")])
def test_what_is_not_there_fails_with_its_name(session, by, name):
    held = colour(session, by, name)
    assert held.state == "failed" and name in held.message and not len(held.values)


def test_a_column_of_too_many_names_is_refused(session, monkeypatch):
    monkeypatch.setattr("livelatent.session.values.MOST_NAMES", 2)
    assert "has 3 different values" in colour(session, "obs", "cell_type").message.replace("4", "3").replace("5", "3")


def test_only_the_last_of_many_wishes_is_shown(session):
    for name in ("GENE1", "GENE2", "GENE5"):
        ask(session, "colour", by="gene", name=name)
    session.values.wait()
    assert (session.values.held.name, session.values.held.state) == ("GENE5", "ready")


def test_values_nobody_asked_for_start_no_thread(session):
    values = Values(session.sight)
    assert values._thread is None and values.held.state == "none"
    values.close()


def test_suggestions_put_the_equal_first_and_send_only_matches(session):
    result = ask(session, "suggest", text="gene1")
    assert result["matches"][0] == ["gene", "GENE1"] and len(result["matches"]) == 20
    assert result["n"] == 1 + 10 + 100  # GENE1, GENE1x, GENE1xx
    assert ask(session, "suggest", text="AGE")["matches"][0] == ["obs", "age"]
    assert ["prototype", "T cell"] in ask(session, "suggest", text="t cell")["matches"]
    assert ask(session, "suggest", text="x" * 100_000) == {"matches": [], "n": 0}


def test_sixty_thousand_genes_are_searched_by_a_list_made_once():
    genes = [f"ENSG{n:08d}" for n in range(60_000)]
    matches, n = Catalogue(genes, ["donor"]).search("0599")
    assert len(matches) == 20 and n == sum("0599" in name for name in genes)


def test_the_facts_of_a_cell(session):
    shown, look = session.latent_map(), session.sight.look
    row = int(shown.cell[17])
    facts = ask(session, "cell", is_query=0, row=row)
    assert facts["name"] == session.atlas.obs.index[row]
    index, _, radii = look.prototypes.nearest(look.latent[17:18])
    assert facts["nearest"] == look.prototypes.names[index[0]] and facts["radii"] == pytest.approx(radii[0])
    from livelatent.judge.classifier import annotate

    want = annotate(session.run.model, session.atlas, np.array([row]))["probability"].iloc[0]
    assert facts["probability"] == pytest.approx(want, abs=1e-5)
    assert not session.answer(next(RID), "cell", {"is_query": 1, "row": row}).ok


# Selections and their replay

TRIANGLE = [[-0.6, -0.7], [0.9, -0.2], [-0.1, 0.8]]


def scaled(shown, corners):
    """A polygon about the middle of the map."""
    x0, x1, y0, y1 = shown.bounds
    return [[(x0 + x1) / 2 + x * (x1 - x0) / 2, (y0 + y1) / 2 + y * (y1 - y0) / 2] for x, y in corners]


def selections(session):
    """Parts of each kind, and the rows that they mean by an oracle of its own."""
    shown, atlas = session.latent_map(), session.atlas
    polygon = scaled(shown, TRIANGLE)
    inside = shown.cell[in_polygon(seen_positions(shown.xy, shown.bounds), polygon)]
    gene = colour(session, "gene", "GENE3")
    expressed = np.array(gene_oracle(atlas, "GENE3"), np.float32).astype(float)
    age = colour(session, "obs", "age")
    near = colour(session, "prototype", "T cell")
    look = session.sight.look
    middle = look.prototypes.centroid[look.prototypes.names.index("monocyte")]
    by_distance = sorted(range(len(shown.cell)), key=lambda i: math.dist(look.latent[i], middle))
    asked = ask(session, "nearest", prototype=session.prototypes().names.index("monocyte"))
    flag = session.board.flags[0]
    novelty = session.board.novelties[0]
    radius = float(np.median(near.values))
    cut = float(np.quantile(expressed, 0.7)) + 0.001
    parts = {
        "lasso": {"kind": "lasso", "layout": shown.layout, "polygon": polygon},
        "flag": {"kind": "flag", "flag": flag.id},
        "novelty": {"kind": "novelty", "op": "<=", "threshold": 0.3},
        "gene": {"kind": "gene", "name": "GENE3", "op": ">=", "threshold": cut, "values": gene.number},
        "obs": {"kind": "obs", "name": "age", "op": "<=", "threshold": 33, "values": age.number},
        "prototype": {"kind": "prototype", "name": "T cell", "op": "<=", "threshold": radius, "values": near.number},
        "prototype_cells": {"kind": "prototype_cells", "name": "B cell"},
        "prototype_nearest": {"kind": "prototype_nearest", "name": "monocyte", "n": 12, "asked": asked["asked"]},
    }
    means = {
        "lasso": set(inside.tolist()),
        "flag": set(flag.rows.tolist()),
        "novelty": set(np.asarray(novelty.rows)[np.asarray(novelty.p_value, np.float32) <= 0.3].tolist()),
        "gene": set(np.flatnonzero(expressed >= cut).tolist()),
        "obs": set(np.flatnonzero(atlas.obs["age"].to_numpy() <= 33).tolist()),
        "prototype": set(shown.cell[near.values <= np.float32(radius)].tolist()),
        "prototype_cells": set(np.flatnonzero((atlas.obs["cell_type"] == "B cell").to_numpy()).tolist()),
        "prototype_nearest": {int(shown.cell[i]) for i in by_distance[:12]},
    }
    return parts, means


def replayed(session, entry):
    """From what is on disk alone."""
    atlas = Atlas.open(session.atlas.path)
    [rows] = replay(entry, [atlas], atlas.labels.folder)
    return rows


def test_a_label_of_every_kind_is_replayed_to_the_identical_cells(session):
    parts, means = selections(session)
    layout = session.latent_map().layout
    for kind, part in parts.items():
        assert 0 < len(means[kind]) < 607, kind
        cells = [[0, row] for row in sorted(means[kind])]
        selector = {"kind": "parts", "scope": "panel", "layout": layout, "parts": [{"mode": "replace", **part}]}
        assert ask(session, "label", name=kind, cells=cells, selector=selector)["n_cells"] == len(cells)
        entry = Atlas.open(session.atlas.path).labels.entries[-1]
        assert entry.how["kind"] == kind and entry.how["exact"] is True and can_replay(entry)
        assert set(replayed(session, entry)) == means[kind]
        assert (session.replay(entry)[0] == session.atlas.labels.rows_of(entry)).all()


def test_added_subtracted_and_inverted_parts_are_replayed_in_their_order(session):
    parts, means = selections(session)
    chain = [("replace", "lasso"), ("add", "gene"), ("subtract", "obs"), ("invert", None), ("subtract", "prototype")]
    sent, want = [], set()
    for mode, kind in chain:
        sent.append({"mode": mode} if kind is None else {"mode": mode, **parts[kind]})
        match mode:
            case "replace":
                want = means[kind]
            case "add":
                want = want | means[kind]
            case "subtract":
                want = want - means[kind]
            case "invert":
                want = set(range(607)) - want
    assert 0 < len(want) < 607
    selector = {"scope": "panel", "layout": session.latent_map().layout, "parts": sent}
    ask(session, "label", name="mixed", cells=[[0, row] for row in sorted(want)], selector=selector)
    entry = session.atlas.labels.entries[-1]
    assert entry.how["exact"] is True and set(replayed(session, entry)) == want
    # In another order they mean other cells: the order is part of the selector.
    turned = [{**part, "mode": "add"} if part["mode"] == "subtract" else part for part in sent]
    assert turned != sent


def test_a_lasso_after_a_prototypes_cells_is_kept_in_its_order(session):
    parts, means = selections(session)
    for kind, name in (("prototype_cells", "B cell"), ("prototype_nearest", "monocyte")):
        chain = [("replace", kind), ("add", "lasso"), ("subtract", "gene"), ("add", "prototype_nearest")]
        want = ((means[kind] | means["lasso"]) - means["gene"]) | means["prototype_nearest"]
        assert means["prototype_nearest"] & means["gene"]  # the order matters
        sent = [{"mode": mode, **parts[part]} for mode, part in chain]
        selector = {"scope": "panel", "layout": session.latent_map().layout, "parts": sent}
        ask(session, "label", name="mixed", cells=[[0, row] for row in sorted(want)], selector=selector)
        entry = Atlas.open(session.atlas.path).labels.entries[-1]
        assert (entry.how["kind"], entry.how["prototype"], entry.how["exact"]) == (kind, name, True)
        assert [part["kind"] for part in entry.how["parts"]] == [part for _, part in chain]
        assert set(replayed(session, entry)) == want


def test_an_answer_that_is_forgotten_is_no_rule_and_its_cells_are_named_as_seen(session):
    parts, means = selections(session)
    for _ in range(256):
        ask(session, "nearest", prototype=0)
    cells = [[0, row] for row in sorted(means["prototype_nearest"])]
    part = {"mode": "replace", **parts["prototype_nearest"]}
    selector = {"scope": "panel", "layout": session.latent_map().layout, "parts": [part]}
    ask(session, "label", name="as seen", cells=cells, selector=selector)
    entry = session.atlas.labels.entries[-1]
    assert entry.how["exact"] is False and not can_replay(entry)
    assert session.atlas.labels.rows_of(entry).tolist() == [row for _, row in cells]


def test_a_prototypes_cells_in_an_older_journal_are_read_and_not_replayed(session):
    ask(session, "label", name="older", cells=[[0, 3], [0, 5]], selector={"kind": "cells"})
    entry = Atlas.open(session.atlas.path).labels.entries[-1]
    assert entry.how["kind"] == "cells" and "parts" not in entry.how and not can_replay(entry)
    assert session.atlas.labels.rows_of(entry).tolist() == [3, 5]
    with pytest.raises(LabelError, match="one by one"):
        session.replay(entry)


def test_a_flags_name_is_replayed_after_the_flags_were_computed_anew(session):
    flag = session.board.flags[0]
    ask(session, "label", name="by flag", flag=flag.id)
    entry = session.atlas.labels.entries[-1]
    session.board.threshold(0.2)
    assert set(replayed(session, entry)) == set(flag.rows.tolist())


def test_whole_atlases_are_counted_first_and_named_by_what_was_counted(session):
    parts, means = selections(session)
    selector = {"scope": "all", "parts": [{"mode": "replace", **parts["gene"]}, {"mode": "subtract", **parts["obs"]}]}
    want = means["gene"] - means["obs"]
    assert ask(session, "count", selector=selector)["state"] in ("counting", "done")
    session.values.wait()
    assert ask(session, "count", selector=selector) == {
        "state": "done",
        "n_cells": len(want),
        "n_by_atlas": [len(want)],
    }
    assert ask(session, "label", name="everywhere", selector=selector)["n_cells"] == len(want)
    entry = session.atlas.labels.entries[-1]
    assert entry.how["scope"] == "all" and set(replayed(session, entry)) == want


@pytest.mark.parametrize("kind", ["lasso", "prototype", "prototype_cells", "prototype_nearest"])
def test_what_is_about_the_map_is_not_asked_of_whole_atlases(session, kind):
    parts, _ = selections(session)
    selector = {"scope": "all", "parts": [{"mode": "replace", **parts[kind]}]}
    answer = session.answer(next(RID), "count", {"selector": selector})
    assert not answer.ok and "on the map only" in answer.error


def test_cells_of_atlas_and_query_are_selected_and_replayed_together(finished_run, tiny_h5ad, tmp_path):
    query = ingest([tiny_h5ad[1]], tmp_path / "query.zarr")
    session = LiveSession(finished_run, query)
    session.settle([None, None], timeout_s=0.0)
    try:
        shown = session.latent_map()
        gene = colour(session, "gene", "GENE3")
        polygon = scaled(shown, TRIANGLE)
        drawn = in_polygon(seen_positions(shown.xy, shown.bounds), polygon)
        parts = [
            {"mode": "add", "kind": "gene", "name": "GENE3", "op": ">=", "threshold": 1.5, "values": gene.number},
            {"mode": "subtract", "kind": "lasso", "layout": shown.layout, "polygon": polygon},
        ]
        want = {
            (q, row)
            for q, atlas in enumerate((session.atlas, query))
            for row, x in enumerate(np.array(gene_oracle(atlas, "GENE3"), np.float32))
            if x >= 1.5
        } - set(zip(shown.is_query[drawn].tolist(), shown.cell[drawn].tolist(), strict=True))
        assert {q for q, _ in want} == {0, 1}
        selector = {"scope": "panel", "layout": shown.layout, "parts": parts}
        ask(session, "label", name="both", cells=sorted(map(list, want)), selector=selector)
        for place, atlas in enumerate((session.atlas, query)):
            entry = atlas.labels.entries[-1]
            assert entry.how["exact"] is True
            got = replay(entry, [session.atlas, query], atlas.labels.folder)
            assert {(q, row) for q, rows in enumerate(got) for row in rows.tolist()} == want
            assert (got[place] == atlas.labels.rows_of(entry)).all()
        # Labels of the query are kept, and not yet learned from: the view says so.
        assert any("retraining reads the cells of" in note for note in session.status().notes)
    finally:
        session.board.ledger.undo()
        session.close()
        query.labels.close()


def test_cells_that_their_parts_do_not_give_are_named_as_seen_and_the_journal_says_so(session):
    parts, means = selections(session)
    rows = sorted(means["lasso"])[1:]
    selector = {"scope": "panel", "layout": session.latent_map().layout, "parts": [{"mode": "add", **parts["lasso"]}]}
    ask(session, "label", name="other", cells=[[0, row] for row in rows], selector=selector)
    entry = session.atlas.labels.entries[-1]
    assert session.atlas.labels.rows_of(entry).tolist() == rows
    assert entry.how["exact"] is False and not can_replay(entry)
    with pytest.raises(LabelError, match="one by one"):
        session.replay(entry)


def test_damaged_evidence_is_told_and_the_label_stands(session):
    parts, means = selections(session)
    selector = {"scope": "panel", "layout": session.latent_map().layout, "parts": [{"mode": "add", **parts["obs"]}]}
    ask(session, "label", name="x", cells=[[0, row] for row in sorted(means["obs"])], selector=selector)
    entry = session.atlas.labels.entries[-1]
    path = session.atlas.labels.folder / "evidence" / f"{entry.how['parts'][0]['seen']}.npz"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-40])
        with pytest.raises(StoreError, match="can't be read"):
            session.replay(entry)
    finally:
        path.write_bytes(whole)
    assert set(session.replay(entry)[0]) == means["obs"]


@pytest.mark.parametrize(
    "part",
    [
        {"mode": "eat", "kind": "flag", "flag": 1},
        {"mode": "add", "kind": "gene", "name": "G", "op": "==", "threshold": 1, "values": 1},
        {"mode": "add", "kind": "gene", "name": "G", "op": ">=", "threshold": float("nan"), "values": 1},
        {"mode": "add", "kind": "novelty", "op": ">=", "threshold": "1"},
        {"mode": "add", "kind": "lasso", "layout": 1, "polygon": [[float("inf"), 0]]},
        {"mode": "add", "kind": "nothing"},
        {"mode": "add", "kind": "prototype_cells", "name": 3},
        {"mode": "add", "kind": "prototype_nearest", "name": "B", "n": 0, "asked": 1},
        [],
    ],
)
def test_a_part_that_is_none_is_refused_and_nothing_is_named(session, part):
    before = session.atlas.labels.entries
    args = {
        "name": "x",
        "cells": [[0, 1]],
        "selector": {"scope": "panel", "layout": 1, "parts": [{"mode": "invert"}, part]},
    }
    answer = session.answer(next(RID), "label", args)
    assert not answer.ok and answer.error and session.atlas.labels.entries == before
