"""Cases of parametrized tests."""

from typing import Any

import pytest


def slow(*cases: Any) -> list[Any]:
    """Return cases that only `make test-slow` runs; a tuple has an entry for each argument."""
    arguments = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*case, marks=pytest.mark.slow) for case in arguments]
