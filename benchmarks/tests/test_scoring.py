"""The benchmark of scoring runs, and ours is the faster way in each of its lines."""

from dataclasses import replace

import pytest

from benchmarks.models.scoring import measure
from benchmarks.scenarios import SMOKE


@pytest.mark.slow
@pytest.mark.alone
def test_ours_scores_faster_than_lightgbm():
    lines = list(measure(None, replace(SMOKE, rows=(50_000,), rounds=5, long_rounds=3)))
    assert len(lines) == 6
    assert all(line.ratio.median > 1 for line in lines)
