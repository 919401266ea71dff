"""Cases of parametrized tests."""

from collections.abc import Iterable
from typing import Any

import pytest


def slow(*cases: Any) -> list[Any]:
    """Return cases that only `make test-slow` runs; a tuple has an entry for each argument."""
    return _marked(pytest.mark.slow, cases)


def nightly(*cases: Any) -> list[Any]:
    """Return cases that only `make test-nightly` runs; a tuple has an entry for each argument."""
    return _marked(pytest.mark.nightly, cases)


def _marked(mark: pytest.MarkDecorator, cases: Iterable[Any]) -> list[Any]:
    arguments = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*case, marks=mark) for case in arguments]
