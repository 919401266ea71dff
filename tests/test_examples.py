"""Examples in docstrings give the results that they show."""

import doctest
import importlib

import pytest

from tools.paths import ROOT

PACKAGES = (
    "credit_risk",
    "model_deployment",
    "model_orchestration_and_tracking",
    "monitoring",
    "tools",
    "benchmarks",
)
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "tests" not in path.relative_to(ROOT).parts and ">>> " in path.read_text()
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_give_the_results_shown(module, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = doctest.testmod(importlib.import_module(module))
    assert not found.failed
