"""Fixtures of the tests of monitoring: clients, scorer, reference, decision log and registry.

And the services of monitoring as they run: exporter and Risk-O-Meter, a Prometheus that scrapes
them, Prefect for the flow.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
import scipy.stats
from sklearn.model_selection import StratifiedKFold

from credit_risk.decision_log.batch import Batch, BatchRecord
from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.decision_log.outcomes import OutcomeImport, ingest
from credit_risk.registry.logged import log_scorer
from credit_risk.registry.registry import REFERENCE_FILE, Registry
from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import BAD, GREEN, LABEL
from credit_risk.scoring.decisions import Decisions
from credit_risk.scoring.model import CreditScorer
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs, open_documents
from monitoring import kinds
from monitoring.reports import report_store
from monitoring.reports.report_store import LATEST, page_name
from tests.support.german_credit import NAMES, Validator, encode, read_training, split
from tests.support.processes import answers, free_port, running, wait_for
from tests.support.services import put_in_service
from tools.stack.local_stack import variables

ROOT = Path(__file__).parents[2]
# When a report of the tests was made.
REPORTED = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def clients() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test clients."""
    return split(read_training(ROOT / "data" / "credit-g.csv"))


@pytest.fixture(scope="session")
def scorer(clients) -> CreditScorer:
    train, _ = clients
    return CreditScorer(num_boost_round=60).fit(train, train[LABEL])


@pytest.fixture(scope="session")
def other(clients) -> CreditScorer:
    """A scorer other than the default one; it is less accurate."""
    train, _ = clients
    return CreditScorer(num_boost_round=15, seed=7).fit(train, train[LABEL])


@pytest.fixture(scope="session")
def reference(clients) -> pd.DataFrame:
    """The reference for drift, with out-of-fold risks as the training flow stores them."""
    train, _ = clients
    codes, labels = encode(train), train[LABEL].to_numpy(str)
    risk = np.empty(len(train))
    for fitted, held_out in StratifiedKFold(5, shuffle=True, random_state=0).split(codes, labels):
        risk[held_out] = (
            CreditScorer(num_boost_round=60)
            .fit(codes[fitted], labels[fitted])
            .risk(codes[held_out])
        )
    return train[[*NAMES, LABEL]].assign(risk=risk)


@pytest.fixture
def draw(clients) -> Callable[..., pd.DataFrame]:
    """A function that draws clients whom the scorer never saw.

    `drifted` ones ask for more and have less.
    """

    def draw_clients(
        n: int, *, drifted: bool = False, labelled: bool = False, seed: int = 0
    ) -> pd.DataFrame:
        _, test = clients
        # The test clients in random order, again and again: few repetitions, and no chance of an
        # uneven draw.
        drawn = pd.concat(
            [test.sample(frac=1, random_state=seed + i) for i in range(n // len(test) + 1)]
        ).head(n)
        if drifted:
            drawn = drawn.assign(
                credit_amount=(drawn["credit_amount"] * 2).clip(upper=18_000),
                checking_status=np.where(np.arange(n) % 3, "<0", drawn["checking_status"]),
                savings_status=np.where(np.arange(n) % 3, "<100", drawn["savings_status"]),
            )
        return drawn if labelled else drawn.drop(columns=LABEL)

    return draw_clients


@pytest.fixture
def decide(scorer) -> Callable[..., BatchRecord]:
    """A function that scores clients as the Risk-O-Meter does and commits them to a log."""

    def commit(
        log: DecisionLog, frame: pd.DataFrame, version: str = "1", **more: object
    ) -> BatchRecord:
        applications = Validator(scorer.domain).rows(frame.to_dict("records"))
        decided = scorer.decide(applications.codes)
        return log.commit(Batch(applications, decided, version, "digest", scorer.threshold, **more))

    return commit


@pytest.fixture
def decide_many(scorer, draw) -> Callable[[DecisionLog, int], BatchRecord]:
    """A function that commits one file of very many decisions, the same clients again and again."""

    def commit(log: DecisionLog, n: int) -> BatchRecord:
        some = Validator(scorer.domain).rows(draw(200).to_dict("records"))
        again = np.arange(n) % len(some)
        decided = scorer.decide(some.codes)
        many = Applications(
            dataset=some.dataset,
            codes=some.codes[again],
            rows=np.arange(n),
            client_id=[None] * n,
            label=[None] * n,
            outside=some.outside[again],
            n_rows=n,
            domain=scorer.domain,
        )
        scored = Decisions(decided.risk[again], decided.red[again], decided.confidence[again])
        return log.commit(Batch(many, scored, "1", "digest", scorer.threshold, source="many.csv"))

    return commit


@pytest.fixture
def become() -> Callable[..., OutcomeImport]:
    """A function that sends the outcomes of funded clients, given by their applications' labels."""

    def send(log: DecisionLog, record: BatchRecord, days: int = 100) -> OutcomeImport:
        table = log.read(record)
        when = (record.time + timedelta(days=days)).date()
        lines = ["decision_id,outcome,date"]
        for row in table.select(["id", "label", "prediction"]).to_pylist():
            if row["prediction"] == GREEN:
                lines.append(
                    f"{row['id']},{'defaulted' if row['label'] == BAD else 'repaid'},{when}"
                )
        return ingest(log, "\n".join(lines).encode())

    return send


@pytest.fixture
def fail_on(monkeypatch) -> Callable[[str], None]:
    """A function that makes SciPy's Kolmogorov-Smirnov test fail on a feature.

    Only Evidently uses that function.
    """
    ks_2samp = scipy.stats.ks_2samp

    def fail(feature: str) -> None:
        def test(reference, window, **more):
            if window.name == feature:
                raise RuntimeError("as the test wants it")
            return ks_2samp(reference, window, **more)

        monkeypatch.setattr(scipy.stats, "ks_2samp", test)

    return fail


@pytest.fixture
def log(settings: Settings) -> DecisionLog:
    return open_log(settings)


@pytest.fixture(scope="session")
def register(mlflow_server, clients, scorer, reference, tmp_path_factory) -> Callable[..., str]:
    """A function that stores a scorer as a new version of a model and returns its number.

    It is approved in `log`, where that is given; otherwise it is only the challenger. `other` is
    stored in place of the default scorer. All versions of a scorer belong to one run.
    """

    @cache
    def store_run(scorer: CreditScorer, with_reference: bool) -> tuple[str, str]:
        mlflow.set_tracking_uri(mlflow_server)
        with mlflow.start_run() as run:
            if with_reference:
                path = tmp_path_factory.mktemp("reference") / REFERENCE_FILE
                reference.to_parquet(path, index=False)
                mlflow.log_artifact(str(path))
            return run.info.run_id, log_scorer(scorer, clients[0][list(NAMES)].head(2))

    def store(
        name: str,
        log: DecisionLog | None = None,
        *,
        with_reference: bool = True,
        other: CreditScorer | None = None,
    ) -> str:
        registry = Registry(mlflow_server, name)
        number = registry.register(*store_run(other or scorer, with_reference)).number
        if log is not None:
            put_in_service(registry, log, number)
        return number

    return store


@pytest.fixture
def served(settings: Settings, mlflow_server, register, request) -> Settings:
    """Settings whose registry has version 1 of a model of this test alone in Production."""
    name = f"{request.path.stem}-{sha256(request.node.nodeid.encode()).hexdigest()[:16]}"
    assert register(name, open_log(settings)) == "1"
    return settings.model_copy(update={"mlflow_tracking_uri": mlflow_server, "model_name": name})


@pytest.fixture
def on_another_log(served) -> Callable[[Settings], Settings]:
    """A function that approves the served version in other settings' log too, and returns these."""

    def approve_there(settings: Settings) -> Settings:
        registry = Registry(served.mlflow_tracking_uri, served.model_name)
        put_in_service(registry, open_log(settings), "1")
        return settings

    return approve_there


@pytest.fixture
def run_report(monkeypatch) -> Callable[[Settings], Any]:
    """A function that runs the report flow as a worker does: settings come from the environment."""
    from monitoring.reports.flow import evidently_report

    def run(settings: Settings) -> Any:
        for name, value in variables(settings).items():
            if name != "PREFECT_API_URL":
                monkeypatch.setenv(name, value)
        return evidently_report(return_state=True)

    return run


@pytest.fixture
def stores(settings):
    return open_documents(settings.decision_log), open_blobs(settings.bucket)


@pytest.fixture
def put_report(stores):
    """A function that stores a report, made at some time, as the flow does; its id."""
    documents, blobs = stores

    def store(
        made: datetime = REPORTED, html: str | None = "<h1>a report</h1>", **figures: object
    ) -> str:
        name = page_name(made) if html else None
        if name:
            blobs.put(name, html.encode())
            blobs.put(LATEST, html.encode(), overwrite=True)
        id = f"01K{int(made.timestamp() * 1e6):023d}"
        drift = {"dataset_drift": True, "drifted": ["credit_amount", "risk"]}
        body = {
            "page": name,
            "model_version": "3",
            "window": {"n": 480},
            "drift": drift if name else None,
            **figures,
        }
        time = made.isoformat(timespec="microseconds")
        documents.insert(
            report_store.COLLECTION, [{"_id": id, "kind": kinds.REPORT, "time": time, "body": body}]
        )
        return id

    return store


@pytest.fixture
def serve(tmp_path) -> Callable[[Settings], AbstractContextManager[dict[str, int]]]:
    """A function that runs a real exporter and Risk-O-Meter, polling every second; ports by job."""

    @contextmanager
    def run(settings: Settings) -> Iterator[dict[str, int]]:
        ports = {"evidently-exporter": free_port(), "risk-o-meter": free_port()}
        own = {
            "exporter_port": ports["evidently-exporter"],
            "riskometer_port": ports["risk-o-meter"],
        }
        own |= {"exporter_interval_seconds": 1, "model_poll_seconds": 1}
        environment = variables(settings.model_copy(update=own))
        with (
            running(
                [sys.executable, "-m", "monitoring.exporter"],
                tmp_path / "exporter.log",
                environment,
            ),
            running(
                [sys.executable, "-m", "model_deployment.server"],
                tmp_path / "risk-o-meter.log",
                # Its alone: it makes the folder.
                environment | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "counts")},
            ),
        ):
            for url in (
                f"{ports['risk-o-meter']}/readyz",
                f"{ports['evidently-exporter']}/healthz",
            ):
                wait_for(lambda url=url: answers(f"http://127.0.0.1:{url}"), 120, url)
            yield ports

    return run


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that runs."""

    address: str

    def get(self, path: str, **parameters: object) -> Any:
        """Return its answer."""
        answer = requests.get(f"{self.address}/api/v1/{path}", params=parameters, timeout=10)
        assert answer.ok, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def ask(self, query: str, path: str = "query", **more: object) -> list[dict[str, Any]]:
        """Return the series that a query results in."""
        return list(self.get(path, query=query, **more)["result"])


@pytest.fixture
def watch(prometheus_binary, tmp_path) -> Callable[..., AbstractContextManager[Prometheus]]:
    """A function that runs a Prometheus with our configuration on jobs at their ports.

    It scrapes and evaluates rules every second. Alerts wait for as long as their rules say, or
    `at_once` not at all.
    """
    files = tmp_path / "prometheus"

    @contextmanager
    def run(
        jobs: Mapping[str, int],
        alertmanager: int | None = None,
        *,
        at_once: bool = False,
        scrape_key: str = "s" * 32,
    ) -> Iterator[Prometheus]:
        shutil.copytree(
            ROOT / "prometheus", files, ignore=shutil.ignore_patterns("targets", "alertmanagers")
        )
        targets = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"job": job}} for job, port in jobs.items()
        ]
        alertmanagers = [{"targets": [f"127.0.0.1:{alertmanager}"]}] if alertmanager else []
        for name, groups in (("targets", targets), ("alertmanagers", alertmanagers)):
            (files / name).mkdir()
            (files / name / "local.json").write_text(json.dumps(groups))
        (tmp_path / "scrape-key").write_text(scrape_key)
        _replace(files / "prometheus.yml", "/run/secrets/scrape-key", str(tmp_path / "scrape-key"))
        _replace(files / "prometheus.yml", r"_(interval|timeout): \d+s", r"_\1: 1s")
        if at_once:
            _replace(files / "rules" / "alerts.yml", r"for: \d+.", "for: 0s")
        port = free_port()
        command = [
            prometheus_binary,
            f"--config.file={files}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/tsdb",
        ]
        command += [
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=expand-external-labels",
            "--rules.alert.resend-delay=1s",  # the first may come before the Alertmanager is found
        ]
        environment = {"EXPORTER_PORT": str(jobs["evidently-exporter"])}
        with running(command, tmp_path / "prometheus.log", environment):
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/-/ready"), 30, "Prometheus")
            yield Prometheus(f"http://127.0.0.1:{port}")

    return run


def _replace(file: Path, pattern: str, by: str) -> None:
    file.write_text(re.sub(pattern, by, file.read_text()))
