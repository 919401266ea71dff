"""Following a run with a stand-in for the API; test_stack.py follows one on a real server."""

from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.objects import Log
from prefect.states import Completed, Failed, Running, Scheduled

from model_orchestration_and_tracking import bootstrap, deploy
from model_orchestration_and_tracking import run as module
from model_orchestration_and_tracking.run import RunFailed, follow, main

RUN = SimpleNamespace(id=uuid4(), name="calm-crane", flow_id=uuid4(), work_pool_name="training")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0)


def line(text):
    return Log(
        id=uuid4(), name="prefect.task_runs", level=20, message=text, timestamp=datetime.now(UTC)
    )


class Api:
    """Answers with one state after the other, or fails; each time with all log lines so far."""

    def __init__(self, *answers, logs=()):
        self.answers, self.logs = list(answers), list(logs)

    def read_flow_run(self, _id):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(state=answer)

    def read_logs(self, *_args, **_kwargs):
        return self.logs


def test_states_and_log_lines_are_printed_once():
    said = []
    api = Api(
        Scheduled(),
        Running(),
        Running(),
        Completed(message="version 7"),
        logs=[line("one"), line("two")],
    )
    assert follow(api, RUN, said.append).is_completed()
    assert [text.split("  ")[-1] for text in said] == [
        "flow run calm-crane",
        "one",
        "two",
        "Scheduled...",
        "Running...",
        "Completed: version 7",
    ]


def test_failed_run_prints_why():
    said = []
    assert follow(Api(Failed(message="no such file")), RUN, said.append).is_failed()
    assert said[-1] == "Failed: no such file"


def test_short_absence_of_the_api_is_tolerated():
    away = httpx.ConnectError("refused")
    assert follow(Api(Running(), away, away, Completed()), RUN, lambda _line: None).is_completed()


def test_lasting_absence_of_the_api_fails(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    with pytest.raises(RunFailed, match="the Prefect API is gone"):
        follow(Api(Running(), httpx.ConnectError("refused")), RUN, lambda _line: None)


def test_run_that_no_worker_takes_is_reported(monkeypatch):
    monkeypatch.setattr(module, "UNTAKEN_SECONDS", -1)
    said = []
    with pytest.raises(RunFailed, match="left running"):
        follow(Api(Scheduled()), RUN, said.append, timeout=0.01)
    assert sum("no worker of pool 'training'" in text for text in said) == 1


@pytest.mark.parametrize(
    ("text", "expected"), [("n=20", ("n", 20)), ("data=a=b.csv", ("data", "a=b.csv"))]
)
def test_parameters_are_json_or_plain_text(text, expected):
    assert module._parameter(text) == expected


def test_parameter_without_a_value_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["flow/name", "--param", "n_iter"])
    assert "'n_iter' is not NAME=VALUE" in capsys.readouterr().err


def test_command_without_an_api_fails_in_one_line(monkeypatch, settings, capsys):
    monkeypatch.setattr(module, "Settings", lambda: settings)
    assert main(["flow/name"]) == 1
    assert "run: no Prefect API at http://127.0.0.1:1/api" in capsys.readouterr().err


@pytest.mark.parametrize("command", [module, deploy, bootstrap])
def test_help_shows_the_usage(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        command.main(["--help"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m {command.__name__}")
