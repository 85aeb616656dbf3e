"""The process that is asked about HDF5 files first: it may die of them, we don't."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import anndata
import numpy as np
import pytest

from livelatent.atlas.sources import open_sources, probe
from livelatent.errors import SourceError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    anndata.AnnData(np.eye(3)).write_h5ad(tmp_path / "a.h5ad")
    return tmp_path / "a.h5ad"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A probe whose process runs a text of the test's."""

    def probe_with(text: str) -> probe.Probe:
        (tmp_path / "probe_child.py").write_text(textwrap.dedent(text))
        monkeypatch.setattr(probe, "__file__", str(tmp_path / "probe.py"))
        made = probe.Probe()
        probes.append(made)
        return made

    probes: list[probe.Probe] = []
    yield probe_with
    for made in probes:
        made.close()


def test_a_file_that_kills_the_reader_is_refused_and_the_next_one_is_read(file, asked):
    dies = asked(
        """
        import os, sys
        print("ready", flush=True)
        for line in sys.stdin:
            if "bad" in line:
                os.abort()
            print("read", flush=True)
        """
    )
    bad = file.with_name("bad.h5ad")
    bad.write_bytes(file.read_bytes())
    dies.check(file)
    with pytest.raises(SourceError, match=r"bad\.h5ad is damaged: HDF5 itself crashes"):
        dies.check(bad)
    dies.check(file)


def test_a_file_that_is_never_read_is_refused(file, asked, monkeypatch):
    monkeypatch.setattr(probe, "PATIENCE_S", 0.2)
    never = asked("import sys, time\nprint('ready', flush=True)\nsys.stdin.readline()\ntime.sleep(1000)")
    with pytest.raises(SourceError, match="never comes back"):
        never.check(file)


def test_a_process_that_has_gone_idle_is_started_anew(file, asked):
    once = asked("import sys\nprint('ready', flush=True)\nsys.stdin.readline()\nprint('read', flush=True)")
    for _ in range(3):
        once.check(file)


def test_where_none_can_be_started_files_are_read_all_the_same(file, asked):
    asked("raise SystemExit(3)").check(file)


def test_the_process_reads_attributes_and_names_and_imports_little(file):
    child = Path(probe.__file__).with_name("probe_child.py")
    text = f"import runpy, sys; runpy.run_path({str(child)!r})['read_heaps']({str(file)!r}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-P", "-c", text], capture_output=True, text=True, check=True).stdout
    assert "h5py" in loaded.split() and not {"livelatent", "anndata", "pandas"} & set(loaded.split())


def test_it_ends_with_us(file):
    text = f"""
import livelatent.atlas.sources as s
from livelatent.atlas.sources.probe import PROBE
s.open_sources({str(file)!r})
print(PROBE._child.pid)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", text], capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)
    assert open_sources(file)[0].n_cells == 3
