"""The Makefile: its help, what targets check first, and where the dispatcher runs commands."""

import os
import re
import shutil
import subprocess

import pytest

from tools.paths import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()


def make(*arguments, cwd=ROOT, **variables):
    unset = {"VERSION", "BY", "REASON", "CONFIRM", "FROM", "TO", "STACK", "MAKEFLAGS", "MAKELEVEL"}
    unset |= {"BAD", "DATASET", "FOLDS", "GOOD", "NAME", "REPEATS", "SEED"}
    unset |= {"ID", "INPUT", "KIND", "OUTPUT", "PART_ROWS", "REASONS"}
    # `make test ARGS=-q` hands its variables on through the environment.
    unset |= {"ARGS", "MAKEOVERRIDES", "MFLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=cwd,
        env=environment | variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )


def test_make_alone_lists_every_target_with_one_line():
    said = make()
    assert said.returncode == 0
    phony = re.search(r"\.PHONY: ((?:.*\\\n)*.*)", MAKEFILE)[1].replace("\\\n", " ").split()
    for target in phony:
        assert len(re.findall(rf"^  make {target} +\S.*$", said.stdout, re.M)) == 1, target
    assert said.stdout == make("help").stdout


def test_every_rule_has_a_line_of_help():
    rules = re.findall(r"^([a-z][a-z-]*):(.*)$", MAKEFILE, re.M)
    assert all(" ## " in line for _, line in rules)


@pytest.mark.parametrize(
    ("target", "variables", "hint"),
    [
        ("approve", {"VERSION": "3", "BY": "Ann"}, 'VERSION=3 BY="your name" REASON="why"'),
        ("adopt", {"VERSION": "3", "BY": "Ann"}, 'VERSION=3 BY="your name" REASON="why"'),
        ("outcomes", {"FILE": "is not there"}, "FILE=outcomes.csv"),
        ("dataset", {"FILE": "README.md", "TARGET": "class"}, "BAD=its value for a bad client"),
        ("batch-score", {"INPUT": "book.csv"}, "both: INPUT=a file or folder of CSV or Parquet"),
        ("batch-score", {"OUTPUT": "scored"}, "OUTPUT=a folder"),
        ("rollback", {"BY": "Ann"}, 'BY="your name" REASON="why"'),
        ("reset", {}, "CONFIRM=1"),
        ("backup", {}, "TO=/safe/place"),
        ("restore", {}, "FROM=/safe/place"),
    ],
)
def test_a_target_names_its_missing_variables(target, variables, hint):
    said = make(target, **variables)
    assert said.returncode != 0
    assert hint in said.stdout


@pytest.fixture
def place(tmp_path):
    """A copy of Makefile and dispatcher, with stand-ins for `docker` and `.venv/bin/python`.

    The stand-ins only print their arguments. The files `compose-runs` and `local-runs` say which
    stack is up.
    """
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "tools/dispatch.sh", tmp_path / "tools")
    for name, script in {
        "bin/docker": 'if [ "$2" = ps ]; then [ ! -e compose-runs ] || echo 0123; exit; fi\n',
        ".venv/bin/python": 'if [ "$3" = running ]; then [ -e local-runs ]; exit; fi\n',
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text(f'#!/bin/sh\n{script}printf "{file.name}"; printf " [%s]" "$@"; echo\n')
        file.chmod(0o755)
    return tmp_path


def has_environment(place):
    for name in ("uv.lock", ".venv/.from-lock"):
        (place / name).touch()


def dispatched(place, target, **variables):
    return make(target, cwd=place, PATH=f"{place}/bin:{os.environ['PATH']}", **variables)


def test_with_containers_the_command_runs_in_one(place):
    (place / "compose-runs").touch()
    said = dispatched(place, "approvals").stdout.splitlines()
    assert said == [
        "stack: docker compose, in training-worker",
        "docker [compose] [exec] [-T] [training-worker] [with-secrets] "
        "[python] [-m] [credit_risk] [approvals]",
    ]


def test_with_containers_an_approval_runs_in_a_new_one(place):
    """A lasting container must not hold the approver's rights, least of all one that runs flows."""
    (place / "compose-runs").touch()
    for target in ("approve", "adopt", "rollback"):
        said = dispatched(place, target, VERSION="3", BY="Ann", REASON="why").stdout.splitlines()
        assert said[0] == "stack: docker compose, in approver"
        run = (
            "docker [compose] [run] [--rm] [-T] [--no-deps] [approver] [python] [-m] [credit_risk]"
        )
        assert said[1].startswith(f"{run} [{target}] ")


def test_with_containers_no_local_environment_is_needed(place):
    (place / "compose-runs").touch()
    shutil.rmtree(place / ".venv")
    assert dispatched(place, "evidently-report-flow").returncode == 0


def test_with_a_local_stack_the_command_runs_here(place):
    (place / "local-runs").touch()
    said = dispatched(place, "model-train-flow", N_ITER="20").stdout.splitlines()
    assert said[0] == "stack: local"
    assert said[1].startswith(
        "python [-m] [tools.stack] [exec] [python] [-m] [model_orchestration_and_tracking.run]"
    )
    assert said[1].endswith("[credit-risk-training/sunday-night] [--param] [n_iter=20]")


def test_without_docker_the_local_stack_is_found(place):
    (place / "local-runs").touch()
    (place / "bin/docker").unlink()
    assert dispatched(place, "approvals").stdout.startswith("stack: local\n")


def test_two_stacks_are_an_error_unless_one_is_named(place):
    (place / "compose-runs").touch()
    (place / "local-runs").touch()
    said = dispatched(place, "approvals")
    assert said.returncode != 0
    assert "say which, STACK=local or STACK=compose" in said.stdout
    assert dispatched(place, "approvals", STACK="local").stdout.startswith("stack: local\n")
    assert dispatched(place, "approvals", STACK="compose").stdout.startswith(
        "stack: docker compose"
    )


def test_without_a_stack_a_target_says_how_to_start_one(place):
    said = dispatched(place, "approvals")
    assert said.returncode != 0
    assert "nothing runs: start it with `make run` or `docker compose up --build`" in said.stdout


def test_a_stack_of_another_name_is_refused(place):
    assert "it can be compose or local" in dispatched(place, "approvals", STACK="cloud").stdout


def test_names_and_reasons_arrive_exactly_as_typed(place):
    (place / "local-runs").touch()
    reason = 'it\'s "better": $HOME `id` 5% \\ of cases'
    said = dispatched(place, "approve", VERSION="3", BY="Ann O'Neil", REASON=reason).stdout
    assert said.splitlines()[-1].endswith(
        f"[--version] [3] [--by] [Ann O'Neil] [--reason] [{reason}]"
    )


def test_a_file_of_outcomes_goes_to_the_command_with_its_name(place):
    (place / "local-runs").touch()
    (place / "my outcomes.csv").touch()
    said = dispatched(place, "outcomes", FILE="my outcomes.csv").stdout
    assert said.splitlines()[-1].endswith("[model_deployment.outcomes] [--name] [my outcomes.csv]")


@pytest.mark.parametrize(("asked", "options"), [({}, ""), ({"REASONS": "1"}, " [--reasons]")])
def test_a_file_to_score_goes_to_the_command_with_its_name(place, asked, options):
    (place / "local-runs").touch()
    (place / "my clients.csv").write_text("x")
    said = dispatched(place, "score", FILE="my clients.csv", OUT="result.csv", **asked)
    assert said.returncode == 0
    command = (place / "result.csv").read_text().splitlines()[-1]
    assert command.endswith(f"[model_deployment.score] [--name] [my clients.csv]{options}")


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ({}, ""),
        (
            {"KIND": "decision", "ID": "loan id", "REASONS": "1", "PART_ROWS": "1000"},
            " [--kind] [decision] [--id] [loan id] [--reasons] [--part-rows] [1000]",
        ),
    ],
)
def test_a_portfolio_goes_to_the_command_with_all_that_was_asked_for(place, asked, options):
    (place / "local-runs").touch()
    said = dispatched(place, "batch-score", INPUT="my book", OUTPUT="scored", **asked).stdout
    assert said.splitlines()[-1].endswith(
        f"[python] [-m] [model_deployment.portfolio]{options} [my book] [scored]"
    )


@pytest.mark.parametrize(
    ("asked", "options"),
    [({}, ""), ({"GOOD": "1", "NAME": "loans"}, " [--good] [1] [--name] [loans]")],
)
def test_a_first_definition_is_drafted_of_a_file(place, asked, options):
    (place / "my clients.csv").touch()
    given = {"FILE": "my clients.csv", "TARGET": "Loan status", "BAD": "Charged Off"}
    has_environment(place)
    said = dispatched(place, "dataset", **given, **asked).stdout
    assert said.splitlines()[-1] == (
        "python [-m] [data.draft] [--file] [my clients.csv] [--target] [Loan status] "
        f"[--bad] [Charged Off]{options}"
    )


@pytest.mark.parametrize("place_of_it", ["before", "after"])
def test_a_variable_may_stand_before_or_after_make(place, place_of_it):
    (place / ".venv/bin/python").write_text('#!/bin/sh\necho "$DATASET for $@"\n')
    has_environment(place)
    path = f"{place}/bin:{os.environ['PATH']}"
    if place_of_it == "before":
        said = make("run", cwd=place, PATH=path, DATASET="credit_data")
    else:
        said = make("run", "DATASET=credit_data", cwd=place, PATH=path)
    assert said.stdout == "credit_data for -m tools.stack run\n"


def test_the_evaluation_takes_its_size_from_variables(place):
    has_environment(place)
    said = dispatched(place, "evaluate", REPEATS="2", FOLDS="5", SEED="7").stdout
    assert said.splitlines()[-1] == (
        "python [-m] [model_orchestration_and_tracking.evaluate] "
        "[--seed] [7] [--repeats] [2] [--folds] [5]"
    )


def test_training_data_are_written_where_training_runs(place):
    (place / "compose-runs").touch()
    said = dispatched(place, "training-data").stdout
    assert said.splitlines()[-1].endswith(
        "[training-worker] [with-secrets] [python] [-m] [credit_risk] [training-data]"
    )


def test_clean_and_reset_refuse_while_the_stack_runs(place):
    (place / "local-runs").touch()
    (place / "var").mkdir()
    for said in (dispatched(place, "clean"), dispatched(place, "reset", CONFIRM="1")):
        assert said.returncode != 0
        assert "it runs: `make stop` first" in said.stdout
    assert (place / "var").exists()


def test_clean_keeps_the_state_and_reset_removes_it(place):
    (place / "var/__pycache__").mkdir(parents=True)
    (place / "credit_risk/__pycache__").mkdir(parents=True)
    assert dispatched(place, "reset").returncode != 0
    assert dispatched(place, "clean").returncode == 0
    assert not (place / ".venv").exists()
    assert not (place / "credit_risk/__pycache__").exists()
    assert (place / "var/__pycache__").exists()
    assert dispatched(place, "reset", CONFIRM="1").returncode == 0
    assert not (place / "var").exists()


def test_backup_and_restore_run_with_any_available_python(place):
    (place / "bin/python3").write_text('#!/bin/sh\nprintf "python3"; printf " [%s]" "$@"; echo\n')
    (place / "bin/python3").chmod(0o755)
    assert (
        dispatched(place, "backup", TO="a b").stdout
        == "python [-m] [tools.state.backup] [make] [a b]\n"
    )
    shutil.rmtree(place / ".venv")
    assert (
        dispatched(place, "restore", FROM="a").stdout
        == "python3 [-m] [tools.state.backup] [restore] [a]\n"
    )
    confirmed = dispatched(place, "restore", FROM="a", CONFIRM="1").stdout
    assert confirmed == "python3 [-m] [tools.state.backup] [restore] [a] [--replace]\n"
    assert dispatched(place, "upgrade").stdout == "python3 [-m] [tools.state.backup] [upgrade]\n"
