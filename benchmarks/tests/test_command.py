"""The benchmark of the command: all of it runs, and both sides decide alike."""

import pandas as pd
import pytest

from benchmarks import command, scoring
from benchmarks.command import main


@pytest.mark.slow
def test_command_benchmark_runs(capsys, monkeypatch):
    compared, results = command.compared, []

    def kept(folder, *arguments):
        lines = compared(folder, *arguments)
        results.append([pd.read_csv(folder / f"{name}.csv") for name in ("baseline", "result")])
        return lines

    monkeypatch.setattr(command, "compared", kept)
    few = scoring.scorers()["250 trees"]
    monkeypatch.setattr(scoring, "scorers", lambda: {"250 trees": few})

    assert main(["--rows", "300", "--rounds", "1"]) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header == "| command | baseline | ours | ours / baseline |"
    assert [line.split(" | ")[0] for line in lines] == [
        "| 200 clients, 250 trees",
        "| 300 clients, 250 trees",
    ]
    ((baseline, ours),) = results
    assert (baseline["prediction"] == ours["prediction"]).all()
    assert baseline["risk"].to_numpy() == pytest.approx(ours["risk"].to_numpy(), abs=1e-6)
