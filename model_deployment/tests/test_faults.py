"""Real failures around the service: full disks, an absent log, killed workers, concurrency.

Nothing is lost, nothing is decided twice, and whoever sent it can tell which.
"""

import http.client
import io
import json
import platform
import resource
import shutil
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from ulid import ULID

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.proof.verify import verify
from credit_risk.registry.registry import PRODUCTION, Registry
from credit_risk.settings import Settings
from model_deployment.app import create_app
from model_deployment.http import orphan_cleanup
from tests.support.files import parquet
from tests.support.german_credit import Validator
from tests.support.processes import wait_for
from tests.support.riskometer import client_of, serving

JSON = {"Content-Type": "application/json"}
NO_TIME = timedelta(hours=-1)  # the sweep's, for what was written just now


def post(server, path, data, **headers):
    """Return status and body of a POST on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.request("POST", f"/api/v1/{path}", data, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def upload(server, data, query="", **headers):
    """Return status and body of the upload of a file."""
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        + data
        + b"\r\n--b--\r\n"
    )
    return post(
        server,
        f"files{query}",
        form,
        **{"Content-Type": "multipart/form-data; boundary=b"},
        **headers,
    )


def override(server, decision, by):
    """Return status and body of setting a decision to the other colour."""
    other = {"red": "green", "green": "red"}[decision["prediction"]]
    body = json.dumps({"prediction": other, "by": by, "reason": "knows him"})
    return post(server, f"decisions/{decision['id']}/override", body, **JSON)


def many(clients, n):
    """Return `n` clients as a Parquet file of a few kB."""
    return parquet(
        pa.table(
            {
                name: pa.array([c[name] for c in clients]).take(_times(clients, n))
                for name in clients[0]
            }
        )
    )


def _times(clients, n):
    return pa.array([i % len(clients) for i in range(n)])


def everything(server):
    """Return what the log holds: each batch, and how many decisions it has."""
    return held(server.decisions())


def held(log):
    return [(record.id, log.read(record).num_rows) for record in log.batches()]


def in_bucket(server):
    """Return the names of all files in the bucket's folder, those being written among them."""
    return {path.name for path in (server.settings.var_dir / "bucket").rglob("*") if path.is_file()}


# A full disk


@contextmanager
def full_disk(server):
    """Have every write to a file fail in all workers, as on a full disk (but with EFBIG)."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux can limit another process")
    limits = {}
    try:
        for worker in server.workers():
            limits[worker.pid] = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (0, limits[worker.pid][1]))
        yield
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)


@pytest.mark.slow
def test_full_disk_withholds_answers_until_there_is_room(
    serve, register, approve_on, mlflow_server, scorers, client_rows, as_csv
):
    # Of its own: where Prometheus' counters cannot grow, a worker counts no new kind of request any
    # more.
    version = register(mlflow_server, "full disk", scorers[0])
    server = serve(
        MLFLOW_TRACKING_URI=mlflow_server, MODEL_NAME="full disk", MODEL_POLL_SECONDS="0.2"
    )
    approve_on(server, version)
    wait_for(server.ready, 60, "the model")
    ways = {
        "a list, by the log": lambda: post(server, "score", json.dumps(client_rows[:3]), **JSON),
        "a file, by the log": lambda: upload(server, as_csv(client_rows[:20]).encode()),
        "a large batch, by the bucket": lambda: upload(server, many(client_rows, 10_500)),
        "a large file, by its spool": lambda: upload(server, as_csv(client_rows * 33).encode()),
    }
    for way in ways.values():
        status, body = way()
        assert status == 200
    decision = body["decisions"][0]
    before, files = everything(server), in_bucket(server)
    with full_disk(server):
        for _ in range(4):  # whichever worker answers
            for name, way in ways.items():
                status, body = way()
                assert (status, body["status"]) == (503, 503), name
                assert "nothing was decided" in body["detail"]
            assert override(server, decision, "Ann")[0] == 503
            assert server.get("/readyz")[0] == 503
            assert server.get("/healthz")[0] == 200
    assert everything(server) == before
    assert in_bucket(server) == files
    for name, way in ways.items():
        assert way()[0] == 200, name
    assert override(server, decision, "Ann")[0] == 201
    assert len(everything(server)) == len(before) + len(ways)
    assert len(in_bucket(server)) == len(files) + 1


@pytest.fixture
def on_a_small_disk(tmp_path, register, mlflow_server, scorers):
    """A Risk-O-Meter with state and temporary files on a disk of 80 MB, and the disk's path."""
    mount = 'mount -t tmpfs -o size=80m none "$0" && mkdir "$0/tmp" && exec "$@"'
    through = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        mount,
        str(tmp_path / "var"),
    ]
    (tmp_path / "var").mkdir()
    if not shutil.which("unshare") or subprocess.run([*through, "true"]).returncode:
        pytest.skip("this machine does not let us mount a disk of our own")
    version = register(mlflow_server, "small disk", scorers[0])
    settings = {
        "MLFLOW_TRACKING_URI": mlflow_server,
        "MODEL_NAME": "small disk",
        "MODEL_POLL_SECONDS": "0.2",
        "FOLLOW_ALIAS": "true",  # nobody but that process can write to its log
        "TMPDIR": str(tmp_path / "var" / "tmp"),
        "PROMETHEUS_MULTIPROC_DIR": "",
    }
    with serving(tmp_path, settings, through) as server:
        Registry(mlflow_server, "small disk").set_alias(PRODUCTION, version)
        wait_for(server.ready, 60, "the model")
        # The disk is that process's alone; this is how others see it.
        yield server, Path(f"/proc/{server.process.pid}/root{tmp_path}/var")


def on(disk, copy):
    """Return what the log on a disk holds, from a copy: SQLite would look on our own disk."""
    shutil.copytree(disk, copy, ignore=shutil.ignore_patterns("*-shm", "filling", "tmp"))
    urls = {"decision_log": f"sqlite:///{copy}/decisions.db", "bucket": str(copy / "bucket")}
    return held(open_log(Settings(_env_file=None, **urls)))


@pytest.mark.slow
@pytest.mark.parametrize("warm", [True, False])
def test_workers_survive_a_full_disk_with_true_answers(
    on_a_small_disk, client_rows, as_csv, tmp_path, warm
):
    server, disk = on_a_small_disk
    ways = [
        lambda: server.score(client_rows[:3]),
        lambda: upload(server, as_csv(client_rows).encode()),
        lambda: upload(server, many(client_rows, 10_500)),
        lambda: upload(server, as_csv(client_rows * 33).encode()),
        lambda: server.get("/metrics"),
        lambda: server.get("/nothing"),
    ]
    if warm:
        assert [way()[0] for way in ways * 2] == [200, 200, 200, 200, 200, 404] * 2
    before, known = on(disk, tmp_path / "before"), {worker.pid for worker in server.workers()}
    with (disk / "filling").open("wb", buffering=0) as filling, suppress(OSError):
        while filling.write(bytes(4096)):
            pass
    answers = [way() for way in ways * 4]
    assert {status for status, _ in answers} - {200, 404} == {503}
    (disk / "filling").unlink()
    assert len(before) == (8 if warm else 0)
    # A log may have some room left that it took before; what was answered is in it, and nothing
    # else.
    decided = [
        (body["batch"], body["n_decided"])
        for status, body in answers
        if status == 200 and "batch" in body
    ]
    assert on(disk, tmp_path / "after") == before + decided
    assert [way()[0] for way in ways] == [200, 200, 200, 200, 200, 404]
    assert {worker.pid for worker in server.workers()} == known


# Two at once


def at_once(n, call):
    """Return the results of threads that began together."""
    start = threading.Barrier(n)

    def begin(i):
        start.wait(30)
        return call(i)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(begin, range(n)))


def test_concurrent_uploads_each_get_their_own_decisions(server, client_rows, as_csv):
    def files(who):
        rows = [
            row | {"client_id": f"{who}-{i}"} for i, row in enumerate(client_rows[who : who + 40])
        ]
        return [upload(server, as_csv(rows).encode()) for _ in range(3)]

    before = len(everything(server))
    for who, answers in enumerate(at_once(8, files)):
        for status, body in answers:
            assert (status, body["n_decided"]) == (200, 40)
            log = server.decisions()
            logged = log.read(log.batch(body["batch"]))
            assert logged["client_id"].to_pylist() == [f"{who}-{i}" for i in range(40)]
            assert logged["risk"].to_pylist() == [d["risk"] for d in body["decisions"]]
    assert len(everything(server)) == before + 24
    verify(server.decisions())


def test_file_sent_twice_at_once_with_one_key_is_decided_once(server, client_rows, as_csv):
    data = as_csv(client_rows).encode()
    answers = at_once(4, lambda _: upload(server, data, **{"Idempotency-Key": "twice at once"}))
    assert [status for status, _ in answers] == [200] * 4
    assert len({json.dumps(body) for _, body in answers}) == 1
    log = server.decisions()
    assert [r.id for r in log.batches() if r.idempotency_key == "twice at once"] == [
        answers[0][1]["batch"]
    ]
    assert log.sweep(NO_TIME) == 0


def test_concurrent_overrides_one_stands_the_others_are_refused(server, client_rows):
    for decision in server.score(client_rows[:4])[1]["decisions"]:
        answers = at_once(
            6, lambda who, decision=decision: override(server, decision, f"clerk {who}")
        )
        assert sorted(status for status, _ in answers) == [201, 422, 422, 422, 422, 422]
        assert all("already" in body["detail"] for status, body in answers if status == 422)
        (event,) = server.decisions().events("override", decision["id"])
        assert event["by"] == next(body["by"] for status, body in answers if status == 201)


# A log that goes away


@pytest.mark.slow
def test_locked_log_is_waited_for_then_the_answer_withheld(server, client_rows):
    before = everything(server)
    path = server.settings.decision_log.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        status, body = server.score(client_rows[:2])
        assert (status, body["type"]) == (503, "urn:risk-o-meter:no-decision-log")
        assert server.get("/readyz")[0] == 503
        somebody.execute("ROLLBACK")
    assert everything(server) == before
    assert server.score(client_rows[:2])[0] == 200
    assert len(everything(server)) == len(before) + 1


def test_mongodb_log_that_returns_is_used_again(
    settings, production, relay, mongodb_url, client_rows, as_csv
):
    address, _, name = mongodb_url.removeprefix("mongodb://").partition("/")
    through = relay.url(f"http://{address}").removeprefix("http://")
    there = settings.model_copy(update={"decision_log": f"mongodb://{through}/{name}"})
    log = open_log(there)
    client = client_of(create_app(there, production=production, log=log))
    rows = {"json": client_rows[:2]}
    assert client.post("/api/v1/score", **rows).status_code == 200
    before = log.batches()
    relay.stop()
    answer = client.post("/api/v1/score", **rows)
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    file = {"file": (io.BytesIO(as_csv(client_rows).encode()), "clients.csv")}
    assert client.post("/api/v1/files", data=file).status_code == 503
    assert open_log(settings.model_copy(update={"decision_log": mongodb_url})).batches() == before
    relay.again()
    assert wait_for(lambda: client.post("/api/v1/score", **rows).status_code == 200, 30, "the log")
    assert len(log.batches()) == 2


# Workers that are killed


@pytest.fixture
def alone(serve, register, approve_on, mlflow_server, scorers):
    """A Risk-O-Meter of one worker, which serves a version of its own."""
    version = register(mlflow_server, "alone", scorers[0])
    server = serve(
        MLFLOW_TRACKING_URI=mlflow_server,
        MODEL_NAME="alone",
        RISKOMETER_PROCESSES="1",
        MODEL_POLL_SECONDS="0.2",
    )
    approve_on(server, version)
    # Until then, it may be the version of an earlier test.
    wait_for(lambda: server.get("/readyz")[1].get("model_version") == version, 60, "the model")
    return server


def killed_when(server, data, key, moment):
    """Upload a file, kill the worker at a moment, and return the client's answer or error.

    None, and nobody is killed, when the answer came before the moment did, or the moment was over
    before the worker stood still.
    """
    with ThreadPoolExecutor(1) as pool:
        (worker,) = server.workers()
        asked = pool.submit(upload, server, data, **{"Idempotency-Key": key})
        deadline = time.monotonic() + 60
        while not moment():
            assert time.monotonic() < deadline
            if asked.done():
                return None
        worker.suspend()
        wait_for(lambda: worker.status() == psutil.STATUS_STOPPED, 10, "a standstill")
        if not moment():
            worker.resume()
            return None
        worker.kill()
        return asked.exception() or asked.result()


def sent_again(server, data, key):
    """Return the answer to the file that comes again as soon as another worker has its model."""

    def answer():
        status, body = upload(server, data, **{"Idempotency-Key": key})
        return (status, body) if status != 503 else None

    return wait_for(answer, 60, "another worker")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["reading", "writing"])
def test_file_of_a_killed_worker_is_decided_once_when_resent(alone, client_rows, as_csv, moment):
    data = (as_csv(client_rows) + as_csv(client_rows).partition("\n")[2] * 2_999).encode()
    (worker,) = alone.workers()
    log, got, tries = alone.decisions(), None, 0
    while got is None:  # the moment is short: whoever looks may miss it, and the file is decided
        assert tries < 10
        tries += 1
        busy = worker.cpu_times().user
        moments = {
            "reading": lambda busy=busy: worker.cpu_times().user > busy + 0.2,
            "writing": lambda: any(name.startswith(".part-") for name in in_bucket(alone)),
        }
        is_it = moments[moment]
        got = killed_when(
            alone,
            data,
            f"order {tries}",
            lambda is_it=is_it, n=tries: is_it() and len(log.batches()) < n,
        )
    assert isinstance(got, http.client.HTTPException | OSError), got
    before = everything(alone)
    assert [n for _, n in before] == [600_000] * (tries - 1)
    status, body = sent_again(alone, data, f"order {tries}")
    assert status == 200, body
    assert (body["n_decided"], body["n_rejected"]) == (600_000, 0)
    assert everything(alone) == [*before, (body["batch"], 600_000)]
    alone.decisions().sweep(NO_TIME)
    assert everything(alone) == [*before, (body["batch"], 600_000)]


@pytest.mark.slow
@pytest.mark.parametrize("n", [9_000, 200_000])
def test_worker_killed_after_the_commit_has_decided_once(alone, client_rows, as_csv, n):
    data = (as_csv(client_rows) + as_csv(client_rows).partition("\n")[2] * (n // 200 - 1)).encode()
    log, got, tries = alone.decisions(), None, 0
    # The moment is short: the whole answer may be on its way when the commit is seen.
    while not isinstance(got, http.client.HTTPException | OSError):
        assert tries < 10
        tries += 1
        key = f"order {tries}"
        got = killed_when(alone, data, key, lambda n=tries: len(log.batches()) == n)
        status, body = sent_again(alone, data, key)
        assert status == 200, body
        assert isinstance(got, Exception) or got in (None, (status, body))
    records = log.batches()
    assert len(records) == tries, "each was decided once"
    record = records[-1]
    assert (body["batch"], body["n_decided"]) == (record.id, n)
    logged = log.read(record)
    assert logged["id"].to_pylist() == [d["id"] for d in body["decisions"]]
    assert logged["risk"].to_pylist() == [d["risk"] for d in body["decisions"]]
    log.sweep(NO_TIME)
    assert everything(alone) == [(one.id, n) for one in records]


@pytest.mark.slow
@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc can be told to give memory back"
)
def test_worker_releases_the_memory_of_a_large_file(alone, client_rows, as_csv):
    (worker,) = alone.workers()
    small, rest = as_csv(client_rows).encode(), as_csv(client_rows).partition("\n")[2].encode()
    assert upload(alone, small)[0] == 200
    before = worker.memory_full_info().uss
    for _ in range(2):
        assert upload(alone, small + rest * 1_999, query="?decisions=none")[0] == 200
    wait_for(lambda: worker.memory_full_info().uss < before + 60_000_000, 10, "the memory")


def test_leftovers_of_a_killed_worker_are_swept(log, scorers, client_rows):
    """Two hours ago a worker died before its commit mark, and one just now."""
    applications = Validator().rows(client_rows[:3])
    decided = scorers[0].decide(applications.codes)
    now = datetime.now(UTC)
    left = [
        Batch(
            applications, decided, "1", "digest", 1 / 6, id=str(ULID.from_datetime(then)), time=then
        )
        for then in (now - timedelta(hours=2), now)
    ]
    for batch in left:
        decisions = codec.documents(codec.mark(batch, ""), codec.decisions(batch))
        log._documents.insert("decisions", decisions)
    kept = log.commit(replace(left[1], id=str(ULID())))
    orphan_cleanup.start(log)
    wait_for(
        lambda: log._documents.distinct("decisions", "batch", {}) == {left[1].id},
        10,
        "the sweep",
    )
    assert log.batches() == [kept]


# Another version meanwhile


@pytest.mark.slow
def test_file_is_decided_by_one_version_during_approvals(
    alone, register, mlflow_server, scorers, client_rows, approve_on
):
    register(mlflow_server, "alone", scorers[1])
    codes = Validator().rows(client_rows).codes
    risks = {
        str(number): scorer.risk(codes).tolist() for number, scorer in enumerate(scorers, start=1)
    }
    done = threading.Event()
    first = int(Registry(mlflow_server, "alone").alias(PRODUCTION))

    def move():
        number = first
        while not done.is_set():
            number = 2 * first + 1 - number
            approve_on(alone, str(number))
            time.sleep(0.3)

    thread = threading.Thread(target=move)
    thread.start()
    seen = set()
    try:
        deadline = time.monotonic() + 60
        while len(seen) < 2 or time.monotonic() < deadline - 50:
            status, body = upload(alone, many(client_rows, 50_000))
            assert status == 200
            version = body["model_version"]
            seen.add(version)
            found = [d["risk"] for d in body["decisions"]]
            assert found == risks[str(int(version) - first + 1)] * 250
            log = alone.decisions()
            record = log.batch(body["batch"])
            assert record.model_version == version
            assert set(log.read(record)["model_version"].to_pylist()) == {version}
            assert time.monotonic() < deadline
    finally:
        done.set()
        thread.join()
