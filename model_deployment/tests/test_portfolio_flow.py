"""The flow that scores a portfolio, run under a real Prefect API."""

import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.registry.registry import Registry
from model_deployment.portfolio.flow import batch_score
from tests.support.cases import slow
from tests.support.riskometer import register_version
from tests.support.services import put_in_service
from tools.stack.local_stack import variables

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("prefect_api")]
NAME = "portfolio-flow"


@pytest.fixture(scope="module")
def version(mlflow_server, scorers):
    return register_version(mlflow_server, NAME, scorers[0])


@pytest.fixture
def folder(settings, mlflow_server, version, tmp_path, monkeypatch):
    """The folder of portfolios; settings come from the environment, as in a worker's run."""
    put_in_service(Registry(mlflow_server, NAME), open_log(settings), version)
    given = {"mlflow_tracking_uri": mlflow_server, "model_name": NAME}
    given["portfolio_folder"] = str(tmp_path / "portfolios")
    for name, value in variables(settings.model_copy(update=given)).items():
        if name != "PREFECT_API_URL":
            monkeypatch.setenv(name, value)
    (tmp_path / "portfolios").mkdir()
    return tmp_path / "portfolios"


def test_flow_scores_a_portfolio_and_says_so(folder, settings, client_rows, as_csv):
    (folder / "book.csv").write_text(as_csv(client_rows[:30]))
    state = batch_score("book.csv", "scored", part_rows=20, return_state=True)
    assert state.is_completed(), state.message
    assert f"30 scored by version {1}" in state.message
    assert [b.n_decided for b in open_log(settings).batches(kinds=("portfolio",))] == [20, 10]
    assert (folder / "scored" / "manifest.json").is_file()
    again = batch_score("book.csv", "scored", part_rows=20, return_state=True)
    assert again.message == state.message


@pytest.mark.parametrize("name", ["../outside.csv", *slow("/etc/passwd.csv", "")])
@pytest.mark.parametrize("place", ["input", "output"])
def test_flow_reads_and_writes_nowhere_else(folder, client_rows, as_csv, name, place):
    (folder / "book.csv").write_text(as_csv(client_rows[:3]))
    (folder.parent / "outside.csv").write_text(as_csv(client_rows[:3]))
    order = {"input": "book.csv", "output": "scored"} | {place: name}
    state = batch_score(**order, return_state=True)
    assert state.is_failed()
    assert f"{name!r} is not the name of something below {folder}" in state.message
    assert not (folder / "scored").exists()
