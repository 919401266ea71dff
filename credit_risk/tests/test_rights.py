"""Training, scoring and the approver need no rights but those of tools/access/mongo-roles.json."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from credit_risk.access.caller import Caller
from credit_risk.decision_log.batch import AlreadyCommitted, Batch
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import ingest
from credit_risk.registry.approval_log import history, note_registered, note_training
from credit_risk.registry.approvals import adopt, approve, propose, rollback
from credit_risk.registry.in_force import in_force
from credit_risk.schema.attributes import LABEL
from credit_risk.scoring.decisions import Decisions, confidence
from credit_risk.storage.backends import open_blobs
from credit_risk.training_data.snapshots import latest_snapshot, make
from tests.support.cases import slow
from tests.support.german_credit import Validator, read_snapshot, read_training


@pytest.fixture
def log(settings, mongodb_url):
    return open_log(settings.model_copy(update={"decision_log": mongodb_url}))


def test_training_needs_only_its_own_mongodb_rights(settings, log, in_role, registry, register):
    base = read_training("data/credit-g.csv")
    clients = base.head(30).assign(duration=6)
    applications = Validator().rows(clients.drop(columns=LABEL).to_dict("records"))
    risk = np.full(len(applications), 0.1)
    long_ago = datetime.now(UTC) - timedelta(days=900)
    decided = Decisions(risk, risk >= 1 / 6, confidence(risk))
    record = log.commit(Batch(applications, decided, "1", "abc", 1 / 6, time=long_ago))
    day = (long_ago + timedelta(days=400)).date()
    rows = [
        f"{record.id}-{row},{'defaulted' if row % 5 == 0 else 'repaid'},{day}" for row in range(30)
    ]
    ingest(log, "\n".join(["decision_id,outcome,date", *rows]).encode())
    version = register()

    with in_role("training"):
        snapshot, new = make(log, open_blobs(settings.bucket), base, settings.data, 12)
        assert new
        assert latest_snapshot(log) == snapshot
        assert sum(map(len, read_snapshot(open_blobs(settings.bucket), snapshot))) == len(base) + 30
        note_registered(log, version)
        assert in_force(registry, log).approval is None
        assert history(log) == []


# As documents, and in a file.
@pytest.mark.parametrize("n", [200, *slow(10_001)])
def test_scoring_needs_only_its_own_mongodb_rights(
    settings, log, in_role, mongodb_url, registry, register, n
):
    version = register()
    note_registered(log, version)
    approve(registry, log, version.number, "Ann", "the first")
    clients = read_training("data/credit-g.csv").drop(columns=LABEL).to_dict("records")
    applications = Validator().rows([clients[i % len(clients)] for i in range(n)])
    risk = np.full(n, 0.1)
    decided = Decisions(risk, risk >= 1 / 6, confidence(risk))
    more = {"kind": "portfolio", "idempotency_key": "part-0", "caller": "Ann"}

    with in_role("scoring"):
        mine = open_log(settings.model_copy(update={"decision_log": mongodb_url}))
        assert in_force(registry, mine).approval.version == version.number
        record = mine.commit(Batch(applications, decided, "1", "abc", 1 / 6, **more))
        assert len(mine.read(record)) == n
        with pytest.raises(AlreadyCommitted) as found:  # by a worker that was killed after that
            mine.commit(Batch(applications, decided, "1", "abc", 1 / 6, **more))
        assert found.value.record.id == record.id


def test_approver_needs_only_its_own_mongodb_rights(log, in_role, registry, register):
    for _ in range(2):
        note_registered(log, register())
    register()
    with in_role("approver"):
        approve(registry, log, "1", "Ann", "the first")
        approve(registry, log, "2", "Ann", "better")
        adopt(registry, log, "3", "Ann", "made elsewhere")
        approve(registry, log, "3", "Ann", "better still")
        assert rollback(registry, log, "Ann", "worse").version == "2"
        assert in_force(registry, log).approval.version == "2"
        assert len(history(log)) == 5
        ann, bo = (Caller(name, "user", is_proven=True) for name in ("ann", "bo"))
        note_training(log, "flow-run-1", "new data", ann)
        propose(registry, log, "3", "ann", "better still", ann)
        made = approve(registry, log, "3", "bo", "looks right", caller=bo, needs_two=True)
        assert made.kind == "approval"


@pytest.mark.parametrize("role", ["risk-o-meter", "scoring", "training", "reporting", "exporter"])
@pytest.mark.parametrize("kind", ["proposal", "first-approval", "training", "approval"])
def test_nobody_else_has_the_right_to_write_an_approval_or_a_step_to_one(log, in_role, role, kind):
    refused = f"{role} has no right to: .*\\('approvals', 'insert'\\)"
    with pytest.raises(AssertionError, match=refused), in_role(role):
        log.append_approval(kind, "1", by="ann", reason="r", digest="d", forced=False)
