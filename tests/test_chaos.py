"""The experiment that breaks a stack: its parts by themselves, and a short form of the whole."""

import json
import re
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from credit_risk.schema.dataset_file import DEFAULT, load_dataset
from credit_risk.schema.validation import Validator
from tests.support.cases import slow
from tests.support.processes import wait_for
from tools.chaos import alerts, docker, load, verdict
from tools.chaos.__main__ import TARGETS, run
from tools.chaos.experiment import Times
from tools.chaos.load import FILE, SCORE, SCORERS, Ask, Attempt, Load
from tools.chaos.report import NOT_BACK, Row, conclusion, table
from tools.chaos.target import REPLICA, RISKOMETER, defaults, free_ports, inherited
from tools.paths import ROOT

BROKEN = ("risk-o-meter", "mlflow", "prefect-server", "evidently-exporter")


def chaos(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "tools.chaos", *arguments],
        cwd=ROOT,
        env=inherited() | variables,
        text=True,
        capture_output=True,
        timeout=840,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_stack_that_loses_services_loses_nothing_that_it_accepted():
    said = chaos(
        *("--services", ",".join(BROKEN), "--faults", "kill,pause"),
        *("--seconds", "4", "--settle", "0"),
    )
    assert said.returncode == 0, said.stdout + said.stderr
    rows = [line.strip("| ").split(" | ") for line in said.stdout.splitlines()]
    rows = [row for row in rows if row[0] in BROKEN]
    assert [(row[0], row[1]) for row in rows] == [
        (service, fault) for fault in ("kill", "pause") for service in BROKEN
    ]
    assert all(int(re.match(r"scores: (\d+) answered", row[2])[1]) > 0 for row in rows)
    (silence,) = [float(row[4]) for row in rows if row[:2] == ["risk-o-meter", "kill"]]
    assert silence > 1, "nobody answers while the Risk-O-Meter starts"
    assert "each accepted request is stored exactly once, with all its rows" in said.stdout
    assert "the decision log is whole" in said.stdout
    accepted = int(re.search(r"([\d,]+) requests were accepted", said.stdout)[1].replace(",", ""))
    assert accepted > 100


class TwoServices:
    """A stack whose second service is not broken, as somebody presses Ctrl-C."""

    riskometer, prometheus, place = "http://127.0.0.1:1", "", "nowhere"

    def start(self):
        self.stopped = False

    def stop(self, *, keep):
        self.stopped = True

    def services(self):
        return ["first", "second"]

    def impossible(self, fault):
        return ""

    def inject(self, service, fault):
        if service == "second":
            raise KeyboardInterrupt

    def heal(self):
        pass

    def is_well(self, service, since):
        return True

    def command(self, *arguments):
        return [sys.executable, "-c", "print('Running...', flush=True); input()"]

    def environment(self):
        return {}


def test_what_was_found_before_an_interruption_is_printed(monkeypatch, capsys):
    target = TwoServices()
    monkeypatch.setitem(TARGETS, "local", lambda: target)
    with pytest.raises(KeyboardInterrupt):
        run("local", [], ["kill"], Times(back=0.1, settle=0))
    out, told = capsys.readouterr()
    assert target.stopped
    assert [line.split(" | ")[0] for line in out.splitlines()[2:]] == ["| first"]
    assert "what clients sent was not compared" in told


@pytest.mark.parametrize(
    ("arguments", "variables", "hint"),
    [
        (("--faults", "flood"), {}, "no such fault: flood; there are kill, pause, cut"),
        *slow(
            ((), {"DATASET": "none"}, "DATASET=none: there is no definition here"),
            ((), {"STACK": "cloud"}, "STACK=cloud: it can be local or compose"),
        ),
        (("--stack", "compose"), {"PATH": "/nowhere"}, "no docker on this machine"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(arguments, variables, hint):
    said = chaos(*arguments, **variables)
    assert (said.returncode, said.stdout) == (2, "")
    assert hint in said.stderr
    assert "Traceback" not in said.stderr


def test_no_setting_of_another_stack_reaches_this_one(monkeypatch):
    for name in ("ALERT_WEBHOOK_URL", "DECISION_LOG", "CREDIT_RISK_STACK"):
        monkeypatch.setenv(name, "http://elsewhere")
    monkeypatch.setenv("PATH", "/bin")
    assert "http://elsewhere" not in {**inherited(), **defaults()}.values()
    assert inherited()["PATH"] == "/bin"
    assert defaults()["ALERT_WEBHOOK_URL"] == ""


def test_free_ports_are_different():
    assert len(set(free_ports(["A", "B", "C"]).values())) == 3


# What clients do and see


@pytest.fixture
def server():
    """A Risk-O-Meter that answers each request as the next function in `.script` says."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            key = self.headers["Idempotency-Key"]
            server.keys.append(key)
            status, answer = server.script(self.path, key)
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.keys = []
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def decided(path, key):
    rows = 1 if path.endswith("/score") else 300
    return 200, {"batch": f"batch of {key}", "n_decided": rows}


def under_load(server, script, until):
    """Send until a condition on the load holds, and return the load when it has stopped."""
    server.script = script
    sent = Load(f"http://127.0.0.1:{server.server_port}", DEFAULT)
    sent.start()
    try:
        wait_for(lambda: until(sent), 20)
    finally:
        sent.stop(0.5)
    return sent


def everything(sent):
    return sent.attempts(0, time.monotonic())


def test_slower_clients_pause_longer(server):
    server.script = decided
    sent = Load(f"http://127.0.0.1:{server.server_port}", DEFAULT, slower=1000)
    sent.start()
    try:
        wait_for(lambda: sum(ask.answered is not None for ask in sent.asks) == SCORERS, 20)
        time.sleep(0.5)
    finally:
        sent.stop(0.5)
    assert [ask.what for ask in sent.asks] == [SCORE] * SCORERS


def test_a_client_sends_the_same_key_until_it_is_answered(server):
    def third_time(path, key):
        times = server.keys.count(key)
        return decided(path, key) if times > 2 else (503, {"type": "urn:x:no-model"})

    sent = under_load(server, third_time, lambda sent: any(ask.answered for ask in sent.asks))
    ask = next(ask for ask in sent.asks if ask.answered)
    assert server.keys.count(ask.key) >= 3
    assert (ask.batch, ask.n_decided) == (f"batch of {ask.key}", ask.rows)
    assert "refused (503 no-model)" in load.counts(everything(sent))


def test_some_requests_are_sent_again_after_they_were_answered(server):
    sent = under_load(server, decided, lambda sent: any(ask.again for ask in sent.asks))
    ask = next(ask for ask in sent.asks if ask.again)
    assert server.keys.count(ask.key) == 2
    assert ask.again == ask.batch


def test_a_wrong_request_is_not_sent_again(server):
    sent = under_load(
        server, lambda path, key: (422, {"type": "x"}), lambda sent: len(sent.asks) > 9
    )
    assert len(set(server.keys)) == len(server.keys)
    assert not any(ask.answered for ask in sent.asks)


def test_an_answer_without_json_is_no_answer(server):
    bad_gateway = (502, b"")
    sent = under_load(server, lambda path, key: bad_gateway, lambda sent: len(everything(sent)) > 5)
    assert set(load.counts(everything(sent))) == {load.ANSWERED, "failed (502 without a reason)"}


def test_a_connection_that_is_refused_counts_as_such():
    sent = Load(f"http://127.0.0.1:{free_ports(['PORT'])['PORT']}", DEFAULT)
    sent.start()
    try:
        wait_for(lambda: everything(sent), 20)
    finally:
        sent.stop(0)
    assert load.counts(everything(sent))[load.NO_CONNECTION] > 0


def test_the_longest_wait_reaches_from_the_first_try_to_the_answer():
    asks = [
        Ask(SCORE, "before", 1, began=0.0, answered=9.0),
        Ask(SCORE, "a", 1, began=9.0, answered=14.0),
        Ask(SCORE, "b", 1, began=12.0),
    ]
    assert load.longest_wait(asks, 10, 20) == 8
    assert load.longest_wait(asks, 10, 13) == 5
    assert load.longest_wait([], 10, 20) == 0


def test_silence_is_the_longest_time_without_an_answered_score():
    attempts = [
        Attempt(SCORE, 10.0, 11.0, load.ANSWERED),
        Attempt(SCORE, 11.0, 12.0, load.TIMEOUT),
        Attempt(FILE, 11.0, 13.0, load.ANSWERED),
        Attempt(SCORE, 17.0, 18.0, load.ANSWERED),
    ]
    assert load.longest_silence(attempts, 10, 20) == 7
    assert load.longest_silence([], 10, 20) == 10


# Alerts


def test_an_alert_that_fires_for_one_target_fires():
    told = [
        {"labels": {"alertname": name}, "state": state}
        for name, state in (("A", "firing"), ("A", "pending"), ("B", "pending"))
    ]
    assert alerts.furthest(told) == {"A": "firing", "B": "pending"}


def test_alerts_that_came_are_those_that_were_not_there_before():
    seen = [
        (1.0, {"Old": "firing", "Grows": "pending"}),
        (11.0, {"Old": "firing", "Grows": "firing", "New": "pending"}),
        (12.0, None),
        (21.0, {"Later": "firing"}),
    ]
    came = ["Grows firing", "New pending"]
    assert alerts.appeared(seen, 10, 11.5) == came
    assert alerts.appeared(seen, 10, 20) == [*came, alerts.AWAY]


# The verdict


def stored(key="k", batch="b", rows=1, distinct=None, form="inline"):
    distinct = rows if distinct is None else distinct
    return {"key": key, "batch": batch, "rows": rows, "distinct": distinct, "form": form}


def accepted(key="k", batch="b", rows=1, again=""):
    return Ask(SCORE, key, rows, 0.0, 1.0, batch, rows, again)


def test_what_is_stored_once_as_it_was_answered_holds():
    unheard = Ask(SCORE, "unheard", 1, 0.0)
    found = verdict.compare([accepted(again="b"), unheard], [stored(), stored("unheard", "c")])
    assert found.holds
    assert (found.accepted, found.unheard) == (1, 1)


@pytest.mark.parametrize(
    ("ask", "batches", "fault"),
    [
        (accepted(), [], "is not stored"),
        (accepted(), [stored(), stored(batch="c")], "is stored 2 times"),
        (accepted(), [stored(batch="c")], "is stored as batch c"),
        (accepted(rows=3), [stored(rows=2)], "has 2 rows"),
        (accepted(rows=3), [stored(rows=3, distinct=2)], "2 of them different"),
        (accepted(again="c"), [stored()], "was answered as batch c the second time"),
        (Ask(SCORE, "k", 1, 0.0), [stored(), stored(batch="c")], "key k is stored 2 times"),
        (accepted(), [stored(), stored("foreign", "c")], "nobody sent it"),
    ],
)
def test_what_is_not_stored_as_it_was_answered_is_named(ask, batches, fault):
    found = verdict.compare([ask], batches)
    assert not found.holds
    assert len(found.faults) == 1
    assert fault in found.faults[0]


def test_a_verdict_names_the_first_few_faults():
    found = verdict.compare([accepted(str(n)) for n in range(9)], [])
    assert len(verdict.shown(found)) == verdict.SHOWN + 1
    assert "and 4 more" in conclusion(found)


# The table


def test_a_row_says_what_was_seen_or_why_there_was_nothing():
    broken = Row("mlflow", "kill", seen={SCORE: {load.ANSWERED: 7, load.TIMEOUT: 1}}, back=2.0)
    away = Row("mongo", "kill")
    none = Row("mlflow", "cut", "not possible here")
    lines = table([broken, away, none]).splitlines()
    assert len({line.count(" | ") for line in lines}) == 1
    assert (
        "| mlflow | kill | scores: 7 answered, 1 timed out | 0.0 | 0.0 | 2.0 | none | - |" in lines
    )
    assert NOT_BACK in lines[3]
    assert "not possible here" in lines[4]
    assert [row.holds for row in (broken, away, none)] == [True, False, True]


# What Docker says


def container(service, state="running", **more):
    return {"ID": "0123456789abcdef", "Service": service, "State": state, "Labels": "", **more}


def test_containers_are_read_from_lines_and_lists_without_those_of_run():
    found = [container("mongo"), container("passwords", Labels=f"x=y,{docker.ONE_OFF}=True")]
    assert docker.listed("\n".join(map(json.dumps, found))) == found[:1]
    assert docker.listed(json.dumps(found)) == found[:1]
    assert docker.listed("") == []


def test_only_running_services_can_be_broken_and_a_replica_where_there_are_some():
    found = [container(RISKOMETER), container("mongo"), container("bucket", "exited")]
    assert docker.breakable(found, RISKOMETER, REPLICA) == ["mongo", RISKOMETER]
    found.append(container(RISKOMETER))
    assert docker.breakable(found, RISKOMETER, REPLICA) == ["mongo", RISKOMETER, REPLICA]


@pytest.mark.parametrize(
    ("check", "command"),
    [
        ({"Test": ["CMD", "pg_isready", "--quiet"]}, ["pg_isready", "--quiet"]),
        ({"Test": ["CMD-SHELL", "exit 0"]}, ["sh", "-c", "exit 0"]),
        ({"Test": ["NONE"]}, []),
        (None, []),
    ],
)
def test_a_health_check_is_run_as_docker_runs_it(check, command):
    assert docker.healthcheck({"Config": {"Healthcheck": check}}) == command


def test_a_container_comes_back_to_its_networks_under_its_names():
    inspected = {
        "Id": "0123456789abcdef",
        "NetworkSettings": {
            "Networks": {
                "chaos_mongo": {"Aliases": ["chaos-mongo-1", "mongo", "0123456789ab"]},
                "chaos_other": {"Aliases": None},
            }
        },
    }
    networks = docker.networks(inspected)
    assert networks == {"chaos_mongo": ["chaos-mongo-1", "mongo"], "chaos_other": []}
    joined = " ".join(docker.connect("chaos_mongo", "x", networks["chaos_mongo"]))
    assert joined == "docker network connect --alias chaos-mongo-1 --alias mongo chaos_mongo x"


@pytest.mark.parametrize(
    ("changes", "up"),
    [
        ({}, True),
        ({"Running": False}, False),
        ({"Paused": True}, False),
        ({"StartedAt": "before"}, False),
    ],
)
def test_a_container_is_up_when_it_runs_in_a_new_start(changes, up):
    state = {"Running": True, "Paused": False, "StartedAt": "now"} | changes
    assert docker.is_up({"State": state}, not_since="before") is up


@pytest.mark.parametrize("name", [DEFAULT, "credit_data", "lending_club"])
def test_the_load_is_clients_of_the_data_set_without_their_class(name):
    dataset = load_dataset(name)
    clients = load.clients(name)
    assert len(clients) > 100
    assert all(set(client) == set(dataset.names) for client in clients)
    read = Validator(dataset).rows(clients)
    assert (len(read), read.faults) == (len(clients), [])


def test_numbers_of_the_files_can_be_read_in_one_way_only():
    clients = [{"rate": 5.125, "rooms": 2}, {"rate": 0.5, "rooms": 3}]
    expected = b"rate,rooms\n5.1250,2\n0.5,3\n5.1250,2\n"
    assert load.file_of(clients, 3) == expected


def test_the_stack_has_the_data_set_that_is_chosen(monkeypatch):
    monkeypatch.delenv("DATASET", raising=False)
    assert defaults()["DATASET"] == DEFAULT
    monkeypatch.setenv("DATASET", "credit_data")
    monkeypatch.setenv("DATA", "elsewhere.csv")
    assert {inherited()["DATASET"], defaults()["DATASET"]} == {"credit_data"}
    assert "elsewhere.csv" not in {**inherited(), **defaults()}.values()
