"""What a run of a portfolio is planned with: the version that decides, and the files it is given.

Against a real MLflow, whose alias is moved by hand.
"""

import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.registry.registry import PRODUCTION, Registry
from credit_risk.storage.backends import open_blobs
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.plan import Order, planned
from tests.support.riskometer import register_version
from tests.support.services import put_in_service

NAME = "portfolio-plan"


@pytest.fixture(scope="module")
def versions(mlflow_server, scorers):
    """The numbers of two registered versions."""
    return [register_version(mlflow_server, NAME, scorer) for scorer in scorers[:2]]


@pytest.fixture
def registry(mlflow_server, versions):
    return Registry(mlflow_server, NAME)


@pytest.fixture
def settings(settings, mlflow_server):
    return settings.model_copy(update={"mlflow_tracking_uri": mlflow_server, "model_name": NAME})


@pytest.fixture
def book(tmp_path, client_rows, as_csv):
    """The address of a small portfolio."""
    (tmp_path / "book.csv").write_text(as_csv(client_rows[:5]))
    return str(tmp_path / "book.csv")


@pytest.fixture
def plan(settings, book, tmp_path):
    """A function that returns the plan of the book, or of another input, by settings."""

    def made(input=book, **more):
        order = Order(input, str(tmp_path / "out"))
        return planned(order, settings.model_copy(update=more))[0]

    return made


@pytest.mark.parametrize(("follow_alias", "scores"), [(False, 0), (True, 1)])
def test_an_alias_that_was_moved_scores_where_it_is_followed(
    plan, settings, registry, versions, follow_alias, scores
):
    put_in_service(registry, open_log(settings), versions[0])
    registry.set_alias(PRODUCTION, versions[1])
    run = plan(follow_alias=follow_alias).run
    assert (run.version, run.digest) == (versions[scores], registry.digest(versions[scores]))


def test_an_alias_that_is_followed_needs_no_approval(plan, registry, versions):
    registry.set_alias(PRODUCTION, versions[1])
    with pytest.raises(NotScored, match="There is no Production model"):
        plan()
    assert plan(follow_alias=True).run.version == versions[1]


def test_an_alias_on_a_version_whose_gate_failed_is_not_followed(
    plan, settings, registry, versions, scorers, mlflow_server
):
    tags = {"gate": "failed", "gate_reasons": "AUC is lower"}
    failed = register_version(mlflow_server, NAME, scorers[1], **tags)
    registry.set_alias(PRODUCTION, failed)
    with pytest.raises(NotScored, match=f"Version {failed} does not decide.*AUC is lower"):
        plan(follow_alias=True)
    put_in_service(registry, open_log(settings), versions[0])
    registry.set_alias(PRODUCTION, failed)
    assert plan(follow_alias=True).run.version == versions[0]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_in_a_bucket_is_planned_with_the_files_in_it(
    plan, settings, registry, versions, gcs_url, client_rows, as_csv, end
):
    put_in_service(registry, open_log(settings), versions[0])
    for i in range(2):
        text = as_csv(client_rows[:5])
        open_blobs(f"{gcs_url}/book.csv").put(f"part-{i}.csv", text.encode())
    parts = plan(f"{gcs_url}/book.csv{end}").parts
    assert [part.name for part in parts] == ["part-0.csv-00000", "part-1.csv-00000"]
