"""Scoring a portfolio, against a real MLflow, and both kinds of log and bucket."""

import hashlib
import itertools
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.decision_log.proof.verify import verify
from credit_risk.registry.registry import Registry
from credit_risk.scoring.model import CreditScorer
from credit_risk.storage.backends import open_blobs
from credit_risk.storage.bucket import Bucket
from credit_risk.storage.documents import LogUnavailable
from credit_risk.storage.folder import Folder
from model_deployment.portfolio.__main__ import main
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.part import PartScorer
from model_deployment.portfolio.plan import Order, planned
from model_deployment.portfolio.run import score_portfolio
from tests.support.cases import slow
from tests.support.german_credit import read_training
from tests.support.riskometer import register_version
from tests.support.services import put_in_service
from tools.stack.local_stack import variables

NAME = "portfolio"


@pytest.fixture(scope="module")
def versions(mlflow_server, scorers):
    """The numbers of two registered versions."""
    return [register_version(mlflow_server, NAME, scorer) for scorer in scorers[:2]]


BOTH_STORES = pytest.mark.parametrize(
    "settings", ["sqlite + folder", "mongodb + bucket"], indirect=True
)


@pytest.fixture
def settings(request, settings, mlflow_server):
    """Settings of a stack; its log and bucket are in files, or on servers where a test says so."""
    if getattr(request, "param", "") == "mongodb + bucket":
        settings = request.getfixturevalue("on_servers")(settings)
    return settings.model_copy(update={"mlflow_tracking_uri": mlflow_server, "model_name": NAME})


@pytest.fixture
def approve(settings, mlflow_server, versions):
    """A function that puts one of the versions in Production."""

    def put(i):
        put_in_service(Registry(mlflow_server, NAME), open_log(settings), versions[i])

    return put


@pytest.fixture
def log(settings, approve) -> DecisionLog:
    """The log of a stack with a Production version."""
    approve(0)
    return open_log(settings)


@pytest.fixture
def addresses(settings, tmp_path):
    """The addresses of an input and an output, on the kind of store that the settings name."""
    if settings.bucket.startswith("gs://"):
        return f"{settings.bucket}/in", f"{settings.bucket}/out"
    return str(tmp_path / "in"), str(tmp_path / "out")


@pytest.fixture
def clients(client_rows):
    return [{**row, "client_id": f"C{i}", "branch": f"=B{i}"} for i, row in enumerate(client_rows)]


@pytest.fixture
def put(addresses):
    """A function that stores a file of the input."""

    def store(name, data):
        open_blobs(addresses[0]).put(name, data, overwrite=True)

    return store


@pytest.fixture
def book(put, clients, as_csv):
    """An input of two files, with two rows that are rejected."""
    put("a.csv", as_csv([*clients[:60], clients[60] | {"purpose": "yacht"}]).encode())
    sink = pa.BufferOutputStream()
    rows = [*clients[100:139], clients[139] | {"age": 3}]
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=25)
    put("b.parquet", sink.getvalue().to_pybytes())


@pytest.fixture
def score(settings, addresses, log, book):
    """A function that scores the book in parts of 25 rows."""

    def run(**options):
        return score_portfolio(Order(*addresses, part_rows=25, **options), settings, print)

    return run


@pytest.fixture
def read(addresses):
    """A function that returns the rows of the output below a prefix."""

    def rows(prefix):
        blobs = open_blobs(addresses[1])
        tables = [pq.read_table(pa.BufferReader(blobs.get(n))) for n in blobs.names(prefix)]
        return [row for table in tables for row in table.to_pylist()]

    return rows


def batches(log):
    return log.batches(kinds=("portfolio",))


@BOTH_STORES
def test_portfolio_is_scored_and_logged_and_closed_by_a_manifest(
    score, read, log, clients, versions
):
    manifest = score()
    assert [manifest[n] for n in ("n_rows", "n_decided", "n_rejected")] == [101, 99, 2]
    assert manifest["model_version"] == versions[0]
    scored = read("scored/")
    wanted = [*clients[:60], *clients[100:139]]
    assert [row["client_id"] for row in scored] == [row["client_id"] for row in wanted]
    assert [row["branch"] for row in scored] == [row["branch"] for row in wanted]
    assert manifest["n_red"] == sum(row["prediction"] == "red" for row in scored)

    records = batches(log)
    assert [record.n_decided for record in records] == [25, 25, 10, 25, 14]
    assert {record.kind for record in records} == {"portfolio"}
    assert log.batches() == []
    decision = log.decision(scored[0]["decision_id"])
    assert (decision["client_id"], decision["risk"]) == ("C0", scored[0]["risk"])
    verify(log)


def test_rejected_rows_go_to_files_of_their_own_with_place_and_reason(score, read):
    manifest = score()
    csv, parquet = read("rejected/")
    assert (csv["line"], csv["client_id"], csv["purpose"]) == (62, "C60", "yacht")
    assert "purpose 'yacht' is not one of" in csv["faults"]
    assert (parquet["row"], parquet["client_id"]) == (40, "C139")
    assert "age" in parquet["faults"]
    counted = {(f["column"], f["reason"]): f["n"] for f in manifest["rejected_by_reason"]}
    assert counted["purpose", "unknown_category"] == 1
    assert sum(counted.values()) == 2


def test_manifest_has_the_hash_of_each_file_that_was_written(score, addresses):
    manifest = score()
    blobs = open_blobs(addresses[1])
    files = [part[kind] for part in manifest["parts"] for kind in ("scored", "rejected")]
    for file in filter(None, files):
        assert hashlib.sha256(blobs.get(file["name"])).hexdigest() == file["sha256"]
    assert json.loads(blobs.get("manifest.json")) == manifest


def test_output_can_have_an_id_column_alone_with_reasons(score, read):
    score(id_column="branch", reasons=True)
    row = read("scored/")[0]
    assert list(row) == [
        *("branch", "risk", "prediction", "confidence", "warnings"),
        *("reasons", "model_version", "decision_id"),
    ]
    assert row["branch"] == "=B0"
    assert row["reasons"]


def test_an_id_column_that_is_not_there_is_refused_before_anything_is_scored(score, log):
    with pytest.raises(NotScored, match=r"a.csv: there is no column 'account'.* it has "):
        score(id_column="account")
    assert batches(log) == []


@pytest.mark.parametrize("name", ["risk", "decision_id", "class"])
def test_an_id_column_named_like_ours_is_refused(score, log, name):
    with pytest.raises(NotScored, match=f"column '{name}' cannot be taken as id"):
        score(id_column=name)
    assert batches(log) == []


def test_ids_are_those_of_the_input_whatever_their_name(
    put, settings, addresses, log, clients, as_csv, read
):
    rows = [row | {"id": f"A{i}", "time": "noon"} for i, row in enumerate(clients[:5])]
    put("a.csv", as_csv(rows).encode())
    score_portfolio(Order(*addresses, id_column="id"), settings, print)
    assert [row["id"] for row in read("scored/")] == ["A0", "A1", "A2", "A3", "A4"]


def test_ids_are_found_in_a_parquet_column_with_blanks_around_its_name(
    put, settings, addresses, log, clients, read
):
    sink = pa.BufferOutputStream()
    rows = [row | {" account ": f"A{i}"} for i, row in enumerate(clients[:5])]
    pq.write_table(pa.Table.from_pylist(rows), sink)
    put("a.parquet", sink.getvalue().to_pybytes())
    score_portfolio(Order(*addresses, id_column="account"), settings, print)
    assert [row["account"] for row in read("scored/")] == ["A0", "A1", "A2", "A3", "A4"]


def test_columns_of_one_name_are_all_kept(put, settings, addresses, log, clients, read):
    header = ",".join([*clients[0], "note", "note"])
    line = ",".join([*map(str, clients[0].values()), "one", "two"])
    put("a.csv", f"{header}\n{line}\n".encode())
    manifest = score_portfolio(Order(*addresses), settings, print)
    (row,) = read("scored/")
    assert (row["note"], row["note (uploaded)"]) == ("one", "two")
    assert "column 'note' ignored" in " ".join(manifest["warnings"])


def test_reasons_of_a_version_that_has_none_are_refused_before_anything_is_scored(
    settings, addresses, log, book, mlflow_server, client_rows
):
    frame = read_training("data/credit-g.csv")
    plain = CreditScorer(num_boost_round=5).fit(frame, frame["class"])
    number = register_version(mlflow_server, NAME, plain)
    put_in_service(Registry(mlflow_server, NAME), log, number)
    with pytest.raises(NotScored, match=f"version {number} gives no reasons"):
        score_portfolio(Order(*addresses, reasons=True), settings, print)
    assert batches(log) == []


@pytest.mark.parametrize("rows", [0, -1])
def test_parts_without_rows_are_refused(settings, addresses, log, book, rows):
    with pytest.raises(NotScored, match="a part has at least one row"):
        score_portfolio(Order(*addresses, part_rows=rows), settings, print)


def test_a_second_writer_of_a_part_takes_what_the_first_has_written(
    score, settings, addresses, log, die
):
    die("manifest", after=False)
    plan, _ = planned(Order(*addresses, part_rows=25), settings)
    scorer = PartScorer(plan.run, settings)
    output = open_blobs(addresses[1])
    first = {name: output.get(name) for name in output.names()}
    output.delete("parts/a.csv-00001.json")  # as if the other had not yet come to it
    figures = scorer.score(plan.parts[1])
    assert (
        figures["scored"]["sha256"]
        == json.loads(first["parts/a.csv-00001.json"])["scored"]["sha256"]
    )
    assert {n: output.get(n) for n in first if n.startswith("scored/")} == {
        n: data for n, data in first.items() if n.startswith("scored/")
    }


def test_new_applications_count_as_decisions(score, log):
    score(kind="decision")
    assert sum(record.n_decided for record in log.batches()) == 99
    assert batches(log) == []


def test_a_run_that_is_complete_is_not_run_again(score, log):
    first = score()
    assert score() == first
    assert len(batches(log)) == 5


STEPS = ["rejected/", "commit", "scored/", "parts/", "manifest"]


@BOTH_STORES
@pytest.mark.parametrize("after", [False, *slow(True)], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_died_anywhere_goes_on_without_loss_or_repetition(
    score, die, log, read, step, after
):
    """The process dies before or after it writes something in its third part, or the manifest."""
    die(step, after=after)
    manifest = score()
    assert [manifest[n] for n in ("n_rows", "n_decided", "n_rejected")] == [101, 99, 2]
    records = batches(log)
    assert [record.n_decided for record in records] == [25, 25, 10, 25, 14]
    ids = [row["decision_id"] for row in read("scored/")]
    assert len(set(ids)) == 99
    assert {id.rpartition("-")[0] for id in ids} == {record.id for record in records}
    assert len(read("rejected/")) == 2
    verify(log)


class _Dead(BaseException):
    """What a killed process does not live to see."""


@pytest.fixture
def die(score):
    """A function that runs the command until the process dies, before or after it does a step.

    That step is of the third part, or the manifest.
    """

    def until(step, *, after):
        steps = {"commit": [(DecisionLog, "commit")]}
        calls = steps.get(step, [(Bucket, "put"), (Folder, "put")])
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in calls:
                patch.setattr(owner, name, _dying(getattr(owner, name), step, after))
            with pytest.raises(_Dead):
                score()

    return until


def _dying(call, step, after):
    n_commits = itertools.count(1)

    def is_it(arguments):
        if step == "commit":
            return next(n_commits) == 3
        (name, *_) = arguments
        return name.startswith(step) and ("a.csv-00002" in name or step == "manifest")

    def wrapped(self, *arguments, **options):
        dies = is_it(arguments)
        if dies and not after:
            raise _Dead
        result = call(self, *arguments, **options)
        if dies:
            raise _Dead
        return result

    return wrapped


def test_one_version_scores_the_whole_run_whatever_is_approved_meanwhile(
    score, die, log, read, approve, versions
):
    die("commit", after=True)
    approve(1)
    score()
    assert {row["model_version"] for row in read("scored/")} == {versions[0]}
    assert {record.model_version for record in batches(log)} == {versions[0]}


def test_the_scores_have_the_same_hash_in_every_run(score, settings, addresses, log):
    first = score()
    again = Order(addresses[0], f"{addresses[1]}-again", part_rows=25)
    second = score_portfolio(again, settings, print)
    assert second["scores_sha256"] == first["scores_sha256"]
    assert second["run"] != first["run"]


def test_the_output_of_another_order_is_refused(score):
    score()
    with pytest.raises(NotScored, match="was begun with id_column '': give the same, or another"):
        score(id_column="client_id")


def test_input_that_has_changed_is_refused(score, die, put, clients, as_csv):
    die("commit", after=True)
    put("a.csv", as_csv(clients[:70]).encode())
    with pytest.raises(NotScored, match=r"the files of .* are not those that .* was begun with"):
        score()


def test_output_within_the_input_is_refused(settings, addresses, log, book):
    with pytest.raises(NotScored, match="OUTPUT is within INPUT"):
        score_portfolio(Order(addresses[0], f"{addresses[0]}/scored"), settings, print)


def test_without_a_production_model_nothing_begins(settings, addresses, book):
    with pytest.raises(NotScored, match="There is no Production model"):
        score_portfolio(Order(*addresses), settings, print)


def test_a_file_without_a_needed_column_is_refused_by_name(put, settings, addresses, log, book):
    put("c.csv", b"client_id,age\nC1,30\n")
    with pytest.raises(NotScored, match=r"c.csv: column 'checking_status' is missing"):
        score_portfolio(Order(*addresses), settings, print)
    assert batches(log) == []


def test_a_part_waits_for_a_log_that_is_away_for_a_while(score, log, monkeypatch):
    calls = []

    def away(self, batch, *more):
        calls.append(batch.idempotency_key)
        if len(calls) == 2:
            raise LogUnavailable("it is being restarted")
        return commit(self, batch, *more)

    commit = DecisionLog.commit
    monkeypatch.setattr(DecisionLog, "commit", away)
    monkeypatch.setattr("model_deployment.portfolio.engine.WAITS", (0.01,))
    assert score()["n_decided"] == 99
    assert calls[1] == calls[2]
    assert len(batches(log)) == 5


def test_parts_that_cannot_be_scored_are_named_and_the_others_are_scored(score, log):
    def failing(self, part):
        if part.name == "a.csv-00001":
            raise NotScored("a.csv: a quote below line 27 is never closed")
        return scored(self, part)

    scored = PartScorer.score
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartScorer, "score", failing)
        with pytest.raises(NotScored, match=r"1 of 5 parts were not scored: a.csv: a quote"):
            score()
    assert len(batches(log)) == 4
    assert score()["n_decided"] == 99


def test_two_commands_at_once_make_one_plan(settings, addresses, log, book):
    order = Order(*addresses, part_rows=25)
    first, begun = planned(order, settings)
    second, begun_before = planned(order, settings)
    assert (begun, begun_before) == (False, True)
    assert second.run == first.run
    assert list(second.parts) == list(first.parts)


def test_command_has_exit_codes_and_progress(settings, addresses, log, book, monkeypatch, capfd):
    for name, value in variables(settings).items():
        monkeypatch.setenv(name, value)
    assert main([*addresses, "--part-rows", "25"]) == 1
    said = capfd.readouterr().err
    assert "5 of 5 parts, 101 rows" in said
    assert "99 scored by version" in said
    assert main([*addresses, "--kind", "decision"]) == 2
    assert "was begun with kind 'portfolio'" in capfd.readouterr().err


def test_command_is_a_process_that_says_how_it_is_used():
    command = [sys.executable, "-m", "model_deployment.portfolio", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "INPUT is a CSV or Parquet file, or a folder of them" in done.stdout
