from dataclasses import replace
from pathlib import Path

import numpy as np

from livelatent.session.anonymous import anonymised, without_paths
from livelatent.session.state import CellValues, FlagList, FlagView, LatentMap, PrototypeView, Status

FLAG = FlagView(
    id=1, atlas="patient7.zarr", n_cells=3, p_value=0.01, batches=(("donor 107", 3),), nearest=(("B", 2.0),),
    higher=("MZB1",), lower=(), reason="Nearest: B (2.0 radii). All from donor 107: look for a batch effect.",
)  # fmt: skip
ONE = np.zeros(1, np.int64)
MAP = LatentMap(
    panel=1, layout=1, moved=None, age_s=0.0, n_total=1, xy=np.zeros((1, 2)), cell=ONE, is_query=ONE, label=ONE,
    predicted=ONE, batch=ONE, given=ONE - 1, p_value=np.ones(1), flag=ONE, label_names=("B",),
    batch_names=("donor 1", "donor 107"),
)  # fmt: skip


def test_an_anonymous_page_names_no_batch_file_or_cell():
    topics = [
        Status(store="smith.zarr", query="patient7.zarr", journal="smith.labels", alarms=("patient7.zarr: donor 107",)),
        MAP,
        PrototypeView(names=("B",), medoids=("smith:AAAC",), counts=(1,), radii=(1.0,)),
        FlagList(flags=(FLAG,), calibration="donor 107 is new to the model"),
    ]
    text = repr(anonymised(topics))
    for secret in ("donor", "smith", "patient7", "AAAC"):
        assert secret not in text
    assert "batch 2" in text and "'B'" in text and "MZB1" in text


def test_an_anonymous_page_drops_a_column_and_keeps_a_gene():
    donors = CellValues(by="obs", name="donor", state="ready", names=("donor 107",), values=ONE)
    gene = CellValues(by="gene", name="MZB1", state="ready", values=np.ones(1, np.float32))
    assert anonymised([donors])[0].names is None and "donor" not in repr(anonymised([donors]))
    assert anonymised([gene]) == [gene]


def test_a_message_keeps_a_files_name_and_loses_its_folder():
    status = Status(alarms=(f"{Path.home()}/secret/blood.zarr: damaged",), message="/data/lab/x.h5ad is gone")
    [got] = without_paths([status], [Path.home() / "secret", Path("/data/lab")])
    assert got.alarms == ("blood.zarr: damaged",) and got.message == "x.h5ad is gone"


def test_what_holds_no_path_stays_as_it_was():
    [got] = without_paths([replace(MAP)], [Path("/data")])
    assert got.xy is MAP.xy and got.batch_names == MAP.batch_names
