"""Only data sets name attributes: the product works by what the definition says.

A text that equals the name of an attribute of German Credit would select it, and leave other data
sets without what it selects.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.german_credit import NAMES
from tools.paths import ROOT

PRODUCT = (
    "benchmarks",
    "credit_risk",
    "deploy",
    "model_deployment",
    "model_orchestration_and_tracking",
    "monitoring",
    "tools",
)
# What has such a name and is no attribute, each with the reason.
OTHER_THINGS = {
    ("monitoring/performance/quality.py", "age"): "a metric's label: months since a vintage began",
    ("monitoring/performance/vintages.py", "age"): "the months since a vintage began",
    ("tools/stack/services.py", "job"): "a container that is done when its job is",
}


def modules() -> list[Path]:
    """Return the product's modules, without tests."""
    return [
        path
        for folder in PRODUCT
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "tests" not in path.relative_to(ROOT).parts
    ]


def named(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the name wherever a program names an attribute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in NAMES:
            yield node.lineno, node.value
        # frame.assign(duration=6) selects one as well. So does frame.duration, which is not looked
        # for: service.job is written in the same way.
        elif isinstance(node, ast.keyword) and node.arg in NAMES:
            yield node.value.lineno, node.arg


def relative(module: Path) -> str:
    return module.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("module", modules(), ids=relative)
def test_no_attribute_is_named(module):
    found = [
        f"{relative(module)}:{line}: {name!r}"
        for line, name in named(module.read_text(encoding="utf-8"))
        if (relative(module), name) not in OTHER_THINGS
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("place", "reason"), OTHER_THINGS.items())
def test_each_exception_is_needed(place, reason):
    module, name = place
    assert reason
    assert name in {found for _, found in named((ROOT / module).read_text(encoding="utf-8"))}


@pytest.mark.parametrize(
    "source",
    [
        'frame["duration"]',
        'frame.assign(**{"age": 3})',
        "frame.assign(credit_amount=3)",
        'def f():\n    return [name for name in names if name != "foreign_worker"]',
    ],
)
def test_a_name_is_found_where_it_is_used(source):
    assert list(named(source))


@pytest.mark.parametrize("source", ['"""The age of clients."""', "age = 3", "f'of {age}'"])
def test_words_and_variables_are_no_names(source):
    assert not list(named(source))
