"""A decision log on each of its stores, and a registry on a real MLflow."""

import sys

import mlflow
import pytest

from credit_risk.decision_log import codec
from credit_risk.decision_log.log import open_log
from credit_risk.registry.logged import log_scorer
from credit_risk.registry.registry import REFERENCE_FILE, Registry
from credit_risk.scoring.model import CreditScorer
from tests.support.german_credit import NAMES, read_training


@pytest.fixture(scope="module", autouse=True)
def path():
    """Keep what MLflow puts into `sys.path`, each model's code, from the tests that come after."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(params=["sqlite + folder", "mongodb + bucket"])
def stores(request, settings, on_servers):
    return settings if request.param == "sqlite + folder" else on_servers(settings)


@pytest.fixture
def log(stores):
    return open_log(stores)


@pytest.fixture(scope="module")
def client_frame():
    return read_training("data/credit-g.csv")


@pytest.fixture(scope="module")
def scorer(client_frame):
    return CreditScorer(num_boost_round=10).fit(client_frame, client_frame["class"])


@pytest.fixture
def registry(mlflow_server, request):
    return Registry(mlflow_server, f"test-{request.node.name}")


@pytest.fixture(scope="module")
def logged(mlflow_server, scorer, client_frame):
    mlflow.set_tracking_uri(mlflow_server)
    mlflow.set_experiment("tests")
    with mlflow.start_run() as run:
        return run.info.run_id, log_scorer(scorer, client_frame[list(NAMES)].head(3))


@pytest.fixture
def register(registry, logged):
    run_id, uri = logged
    return lambda **tags: registry.register(run_id, uri, tags)


@pytest.fixture
def logged_with_reference(mlflow_server, scorer, client_frame, tmp_path):
    """A run of the test's own, whose files it may change, and its model."""
    mlflow.set_tracking_uri(mlflow_server)
    mlflow.set_experiment("tests")
    reference = tmp_path / REFERENCE_FILE
    client_frame.head(3).assign(risk=0.1).to_parquet(reference, index=False)
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(reference))
        return run.info.run_id, log_scorer(scorer, client_frame[list(NAMES)].head(3))


# Where decisions are stored, with what makes even small batches be stored there.
FORMS = {
    "inline": {},
    "documents": {"MAX_INLINE": 0},
    "parquet": {"MAX_DOCUMENTS": 1},
}


@pytest.fixture(params=FORMS)
def form(request, monkeypatch) -> str:
    """Where the decisions of the test's batches are stored."""
    for name, most in FORMS[request.param].items():
        monkeypatch.setattr(codec, name, most)
    return str(request.param)
