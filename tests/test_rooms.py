"""The rooms' arrows, read from the imports (docs/contracts.md): nothing points back."""

import ast
import re
from pathlib import Path

import pytest

import livelatent

ROOT = Path(livelatent.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
GROUND = {"arrays", "atomic", "compiled", "errors", "extras", "palette", "paths", "progress", "threads", "__version__"}
MAY_IMPORT = {
    "atlas": set(),
    "stream": {"atlas"},
    # Of train, what a model says of its training: these files import nothing else of ours.
    "models": {"atlas", "stream", "train.stage", "train.schedule"},
    "train": {"atlas", "stream", "models"},
    "judge": {"atlas", "stream", "models", "train"},
    "session": {"atlas", "stream", "models", "train", "judge"},
    "widget": {"atlas", "stream", "models", "train", "judge", "session"},
}
SCRATCH = {"atlas/building/scratch.py", "atlas/building/tables.py", "atlas/sources/csc.py"}
"""Write files of their own work folder, which a crash leaves to the next call; nothing there was acknowledged."""


def imported(tree: ast.AST) -> set[str]:
    """Dotted names of all modules imported anywhere in a file, in functions too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_those_before_it(room):
    allowed = MAY_IMPORT[room] | {room} | GROUND
    found = set()
    for path in (ROOT / room).rglob("*.py"):
        for name in imported(parsed(path)):
            parts = name.split(".")
            if parts[0] == "livelatent" and len(parts) > 1 and not {parts[1], ".".join(parts[1:3])} & allowed:
                found.add((path.name, name))
    assert found == set()


def test_what_models_take_from_train_imports_nothing_else_of_ours():
    of_ours = {
        name
        for file in ("stage.py", "schedule.py")
        for name in imported(parsed(ROOT / "train" / file))
        if name.startswith("livelatent")
    }
    assert of_ours == {"livelatent.train.schedule", "livelatent.train.schedule.Schedule"}


def test_nothing_but_the_shells_imports_the_widget():
    users = [
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if path.parent.name != "widget" and any(name.startswith("livelatent.widget") for name in imported(parsed(path)))
    ]
    assert set(users) <= {"__init__.py", "cli/report.py", "demo.py"}


@pytest.mark.parametrize(
    ("library", "homes"),
    [("dask", {"atlas", "stream"}), ("distributed", set()), ("anywidget", {"widget"}), ("IPython", {"widget"})],
)
def test_a_library_stays_in_its_rooms(library, homes):
    users = {
        path.relative_to(ROOT).parts[0]
        for path in FILES
        if any(name.split(".")[0] == library for name in imported(parsed(path)))
    }
    assert users <= homes


def test_files_are_written_through_atomic_only():
    found = []
    for path in FILES:
        where = path.relative_to(ROOT).as_posix()
        if where == "atomic.py" or where in SCRATCH:
            continue
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            opens = called == "open" and len(node.args) > 1 and set(ast.literal_eval(node.args[1])) & set("wax+")
            writes = called.endswith((".write_text", ".write_bytes", ".tofile")) and not called.startswith("atomic.")
            if opens or writes:
                found.append(f"{where}:{node.lineno} {called}")
    assert found == []


@pytest.mark.parametrize(
    "page", sorted({name for path in FILES for name in re.findall(r"[\w/.]+\.md\b", path.read_text())})
)
def test_a_page_that_the_code_cites_is_one_that_a_reader_has(page):
    # In the repository, or a placeholder for a file of the user's own.
    assert (ROOT.parents[1] / page).is_file() or page == ".md"
