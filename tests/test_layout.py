"""The layout of the packages: imports between folders, and the sizes of folders and modules."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tools.paths import ROOT

SHARED = "credit_risk"
SERVICES = ("model_deployment", "model_orchestration_and_tracking", "monitoring")
TOOLS = "tools"
PACKAGES = (SHARED, *SERVICES, TOOLS)
MAX_MODULES = 13  # in a folder, without __init__
MAX_LINES = 400


def modules(package: str) -> list[Path]:
    """Return a package's modules, without its tests."""
    return [
        path
        for path in sorted((ROOT / package).rglob("*.py"))
        if "tests" not in path.relative_to(ROOT).parts
    ]


def imported(module: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, also within its functions."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder_of(name: str) -> str:
    """Return the folder of a dotted name, or the module itself if it is not in a folder.

    A folder and those within it count as one: `decision_log` and its `chains` know each other.
    """
    parts = name.split(".")
    return ".".join(parts[:2])


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_do_not_import_each_other_in_a_circle(package):
    graph: dict[str, set[str]] = {}
    for module in modules(package):
        here = folder_of(".".join(module.relative_to(ROOT).with_suffix("").parts))
        theirs = {folder_of(name) for name in imported(module) if name.startswith(f"{package}.")}
        graph.setdefault(here, set()).update(theirs - {here})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("package", [SHARED, *SERVICES])
def test_services_import_credit_risk_and_never_each_other(package):
    allowed = {package, SHARED}
    for module in modules(package):
        foreign = {name.split(".")[0] for name in imported(module)} & {*PACKAGES} - allowed
        assert not foreign, f"{module.relative_to(ROOT)} imports {', '.join(foreign)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_and_modules_stay_small(package):
    folders: dict[Path, int] = {}
    for module in modules(package):
        lines = len(module.read_text().splitlines())
        assert lines <= MAX_LINES, f"{module.relative_to(ROOT)} has {lines} lines"
        if module.name != "__init__.py":
            folders[module.parent] = folders.get(module.parent, 0) + 1
    crowded = {str(folder.relative_to(ROOT)): n for folder, n in folders.items() if n > MAX_MODULES}
    assert not crowded


def test_tests_import_from_no_conftest_and_from_no_other_test():
    for module in sorted(ROOT.rglob("test_*.py")) + sorted(ROOT.rglob("conftest.py")):
        if ".venv" in module.parts:
            continue
        relative = [
            node for node in ast.walk(ast.parse(module.read_text())) if getattr(node, "level", 0)
        ]
        assert not relative, f"{module.relative_to(ROOT)} imports by a relative name"
        others = {name for name in imported(module) if "conftest" in name or ".tests." in name}
        assert not others, f"{module.relative_to(ROOT)} imports {', '.join(sorted(others))}"
