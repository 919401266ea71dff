"""The Risk-O-Meter asks MongoDB for no more than tools/access/mongo-roles.json lets it."""

from datetime import UTC, datetime, timedelta

import pytest
from ulid import ULID

from credit_risk.access.caller import Caller
from credit_risk.decision_log.history import search
from credit_risk.registry.approval_log import PROPOSAL, Approval, append


@pytest.fixture
def settings(settings, mongodb_url):
    return settings.model_copy(update={"decision_log": mongodb_url})


def test_risk_o_meter_needs_only_its_own_mongodb_rights(
    in_role, production, client, send_file, client_rows, as_csv, log
):
    left = str(ULID.from_datetime(datetime.now(UTC) - timedelta(hours=2)))  # by a process that died
    log._documents.insert("decisions", [{"_id": f"{left}-0", "batch": left}])
    with in_role("risk-o-meter"):
        production.refresh()
        assert client.get("/readyz").status_code == 200
        one = client.post("/api/v1/score", json=client_rows[:1], headers={"Idempotency-Key": "1"})
        assert one.status_code == 200
        again = client.post("/api/v1/score", json=client_rows[:1], headers={"Idempotency-Key": "1"})
        assert again.get_json()["batch"] == one.get_json()["batch"]
        file = send_file(as_csv(client_rows[:20])).get_json()
        green = next(d["id"] for d in file["decisions"] if d["prediction"] == "green")
        red = next(d["id"] for d in file["decisions"] if d["prediction"] == "red")
        said = {"prediction": "green", "by": "Ann", "reason": "knows them"}
        assert client.post(f"/api/v1/decisions/{red}/override", json=said).status_code == 201
        told = f"decision_id,outcome,date\n{green},repaid,{datetime.now(UTC).date()}\n"
        headers = {"Content-Type": "text/csv"}
        assert client.post("/api/v1/outcomes", data=told, headers=headers).status_code == 200
        assert client.get(f"/api/v1/decisions/{green}").get_json()["outcomes"]
        assert client.get(f"/api/v1/batches/{file['batch']}.csv").status_code == 200
        assert search(log, file["batch"])
        assert search(log, "clients.csv")
        assert log.sweep() == 1


def test_risk_o_meter_has_no_right_to_propose_or_approve(in_role, production, log):
    ann = Caller("ann", "user", is_proven=True)
    for kind in (PROPOSAL, "first-approval", "approval"):
        wanted = Approval("1", "ann", "better", kind, "digest-1", verified=True)
        refused = r"risk-o-meter has no right to: .*\('approvals', 'insert'\)"
        with pytest.raises(AssertionError, match=refused), in_role("risk-o-meter"):
            append(log, wanted, ann)
