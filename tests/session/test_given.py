"""A latent that is there already: all works but learning."""

import os

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from livelatent.atlas.anndata_atlas import AnnDataAtlas
from livelatent.atlas.shown_cells import shown_cells
from livelatent.errors import ColumnError, CountsError, LabelError, NothingToSeeError, SourceError, StoreError
from livelatent.session.given import GivenLatent
from livelatent.session.live import LiveSession
from livelatent.widget.export import write_picture
from livelatent.widget.frames import encode_sync
from livelatent.widget.opening import opened
from livelatent.widget.view import LiveView
from watched import until

HIDDEN = "NK cell"


@pytest.fixture(scope="module")
def adata(tiny_adatas) -> anndata.AnnData:
    """The tiny file with a latent that tells its types apart, one of them unlabelled."""
    made = tiny_adatas["one.h5ad"].copy()
    random = np.random.default_rng(5)
    kind = pd.Categorical(made.obs["cell_type"].astype(object).fillna("unassigned"))
    centre = random.normal(size=(len(kind.categories), 6)) * 6
    # Cells of no known type lie among the known ones, so that one cluster alone is new.
    codes = np.where(kind == "unassigned", kind.categories.get_loc("B cell"), kind.codes)
    made.obsm["X_scVI"] = centre[codes] + random.normal(size=(made.n_obs, 6))
    made.obsm["X_flat"] = made.obsm["X_scVI"][:, :2].copy()
    return made


@pytest.fixture
def cells(adata, tmp_path, monkeypatch) -> anndata.AnnData:
    """A copy for one test, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return adata.copy()


@pytest.fixture(scope="module")
def session(adata, tmp_path_factory):
    """A session on it, up to date, its map a PCA."""
    folder = tmp_path_factory.mktemp("given") / "labels"
    atlas = AnnDataAtlas(
        adata.copy(), label="cell_type", batch="donor", unlabelled=["unassigned", HIDDEN], journal=folder
    )
    made = LiveSession(GivenLatent(atlas, "X_scVI"))
    made.settle(timeout_s=0.0)
    yield made
    made.close()
    atlas.labels.close()


def test_map_prototypes_and_flags_are_there_and_learning_is_empty(session, adata):
    shown = session.latent_map()
    assert len(shown.cell) == shown.n_total == adata.n_obs
    assert shown.label_names == ("B cell", "T cell", "monocyte") and shown.batch_names == ("d1", "d2")
    assert session.prototypes().names[:3] == shown.label_names
    [flag] = session.board.flags
    is_hidden = (adata.obs["cell_type"] == HIDDEN).to_numpy()
    assert is_hidden[flag.rows].mean() > 0.9 and len(flag.rows) > 0.5 * is_hidden.sum()
    curves, status = session.curves(), session.status()
    assert curves.series == () and curves.marks == ()
    assert (status.state, status.epoch, status.step) == ("latent", None, None)
    assert not any([status.can.start, status.can.pause, status.can.resume, status.can.stop])
    assert any("Nothing is trained here" in note and "X_scVI" in note for note in status.notes)


def test_predictions_come_from_the_labels_and_the_latent_alone(session, adata):
    shown = session.latent_map()
    named = [shown.predicted_names[code] for code in shown.predicted]
    truth = adata.obs["cell_type"].to_numpy()[shown.cell]
    known = np.isin(truth.astype(str), shown.label_names)
    assert np.mean(np.asarray(named)[known] == truth[known]) > 0.98


def test_markers_of_a_flag_are_its_own_genes(session):
    # Type 3 has 25 genes of twelve times the mean: GENE75 to GENE99.
    [flag] = session.board.flags
    assert flag.judged.higher and all(75 <= int(gene[4:]) < 100 for gene in flag.judged.higher)


def test_a_flags_card_has_what_is_measured_of_its_cells_beside_the_nearest_types(session, adata):
    [flag], [view] = session.board.flags, session.board.flag_list().flags
    measures = {measure.name: measure for measure in view.measures}
    assert measures["depth"].flag == np.median(np.asarray(adata.X.sum(axis=1)).ravel()[flag.rows])
    assert measures["depth"].low < measures["depth"].usual < measures["depth"].high
    assert 0 <= measures["doublet score"].flag <= 1 and np.isnan(measures["mitochondrial share"].flag)


def test_a_page_without_a_path_goes_into_the_working_directory_under_the_name_of_what_is_shown(cells, tmp_path):
    cells.write_h5ad(tmp_path / "patient.h5ad")
    backed = anndata.read_h5ad(tmp_path / "patient.h5ad", backed="r")
    view = LiveView(backed, basis="X_flat", journal="hand")
    try:
        assert view.to_html().resolve() == tmp_path / "patient-report.html"
        # A page that names nothing is not named after it either.
        assert view.to_html(anonymise=True).resolve() == tmp_path / "livelatent-report.html"
        first = (tmp_path / "patient-report.html").read_text("utf8")
        assert "livelatent-state" in first and "patient.h5ad" in first
        (tmp_path / "patient-report.html").write_text("an earlier page")
        assert "livelatent-state" in view.to_html().read_text("utf8")
    finally:
        view.close()
        backed.file.close()


def test_cells_outside_the_panel_are_called_what_they_are_called_on_it(cells):
    # Types lie side by side along one axis and reach far along another: by the nearest prototype many would be amiss.
    kind = pd.Categorical(cells.obs["cell_type"].astype(object).fillna("unassigned")).codes
    random = np.random.default_rng(2)
    far = random.normal(size=(cells.n_obs, 1)) * 20 * (1 + kind[:, None])
    cells.obsm["X_long"] = np.hstack([kind[:, None] + random.normal(size=(cells.n_obs, 1)) * 0.1, far, far * 0])
    called = []
    for n_cells in (90, 20_000):
        session = LiveSession(GivenLatent(AnnDataAtlas(cells, label="cell_type"), "X_long"), panel_cells=n_cells)
        session.settle(timeout_s=0.0)
        assert (len(session.latent_map().cell) == 370) == (n_cells > 370)
        session.place_all()
        shown = session.latent_map()
        called.append({cell: shown.predicted_names[at] for cell, at in zip(shown.cell, shown.predicted, strict=True)})
        by_prototype = [session.sight.look.predicted.names[at] for at in session.sight.look.predicted.code]
        session.close()
    assert called[0] == called[1] and len(called[0]) == 370
    cell = session.sight.look.panel.cell
    assert np.mean([called[0][one] == other for one, other in zip(cell, by_prototype, strict=True)]) < 0.9


COLOURS = ["#1F77B4", "red", "#2ca02c", (0.0, 0.0, 0.0), "#9467bd"]


def coloured(cells, colours=COLOURS):
    """The colours are those of the categories in their own order, which is not the alphabet's."""
    order = ["monocyte", "unassigned", "T cell", HIDDEN, "B cell"]
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.reorder_categories(order)
    cells.uns["cell_type_colors"] = colours
    return cells


def test_the_datas_own_colours_are_those_of_its_types_and_of_any_column(cells):
    cells = coloured(cells)
    cells.uns["donor_colors"] = np.array(["#111111", "#222222", "#333333"])  # one more than there are donors
    atlas = AnnDataAtlas(cells, label="cell_type", batch="donor", unlabelled=["unassigned", HIDDEN])
    session = LiveSession(GivenLatent(atlas, "X_flat"))
    session.settle(timeout_s=0.0)
    shown = session.latent_map()
    assert shown.label_names == ("B cell", "T cell", "monocyte")
    assert shown.label_colours == ("#9467bd", "#2ca02c", "#1f77b4") and shown.batch_colours == ("#111111", "#222222")
    made = session.values
    made.fetch("obs", "cell_type")
    until(lambda: made.held.state == "ready")
    assert dict(zip(made.held.names, made.held.colours, strict=True))["unassigned"] == "#ff0000"
    [sent] = [
        frame for frame in encode_sync(session.topics(), view="v", seq=1).content["frames"] if frame["kind"] == "map"
    ]
    assert tuple(sent["label_colours"]) == shown.label_colours
    session.close()


@pytest.mark.parametrize(
    "colours",
    [
        COLOURS[:4],
        ["</script><script>alert(1)</script>", *COLOURS[1:]],
        ["none", *COLOURS[1:]],
        ["#12345", *COLOURS[1:]],
        [None, *COLOURS[1:]],
        [(9.0, 0, 0), *COLOURS[1:]],
        [(float("nan"), 0, 0), *COLOURS[1:]],
        [(10**400, 0, 0), *COLOURS[1:]],
        [(1j, 0, 0), *COLOURS[1:]],
        ["x" * 10_000_000, *COLOURS[1:]],
        "red",
        {"B cell": "red"},
        np.array("red"),
        7,
    ],
    ids=lambda colours: repr(colours)[:12],
)
def test_what_are_no_colours_is_not_taken(cells, colours):
    assert AnnDataAtlas(coloured(cells, colours), label="cell_type").colours_of("cell_type") == {}


def test_what_are_no_colours_leaves_ours(cells):
    told = coloured(cells, ["</script><script>alert(1)</script>", *COLOURS[1:]])
    session = LiveSession(GivenLatent(AnnDataAtlas(told, label="cell_type"), "X_flat"))
    session.settle(timeout_s=0.0)
    assert session.latent_map().label_colours == ()
    session.close()


def test_a_column_without_categories_has_no_colours(cells):
    cells.obs["cell_type"] = cells.obs["cell_type"].astype(object)
    cells.uns["cell_type_colors"] = COLOURS
    assert AnnDataAtlas(cells, label="cell_type").colours_of("cell_type") == {}


def test_labels_are_written_with_the_colours_of_their_types_and_another_for_each_new_name(cells, tmp_path):
    atlas = AnnDataAtlas(coloured(cells), label="cell_type", journal=tmp_path / "hand")
    atlas.labels.label([0, 1], "aardvark cell")
    atlas.write_labels()
    of = dict(zip(cells.obs["livelatent_label"].cat.categories, cells.uns["livelatent_label_colors"], strict=True))
    assert of["B cell"] == "#9467bd" and of["monocyte"] == "#1f77b4" and len(set(of.values())) == len(of) == 6
    atlas.labels.label([2], "another")
    atlas.write_labels()
    after = dict(zip(cells.obs["livelatent_label"].cat.categories, cells.uns["livelatent_label_colors"], strict=True))
    assert after | of == after and len(after) == 7  # a name keeps its colour
    atlas.labels.close()


def test_genes_of_the_cycle_given_to_the_view_are_read_in_its_flags(cells):
    genes = list(cells.var_names)
    # The hidden type's own markers as genes of S: its cells then all divide.
    cycle = {"S": genes[75:95], "G2M": genes[230:245]}
    view = LiveView(
        cells, basis="X_scVI", label="cell_type", unlabelled=["unassigned", HIDDEN], journal="hand", cell_cycle=cycle
    )
    try:
        view.session.settle(timeout_s=0.0)
        [shown] = view.session.board.flag_list().flags
        assert dict(shown.phases)["S"] > 0.9 and "in S or G2M" in shown.reason
    finally:
        view.close()
    with pytest.raises(SourceError, match=r"gene sets named S .* and G2M"):
        LiveView(cells, basis="X_scVI", label="cell_type", cell_cycle={"S": ["a"]})


def test_a_browser_is_told_that_nothing_trains_here(session):
    answer = session.answer("1", "start", {})
    assert not answer.ok and "nothing to train" in answer.error


def test_names_are_safe_on_disk_beside_a_backed_file_and_survive_it_being_opened_again(cells, tmp_path):
    cells.write_h5ad(tmp_path / "patient.h5ad")
    for names in ([], ["rare", "rare"]):
        backed = anndata.read_h5ad(tmp_path / "patient.h5ad", backed="r")
        atlas = AnnDataAtlas(backed, label="cell_type")
        assert list(filter(None, atlas.labels.current())) == names
        session = LiveSession(GivenLatent(atlas, "X_scVI"))
        assert session.status().journal == "patient.h5ad.labels"
        if not names:
            session.label([3, 17], "rare")
        atlas.labels.close()
        backed.file.close()
    assert (tmp_path / "patient.h5ad.labels" / "journal.jsonl").exists()


def test_backed_and_in_memory_give_the_same_counts(cells, tmp_path):
    cells.write_h5ad(tmp_path / "patient.h5ad")
    backed = anndata.read_h5ad(tmp_path / "patient.h5ad", backed="r")
    rows = np.array([0, 5, 6, 200, 369])
    one, other = AnnDataAtlas(backed), AnnDataAtlas(cells)
    assert (one.read_cells(rows) != other.read_cells(rows)).nnz == 0
    assert (one.read_cells(rows).toarray() == cells.X[rows].toarray()).all()
    assert one.total.tolist() == np.asarray(cells.X.sum(axis=1)).ravel().tolist()
    backed.file.close()


def test_in_memory_names_go_to_a_folder_of_the_working_directory_named_by_its_cells(cells, tmp_path):
    atlas = AnnDataAtlas(cells, label="cell_type")
    session = LiveSession(GivenLatent(atlas, "X_scVI"))
    assert os.listdir(tmp_path) == []
    session.label([1], "x")
    atlas.labels.close()
    [folder] = tmp_path.iterdir()
    assert folder.name == session.status().journal and folder.name.startswith("memory-")
    # Another object with the same cells finds them; other cells do not.
    assert AnnDataAtlas(cells.copy(), label="cell_type").labels.current()[1] == "x"
    assert not any(AnnDataAtlas(cells[:100].copy(), label="cell_type").labels.current())


def test_labels_go_into_a_new_column_and_never_over_one_that_came_with_the_data(cells, tmp_path):
    atlas = AnnDataAtlas(cells, label="cell_type", journal=tmp_path / "hand")
    atlas.labels.label([0, 1], "mine")
    before = cells.obs["cell_type"].copy()
    atlas.write_labels()
    atlas.labels.label([2], "another")
    atlas.write_labels()
    assert cells.obs["livelatent_label"].tolist()[:3] == ["mine", "mine", "another"]
    assert cells.obs["livelatent_label"].iloc[8] == before.iloc[8]
    with pytest.raises(ColumnError, match="came with the data"):
        atlas.write_labels("cell_type")
    assert cells.obs["cell_type"].equals(before)
    atlas.labels.close()


def test_a_basis_of_two_dimensions_is_the_map_itself(cells):
    session = LiveSession(GivenLatent(AnnDataAtlas(cells), "X_flat"))
    session.settle(timeout_s=0.0)
    assert np.allclose(session.latent_map().xy, cells.obsm["X_flat"])
    assert session.status().alarms == ()


def test_without_a_label_there_are_no_flags_and_the_view_says_so(cells):
    session = LiveSession(GivenLatent(AnnDataAtlas(cells), "X_scVI"))
    session.settle(timeout_s=0.0)
    assert session.board.flags == () and session.prototypes().names == ()
    assert any("no flags" in note for note in session.status().notes)


def test_logs_are_taken_as_logs_and_scaled_values_as_no_expression(cells):
    from livelatent.judge.expression import log_genes

    logs = sparse.csr_matrix(np.log1p(cells.X.toarray() / 3))
    scaled = anndata.AnnData(cells.X.toarray() - 1.0, obs=cells.obs, var=cells.var)
    cells.X = logs
    atlas = AnnDataAtlas(cells)
    x = log_genes(atlas, np.arange(4), np.arange(atlas.n_genes), atlas.mean_total)
    assert np.allclose(x.toarray(), logs[:4].toarray(), atol=1e-6)
    assert AnnDataAtlas(scaled).n_genes == 0
    cells.layers["counts"] = sparse.csr_matrix(np.rint(np.expm1(logs.toarray()) * 3))
    assert AnnDataAtlas(cells).mean_total > 50
    with pytest.raises(CountsError, match=r"no matrix 'spliced'.*counts"):
        AnnDataAtlas(cells, counts="spliced")


def test_an_argument_that_is_not_for_what_is_shown_is_named(cells, own_atlas):
    latent = GivenLatent(AnnDataAtlas(cells), "X_scVI")
    with pytest.raises(NothingToSeeError, match=r"^`basis`, `unlabelled`: .* A GivenLatent knows its own"):
        opened(latent, "X_scVI", unlabelled=["unassigned"])
    for said in ({"label": "cell_type"}, {"unlabelled": ["x"]}, {"counts": "X"}, {"batch": "d", "journal": "here"}):
        named = ", ".join(f"`{name}`" for name in said)
        with pytest.raises(NothingToSeeError, match=rf"^{named}: for an AnnData only\. An Atlas has"):
            opened(own_atlas, "X_mine", **said)
    with pytest.raises(NothingToSeeError, match=r"^`query`: for a Run only"):
        LiveView(cells, query=own_atlas, basis="X_scVI")
    with pytest.raises(NothingToSeeError, match=r"an AnnData or an Atlas can be shown; got DataFrame"):
        shown_cells(cells.obs)


def test_each_unfit_latent_is_refused_in_one_sentence_that_says_what_to_do(cells):
    with pytest.raises(ColumnError, match=r'obsm has no "X_scvi". Did you mean \'X_scVI\'\?'):
        GivenLatent(AnnDataAtlas(cells), "X_scvi")
    with pytest.raises(ColumnError, match=r"which latent is to be shown\?.*X_scVI"):
        opened(cells, None)
    with pytest.raises(ColumnError, match='obs has no "celltype"'):
        AnnDataAtlas(cells, label="celltype")
    with pytest.raises(SourceError, match="at least two cells"):
        GivenLatent(AnnDataAtlas(cells[:1].copy()), "X_scVI")
    with pytest.raises(SourceError, match="no cells"):
        AnnDataAtlas(cells[:0].copy())
    holed = cells.copy()
    holed.obsm["X_scVI"][[4, 9], 2] = [np.nan, np.inf]
    with pytest.raises(SourceError, match=r"2 of 370 cells.*row 4, cell4"):
        GivenLatent(AnnDataAtlas(holed), "X_scVI")
    twice = cells.copy()
    twice.obs_names = [*twice.obs_names[:-1], "cell0"]
    with pytest.raises(SourceError, match=r"1 obs names.*cell0.*obs_names_make_unique"):
        AnnDataAtlas(twice)
    cells.obsm["X_sparse"] = sparse.csr_matrix(cells.obsm["X_flat"])
    with pytest.raises(ColumnError, match="sparse"):
        GivenLatent(AnnDataAtlas(cells), "X_sparse")
    with pytest.raises(StoreError, match="Ingest it"):
        AnnDataAtlas(cells).matrix()


def test_a_store_with_a_latent_in_obsm_can_be_looked_at_as_it_is(own_atlas):
    random = np.random.default_rng(0)
    vectors = np.eye(5)[np.maximum(own_atlas.label, 0)] * 9 + random.normal(size=(own_atlas.n_cells, 5))
    own_atlas.write_obsm("X_mine", vectors.astype(np.float32))
    session = LiveSession(opened(own_atlas, "X_mine"))
    session.settle(timeout_s=0.0)
    assert len(session.latent_map().cell) == own_atlas.n_cells
    assert session.status().journal == "tiny.labels"


def test_an_anndata_that_was_filtered_meanwhile_gives_no_other_cells_columns(tmp_path):
    adata = anndata.AnnData(
        np.ones((4, 2), np.float32), obs=pd.DataFrame({"donor": list("abcd")}, index=["w", "x", "y", "z"])
    )
    atlas = AnnDataAtlas(adata, journal=tmp_path / "labels")
    assert list(atlas.obs["donor"]) == list("abcd")
    adata._inplace_subset_obs([0, 2, 3])
    with pytest.raises(StoreError, match=r"4 cells then, 3 now.*Open it anew"):
        _ = atlas.obs


def test_two_data_sets_of_numbered_cells_do_not_share_their_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, other = (AnnDataAtlas(anndata.AnnData(np.full((4, 2), value, np.float32))) for value in (1, 2))
    one.labels.label([0], "mine")
    assert other.labels.entries == () and other.labels.folder != one.labels.folder
    again = AnnDataAtlas(anndata.AnnData(np.full((4, 2), 1, np.float32)))
    assert again.labels.current()[0] == "mine"
    one.labels.close()


@pytest.mark.parametrize("what", ["1", [1.7], ["AAAC"], [True, False], [[1, 2]]], ids=str)
def test_what_are_neither_rows_nor_a_mask_names_no_cell(cells, what):
    session = LiveSession(GivenLatent(AnnDataAtlas(cells, label="cell_type"), "X_flat"))
    with pytest.raises(LabelError, match="Nothing was named"):
        session.label(what, "WRONG")
    with pytest.raises(LabelError, match="Flags shown now: none yet"):
        session.label(7, "WRONG")
    assert session.atlas.labels.entries == ()
    session.close()


def test_a_query_of_a_latent_that_was_given_is_refused_by_name(cells):
    with pytest.raises(NothingToSeeError, match="`query`: for a Run only"):
        LiveView(cells, cells, basis="X_flat", label="cell_type")


def test_a_picture_is_a_png_by_its_name_too(cells, tmp_path):
    session = LiveSession(GivenLatent(AnnDataAtlas(cells, label="cell_type"), "X_flat"))
    with pytest.raises(ValueError, match=r"x\.pdf: the picture is a PNG"):
        write_picture(session, tmp_path / "x.pdf")
    assert not (tmp_path / "x.pdf").exists()
    session.close()
