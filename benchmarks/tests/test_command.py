"""The benchmark of the command: all of it runs, and both sides decide alike."""

from dataclasses import replace

import pandas as pd
import pytest

from benchmarks.files.command import measure
from benchmarks.scenarios import SMOKE, Place

pytestmark = pytest.mark.nightly


def test_command_benchmark_runs(all_code):
    with Place.opened() as place:
        lines = list(measure(place, replace(SMOKE, rows=(300,))))
        baseline = pd.read_csv(place.path / "command" / "baseline-300.csv")
        ours = pd.read_csv(place.path / "command" / "result-300.csv")
    assert [line.scenario for line in lines] == [
        "make score, 200 clients",
        "make score, 300 clients",
    ]
    assert all(line.ratio and line.over_floor for line in lines)
    assert (baseline["prediction"] == ours["prediction"]).all()
    assert baseline["risk"].to_numpy() == pytest.approx(ours["risk"].to_numpy(), abs=1e-6)
