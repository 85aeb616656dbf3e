import importlib
import sys

import pytest

from livelatent.compiled import keep_compiled

KERNEL = """
import numba

@numba.njit
def doubled(number):
    return 2 * number
"""


@pytest.fixture
def fresh_import(tmp_path, monkeypatch):
    """Import a little package as another process would: nothing of it is left from the last time."""
    package = tmp_path / "kernels_of_others"
    package.mkdir()
    (package / "__init__.py").write_text("from kernels_of_others import inner")
    (package / "inner.py").write_text(KERNEL)
    monkeypatch.syspath_prepend(tmp_path)

    def forget():
        for name in [name for name in sys.modules if name.startswith("kernels_of_others")]:
            del sys.modules[name]

    def load():
        forget()
        return importlib.import_module("kernels_of_others").inner.doubled

    yield load
    forget()


def test_another_process_finds_the_machine_code_of_the_first(fresh_import):
    found = []
    for _ in range(2):
        doubled = fresh_import()
        keep_compiled("kernels_of_others")
        assert doubled(21) == 42
        found.append((sum(doubled.stats.cache_misses.values()), sum(doubled.stats.cache_hits.values())))
    assert found == [(1, 0), (0, 1)]
