"""Send a running stack demo traffic: ordinary clients, then different ones, then a broken column.

Once before, with clients of earlier months for its log; then for a quarter of an hour:

    python -m tools.stack exec python -m tools.dashboards.demo_traffic --past
    python -m tools.stack exec python -m tools.dashboards.demo_traffic

What it sends is decided and counted like anything else, so give it its own stack (`VAR_DIR=/tmp/x
make run`). The pictures in docs/monitoring.md show such a run; panels.py draws them.
"""

import argparse
import json
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import requests

from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import ingest
from credit_risk.decision_log.overrides import override
from credit_risk.registry.in_force import in_force
from credit_risk.registry.registry import open_registry
from credit_risk.schema.attributes import BAD, GREEN, LABEL, RED
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.dataset_file import load_dataset
from credit_risk.schema.spelling.numerals import unmistakable
from credit_risk.schema.validation import Validator
from credit_risk.settings import Settings
from credit_risk.training_data.data import read_training, split
from credit_risk.training_data.source import training_source

MONTHS_AGO = (15, 14, 13)
A_MONTH = 150  # clients per month
OVERRIDES = 6  # overridden decisions per month
EVERY_SECONDS = 5
ONE_BY_ONE = 5  # clients sent as JSON each time, beside those in a file
TERM = 12  # months, where the data do not say
UNKNOWN = "no such value"


def balances_fall(
    clients: pd.DataFrame, trained: pd.DataFrame, dataset: Dataset, random: np.random.Generator
) -> pd.DataFrame:
    """Return clients who ask for more, half of whom have less of what lowers the risk.

    They ask for no more than the largest amount of those that a model was trained on. Less is the
    lowest value of a category of which more is known to mean less risk.
    """
    shifted = clients.copy()
    if dataset.amount:
        asked, most = clients[dataset.amount], trained[dataset.amount].max()
        decimals = dataset.by_name[dataset.amount].decimals
        shifted[dataset.amount] = (asked * 1.5).clip(upper=most).round(decimals).astype(asked.dtype)

    for attribute in dataset.scored_attributes:
        if attribute.categories and attribute.order == "natural" and attribute.direction == "less":
            less = random.random(len(clients)) < 0.5
            shifted[attribute.name] = clients[attribute.name].mask(less, attribute.categories[0])
    return shifted


def with_unknown_word(clients: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Return clients of whom one column, if possible a nominal category, has an unknown word."""
    scored = dataset.scored_attributes
    nominal = [a for a in scored if a.categories and a.order != "natural"]
    (broken, *_) = (*nominal, *scored)
    return clients.assign(**{broken.name: UNKNOWN})


def past(settings: Settings, clients: pd.DataFrame) -> None:
    """Write decisions of earlier months into the log, with their outcomes and a few overrides."""
    log = open_log(settings)
    registry = open_registry(settings)
    approval = in_force(registry, log, follow_alias=settings.follow_alias).approval
    assert approval is not None, "no version is in Production"
    version, digest = approval.version, approval.digest
    scorer = registry.load(version, digest)

    lines = ["decision_id,outcome,date"]
    for months in MONTHS_AGO:
        decided_at = datetime.now(UTC) - timedelta(days=30.4 * months)
        drawn = clients.sample(A_MONTH, random_state=months)
        applications = Validator(scorer.dataset, scorer.domain).rows(drawn.to_dict("records"))
        decided = scorer.decide(applications.codes)
        batch = Batch(applications, decided, version, digest, scorer.threshold, time=decided_at)
        record = log.commit(batch)

        for i, row in enumerate(log.read(record).to_pylist()):
            final = row["prediction"]
            if i < OVERRIDES:
                final = RED if final == GREEN else GREEN
                override(log, row["id"], final, "tools.dashboards.demo_traffic", "an example")
            if final == GREEN:
                bad = row["label"] == BAD
                term = row.get(scorer.dataset.term) or TERM
                ended = decided_at + timedelta(days=150 if bad else 30.4 * term)
                if ended < datetime.now(UTC):
                    outcome = "defaulted" if bad else "repaid"
                    lines.append(f"{row['id']},{outcome},{ended:%Y-%m-%d}")

    ingest(log, "\n".join(lines).encode())


def send(url: str, clients: pd.DataFrame, minutes: float, n: int) -> None:
    """Send n clients again and again: some one by one as JSON, and the others as a file."""
    ends = time.monotonic() + 60 * minutes
    turn = 0
    while time.monotonic() < ends:
        drawn = clients.sample(n, random_state=turn)
        for row in json.loads(drawn.head(ONE_BY_ONE).to_json(orient="records")):
            requests.post(f"{url}/score", json=[row], timeout=60)

        text = drawn.tail(n - ONE_BY_ONE).to_csv(index=False, float_format=unmistakable)
        requests.post(f"{url}/files", files={"file": ("clients.csv", text)}, timeout=60)
        turn += 1
        time.sleep(EVERY_SECONDS)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.dashboards.demo_traffic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--past", action="store_true", help="write clients of earlier months into the log, and end"
    )
    options = parser.parse_args(arguments)

    settings = Settings()
    dataset = load_dataset(settings.dataset)
    trained, clients = split(read_training(training_source(settings), dataset), dataset)
    if options.past:
        past(settings, clients)
        return 0

    clients = clients.drop(columns=LABEL)
    poorer = balances_fall(clients, trained, dataset, np.random.default_rng(0))
    broken = with_unknown_word(clients, dataset)
    phases = (
        ("usual clients", clients, 3, 20),
        ("balances fall while amounts rise", poorer, 5, 60),
        ("a column breaks", broken, 7, 60),  # the alert waits for 5 minutes
    )
    url = f"http://127.0.0.1:{settings.riskometer_port}/api/v1"
    for name, sent, minutes, n in phases:
        print(f"{datetime.now(UTC):%H:%M:%S} {name}", file=sys.stderr, flush=True)
        send(url, sent, minutes, n)
    return 0


if __name__ == "__main__":
    sys.exit(main())
