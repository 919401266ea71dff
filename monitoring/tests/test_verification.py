"""The nightly verification of the decision log, run under a real Prefect API."""

import time

import orjson
import pytest

from credit_risk.storage.backends import open_blobs
from monitoring import verification
from tests.support.batches import batch, without_guard
from tools.stack.local_stack import variables

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("prefect_api")]


@pytest.fixture
def run(settings, monkeypatch):
    """A function that runs the flow as a worker does: settings come from the environment."""

    def run():
        for name, value in variables(settings).items():
            if name != "PREFECT_API_URL":
                monkeypatch.setenv(name, value)
        return verification.log_verification(return_state=True)

    return run


def test_a_log_that_is_whole_is_anchored(log, settings, run):
    record = log.commit(batch(3))
    state = run()
    assert state.is_completed(), state.message
    blobs = open_blobs(settings.bucket)
    (name,) = blobs.names("anchors/")
    assert blobs.url(name) in state.message
    assert "is whole: 3 decisions in 1 batches" in state.message
    assert set(orjson.loads(blobs.get(name))["heads"]["batches"]) == {str(record.seq)}
    assert "1 anchors" in run().message


def test_a_changed_record_fails_the_run_at_once_and_is_not_anchored(log, settings, run):
    log.commit(batch(3))
    (record,) = log.storage.documents.find("batches", {})
    without_guard(log, "batches").storage.documents.delete("batches", {"_id": record["_id"]})
    log.storage.documents.insert("batches", [record | {"caller": "alice"}])
    began = time.monotonic()
    state = run()
    assert state.is_failed()
    assert f"record 1 of chain 1 was changed (batch {record['id']})" in state.message
    assert time.monotonic() - began < 30, "what is damaged stays so: it is not tried again"
    assert open_blobs(settings.bucket).names("anchors/") == []
