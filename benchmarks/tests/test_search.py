"""The benchmark of the search runs, and ours is about as accurate as the baseline."""

import re

import pytest

from benchmarks.models.search import measure
from benchmarks.scenarios import SMOKE


@pytest.mark.nightly
def test_the_search_is_faster_and_about_as_accurate():
    nested, rounds = measure(None, SMOKE)
    ours, baseline = (float(value) for value in re.findall(r"0\.[0-9]+", nested.note))
    assert ours > baseline - 0.03
    assert rounds.ratio.median > 5
