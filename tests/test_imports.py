"""What `import livelatent` brings with it."""

import subprocess
import sys

import pytest

import livelatent

HEAVY = ("scanpy", "umap", "numba", "sklearn", "IPython", "lightning")


def test_import_brings_none_of_the_heavy_libraries():
    code = f"import sys, livelatent; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "[]"


def test_the_command_line_help_brings_none_of_them_either():
    code = f"import sys, livelatent.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "[]"


@pytest.mark.parametrize("name", [name for name in livelatent.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_says_what_it_is(name):
    assert getattr(livelatent, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = livelatent.Nonsense
