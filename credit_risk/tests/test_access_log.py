import io
import json
import queue

import pytest

from credit_risk.access import access_log
from credit_risk.access.access_log import AccessLog, Entry
from credit_risk.access.caller import Caller

ID = "01K00000000000000000000000"
ANN = Caller("ann", "user")


def lines(*writes: tuple) -> list[dict]:
    stream = io.StringIO()
    log = AccessLog(stream)
    for write in writes:
        log.write(*write)
    log.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_log_line_has_time_caller_peer_action_and_result():
    (line,) = lines((Entry("override", f"{ID}-0"), ANN, "10.0.0.7", "POST", "/decisions/<id>", 201))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "who": "ann",
        "kind": "user",
        "address": "10.0.0.7",
        "method": "POST",
        "route": "/decisions/<id>",
        "what": "override",
        "id": f"{ID}-0",
        "status": 201,
    }


def test_log_line_names_refusal_reason_and_callback_result():
    entry = Entry()
    entry.refuse("no-user")
    refused, took = lines(
        (entry, None, "::1", "BREW", "unmatched", 403),
        (Entry("take", f"{ID}-0", 422), ANN, None, "POST", "/_dash", 200),
    )
    assert (refused["what"], refused["reason"], refused["who"], refused["method"]) == (
        "refused",
        "no-user",
        None,
        "other",
    )
    assert took["status"] == 422


def test_request_without_an_action_is_not_logged():
    assert lines((Entry(), ANN, None, "GET", "/", 200)) == []


@pytest.mark.parametrize("id", ["Erika Mustermann", f"{ID}-", f"{ID}\n", f"{ID}-0x", "", None])
def test_foreign_ids_are_left_out_of_the_log(id):
    (line,) = lines((Entry("decision", id), ANN, None, "GET", "/decisions/<id>", 404))
    assert line["id"] is None


def test_caller_name_cannot_forge_a_log_line():
    (line,) = lines(
        (Entry("score", ID), Caller('x"}\n{"who": "CEO"\u202e', "user"), None, "POST", "/", 200)
    )
    assert line["who"] == 'x"}\n{"who": "CEO"\u202e'


def test_dropped_log_lines_are_counted(monkeypatch):
    monkeypatch.setattr(access_log, "MAX_WAITING", 2)
    stream = io.StringIO()
    log = AccessLog(stream)
    log._listener.stop()  # as if it had no time
    for _ in range(5):
        log.write(Entry("score", ID), ANN, None, "POST", "/", 200)
    waiting: queue.Queue = log._waiting.queue
    assert waiting.qsize() == 2
    log._listener.start()
    log._listener.stop()
    log._listener.start()
    log.write(Entry("score", ID), ANN, None, "POST", "/", 200)
    log.close()
    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("n") or line["what"] for line in written] == ["score", "score", 3, "score"]
