"""A portfolio enters no figure on applications: each is the same before and after it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import mlflow
import pandas as pd
import pytest

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import Batch, BatchRecord, Kind, summary_schema
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import ingest
from credit_risk.registry.logged import log_scorer
from credit_risk.registry.registry import REFERENCE_FILE, Registry
from credit_risk.schema.attributes import GREEN, LABEL
from credit_risk.scoring.model import CreditScorer
from credit_risk.settings import Settings
from credit_risk.training_data.outcome_maturation import matured
from monitoring.drift.window import read_window
from monitoring.exporter.collector import Collector, evidently
from tests.support import outcomes
from tests.support.german_credit import (
    GERMAN_CREDIT,
    NAMES,
    Validator,
    encode,
    read_training,
    split,
)
from tests.support.services import put_in_service
from tools.paths import ROOT

TODAY = datetime.now(UTC)
LONG_AGO = TODAY - timedelta(days=430)


@dataclass(frozen=True)
class Model:
    """A version that serves, what it was trained on, clients whom it never saw."""

    scorer: CreditScorer
    reference: pd.DataFrame
    strangers: pd.DataFrame


@pytest.fixture(scope="module")
def model() -> Model:
    train, strangers = split(read_training(ROOT / "data" / "credit-g.csv"))
    codes = encode(train)
    scorer = CreditScorer(num_boost_round=60).fit(codes, train[LABEL].to_numpy(str))
    reference = train[[*NAMES, LABEL]].assign(risk=scorer.risk(codes))
    return Model(scorer, reference, strangers)


@pytest.fixture(scope="module")
def registry(model, mlflow_server, tmp_path_factory) -> Registry:
    """A registry with the model as version 1, and another one as challenger."""
    path = tmp_path_factory.mktemp("reference") / REFERENCE_FILE
    model.reference.to_parquet(path, index=False)
    found = Registry(mlflow_server, "of-the-bank")
    codes, labels = encode(model.reference), model.reference[LABEL].to_numpy(str)
    other = CreditScorer(num_boost_round=30, seed=7).fit(codes[::2], labels[::2])

    mlflow.set_tracking_uri(mlflow_server)
    for scorer in (model.scorer, other):
        with mlflow.start_run() as run:
            mlflow.log_artifact(str(path))
            address = log_scorer(scorer, model.reference[list(NAMES)].head(2))
        found.register(run.info.run_id, address)
    return found


class Bank:
    """A log with a past: applications of today and of a year ago, and their outcomes."""

    def __init__(self, settings: Settings, model: Model, registry: Registry) -> None:
        self.settings = settings
        self.model = model
        self.registry = registry
        self.log = open_log(settings)
        put_in_service(registry, self.log, "1")
        for n, time in ((190, LONG_AGO), (150, TODAY)):
            applicants = model.strangers.head(n)
            self._repay(self.score(applicants, time=time, source="applications.csv"))

    def score(self, clients: pd.DataFrame, **more: Any) -> BatchRecord:
        """Score clients as the services do, and commit them."""
        applications = Validator(self.model.scorer.domain).rows(clients.to_dict("records"))
        decided = self.model.scorer.decide(applications.codes)
        return self.log.commit(
            Batch(applications, decided, "1", "digest", self.model.scorer.threshold, **more)
        )

    def score_book(self, kind: Kind) -> list[BatchRecord]:
        """Score a book in parts, one of them stored in each way, with a row that is rejected.

        Its clients have borrowed more than the applicants ask for; one part is as old as the
        oldest batch.
        """
        amount = (self.model.strangers["credit_amount"] * 2).clip(upper=18_000)
        book = self.model.strangers.assign(credit_amount=amount)
        records = []
        for part, (n, time) in enumerate(((40, LONG_AGO), (190, TODAY), (150, TODAY))):
            clients = book.head(n).assign(client_id=[f"book-{part}-{i}" for i in range(n)])
            clients.iloc[0, clients.columns.get_loc("purpose")] = "yacht"
            key = f"run-1/part-{part}"
            records.append(self.score(clients, kind=kind, time=time, idempotency_key=key))
        assert [record.stored for record in records] == ["inline", "parquet", "documents"]
        return records

    def _repay(self, record: BatchRecord) -> None:
        """Send outcomes of the clients who were accepted: every fifth defaults."""
        ids = self.log.read(record, schema=summary_schema("id", "prediction")).to_pylist()
        accepted = [row["id"] for row in ids if row["prediction"] == GREEN]
        date = min(record.time + timedelta(days=100), TODAY).date().isoformat()
        kinds = ("repaid", "repaid", "repaid", "repaid", "defaulted")
        rows = [(id, kinds[i % 5], date) for i, id in enumerate(accepted)]
        assert ingest(self.log, outcomes.text(*rows)).n_added == len(rows) > 20

    def collector(self) -> Collector:
        return Collector(self.log, self.registry, self.settings, evidently)


@pytest.fixture
def bank(settings, model, registry, monkeypatch) -> Bank:
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 180)
    return Bank(settings, model, registry)


def figures(bank: Bank, collector: Collector) -> dict[str, Any]:
    """Return every figure on applications."""
    found = collector.refresh().as_dict()
    quality = found["quality"]
    window = read_window(bank.log, bank.settings, GERMAN_CREDIT, "1", bank.model.reference)
    training = matured(bank.log, bank.settings.outcome_maturity_months)
    return {
        "decisions and acceptance": found["decisions"],
        "rejected rows": (found["rejected"], found["rejected_values"]),
        "batches": found["batches"],
        "window": found["window"],
        "drift": found["drift"],
        "drift by Evidently": found["newest"],
        "report's window": window.judge().as_dict(),
        "report's decisions": window.newest.to_csv(),
        "vintages": collector.figures.quality.vintages,
        "estimated performance": quality["estimated"],
        "shadow": quality["shadow"],
        "shadow on matured vintages": quality["observed"],
        "training": (training.cohorts, training.rows["id"].to_pylist()),
    }


def test_a_portfolio_changes_no_figure_on_applications(bank):
    running = bank.collector()
    before = figures(bank, running)
    bank.score_book("portfolio")
    assert figures(bank, running) == before
    assert figures(bank, bank.collector()) == before, "after a restart"
    assert running.figures.portfolio.n_decided == 377


def test_the_same_clients_as_applications_change_each_figure(bank):
    """So that the test before this one would notice."""
    running = bank.collector()
    before = figures(bank, running)
    bank.score_book("decision")
    after = figures(bank, running)
    assert [name for name in before if after[name] == before[name]] == []


@pytest.mark.parametrize(
    ("column", "reason"), [("client_id", "unknown_client"), ("decision_id", "portfolio")]
)
@pytest.mark.parametrize("kind", ["portfolio", "decision"])
def test_outcomes_are_joined_to_applications_only(bank, kind, column, reason):
    for record in bank.score_book(kind):
        rows = bank.log.read(record).to_pylist()
        accepted = next(row for row in rows if row["prediction"] == GREEN)
        name = accepted[column.replace("decision_id", "id")]
        taken = ingest(
            bank.log,
            outcomes.text((name, "repaid", outcomes.today()), header=(column, "outcome", "date")),
        )
        found = (taken.n_added, taken.reasons)
        assert found == ((1, {}) if kind == "decision" else (0, {(column, reason): 1}))
