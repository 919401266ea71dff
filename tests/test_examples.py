"""Examples in docstrings give what they say."""

import doctest
import importlib

import pytest

from tools.local import ROOT

PACKAGES = ("credit_risk", "model_deployment", "model_orchestration_and_tracking", "monitoring", "tools", "benchmarks")
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "tests" not in path.relative_to(ROOT).parts and ">>> " in path.read_text()
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_say(module, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = doctest.testmod(importlib.import_module(module))
    assert not found.failed
