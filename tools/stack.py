"""Run the local stack in the foreground; see, follow or stop it from another terminal.

`run` starts every service under supervisord in its order, prints one table when all are ready, starts again what dies,
and stops everything on Ctrl-C or SIGTERM.
"""

import argparse
import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xmlrpc.client import Fault

from pydantic import ValidationError

from credit_risk.settings import Settings, faults
from tools import passwords, processes
from tools.archive import Failed
from tools.exposure import is_open
from tools.local import ROOT, Stack
from tools.services import SERVICES, Health, health

SCRAPE_KEY = "/run/secrets/scrape-key"  # where prometheus.yml has it, in containers
NOT_RUNNING = 3  # the exit status of `status` when nothing runs, as init scripts have it
PATIENCE = 900  # seconds until a start that leads nowhere is given up; one that keeps dying is given up at once
HESITATION = 5  # seconds that a service may take to load the model that is there
TRIAL = 120  # seconds for which it may try a model that is new to it, in a process of its own, on a busy machine
LOOK = 0.3  # seconds between two looks at what starts
GONE = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")
MISSING = {
    "prometheus": "not on PATH: `apt-get install prometheus`, `brew install prometheus` or prometheus.io/download",
    "alertmanager": "not on PATH: `apt-get install prometheus-alertmanager` or prometheus.io/download",
}
NOTHING = "nothing runs here: `make run` starts it"
WHAT_NEXT = """
Next, in another terminal:
  open {riskometer} and upload data/test.csv: every client gets green or red
  make model-train-flow         trains; the best new model becomes the challenger
  make approve VERSION=2 BY="your name" REASON="why"     makes it the one that decides
  make evidently-report-flow    reports on drift, once 100 clients were decided
  make status, make logs        the logs are in {logs}
Ctrl-C, or `make stop`, stops everything; the state stays in {var}."""


class Console:
    """What a person sees: on a terminal one line that changes, elsewhere a line for each step."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()

    def progress(self, text: str) -> None:
        """Show what goes on right now."""
        if self.live:
            self._write(f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}")

    def step(self, text: str) -> None:
        """Say that a step is done, where `progress` shows nothing."""
        if not self.live:
            self._write(f"{text}\n")

    def say(self, text: str) -> None:
        """Print what is to stay."""
        self._write(("\r\033[K" if self.live else "") + text + "\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that was closed must not keep us from stopping the services
            sys.stdout.write(text)
            sys.stdout.flush()


@dataclass
class Start:
    """How far the start of one service is."""

    poll: float
    began: float = field(default_factory=time.monotonic)
    pids: set[int] = field(default_factory=set)
    unready_at: float | None = None
    ready_at: float | None = None
    alone_at: float | None = None

    def see(self, now: Health, pid: int) -> None:
        """Take in what was just seen of it."""
        if pid:
            self.pids.add(pid)
        if now.alive and not now.ready:
            self.unready_at = self.unready_at or time.monotonic()
        if not now.ready:
            self.ready_at = None
        elif self.ready_at is None:
            self.ready_at = time.monotonic()

    def over(self, now: Health, *, alone: bool) -> bool:
        """Say whether it has started; when it is `alone` in not being ready, answering has to do after a while.

        The first model comes to the processes of one service one by one, within `poll` seconds: where it took its time,
        one ready answer is not the word of all of them.
        """
        if self.ready_at is not None:
            waited = self.unready_at is not None and self.ready_at - self.unready_at > HESITATION
            return not waited or time.monotonic() - self.ready_at > self.poll
        if not alone or not now.alive:
            return False
        self.alone_at = self.alone_at or time.monotonic()
        return time.monotonic() - self.alone_at > 2 * self.poll + TRIAL

    def failed(self, now: Health) -> bool:
        """Say whether it keeps dying, or has led nowhere for too long."""
        return len(self.pids) > 2 or (not now.alive and time.monotonic() - self.began > PATIENCE)


class Run:
    """One run of the stack, from the first check to the last process ended."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self.stack = stack
        self.console = console
        self.environment = stack.environment()
        self.services = [s for s in SERVICES if s.possible]
        self.stopping = False
        self.began = time.monotonic()

    def __call__(self) -> None:
        """Run until a signal says stop.

        Raises
        ------
        Failed
            When the stack cannot start, or supervisord was killed. Nothing is left running then either.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        with self.stack.lock():
            self.stack.close()
            if processes.of_stack(str(self.stack.var)):
                self.console.say("an earlier run was killed: ending what it left")
                halt(self.stack, self.console)
            self._check_ports()
            self._prepare()
            try:
                supervisord = self._supervisord()
                self._start(supervisord)
                if not self.stopping:
                    self._present()
                    self._watch(supervisord)
            finally:
                began = time.monotonic()
                halt(self.stack, self.console)
                self.stack.remember(None)
            self.console.say(f"stopped in {time.monotonic() - began:.0f} s; the state is kept in {self.stack.var}")

    def _on_signal(self, number: int, frame: object) -> None:
        self.stopping = True

    def _check_ports(self) -> None:
        ports = {s.port: int(self.environment[s.port]) for s in self.services if s.port}
        faults = []
        for port, times in Counter(ports.values()).items():
            if times > 1:
                names = " and ".join(name for name in ports if ports[name] == port)
                faults.append(f"{names} are both {port}: give each a port of its own")
        for name, port in ports.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.environment[name.replace("_PORT", "_ADDRESS")], port))
                except OSError as error:
                    why = error.strerror
                    if error.errno == errno.EADDRINUSE:
                        why = f"is held by {processes.holder(port) or 'a process of another user'}"
                    faults.append(f"port {port} {why}; another one for us: {name}={port + 1} make run (or in .env)")
        if faults:
            raise Failed("\n".join(faults))

    def _prepare(self) -> None:
        self.stack.log_dir.mkdir(exist_ok=True)
        passwords.make(self.stack.secrets)
        self.stack.remember(self.environment)
        # Prometheus' files as compose has them, but for the addresses of what it scrapes and whom it tells.
        files = self.stack.var / "prometheus"
        addressed = ("targets", "alertmanagers")
        shutil.copytree(ROOT / "prometheus", files, ignore=shutil.ignore_patterns(*addressed), dirs_exist_ok=True)
        config = files / "prometheus.yml"
        config.write_text(config.read_text().replace(SCRAPE_KEY, self.environment["SCRAPE_KEY_FILE"]))
        addresses = {s.name: s.address(self.environment).removeprefix("http://") for s in self.services if s.port}
        for folder in addressed:
            groups = json.loads((ROOT / "prometheus" / folder / "compose.json").read_text())
            for group in groups:
                names = [target.partition(":")[0] for target in group["targets"]]
                group["targets"] = [addresses[name] for name in names if name in addresses]
            (files / folder).mkdir(exist_ok=True)
            (files / folder / "local.json").write_text(json.dumps(groups, indent=2))

    def _supervisord(self) -> subprocess.Popen[bytes]:
        """Start supervisord, in a session of its own so that Ctrl-C reaches it only through us."""
        # What points somewhere else, such as the MLflow server or the Prefect profile of its user, is none of this
        # stack's business, nor is a supervisor that we may run under. And without bytecode a start takes a minute.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW_", "PREFECT_", "SUPERVISOR_", "PROMETHEUS_", "PYTHONDONTWRITEBYTECODE"))
        }
        here = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))
        environment = inherited | self.environment | {
            processes.STACK: str(self.stack.var),
            "PYTHON": sys.executable,
            "ALERTMANAGER": next((s.program for s in self.services if s.name == "alertmanager"), None) or "",
            "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            "NO_PROXY": here,
            "no_proxy": here,
        }  # fmt: skip
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(ROOT / "supervisord.conf")]
        log = self.stack.log_dir / "supervisord.log"
        with log.open("ab") as out:
            supervisord = subprocess.Popen(
                command,
                cwd=self.stack.run_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while not self.stack.processes():
            if supervisord.poll() is not None or time.monotonic() - self.began > 30:
                raise Failed(f"supervisord did not start:\n{tail(log)}")
            time.sleep(0.1)
        return supervisord

    def _start(self, supervisord: subprocess.Popen[bytes]) -> None:
        """Start every service as soon as those before it are ready, until all are."""
        environment = self.stack.remembered()
        starts: dict[str, Start] = {}
        ready: list[str] = []
        while len(ready) < len(self.services) and not self.stopping:
            self._check_alive(supervisord)
            known = self.stack.processes()
            for service in self.services:
                name = service.name
                if name not in known or name in ready:
                    continue
                if name not in starts:
                    if set(service.after) <= set(ready):
                        with contextlib.suppress(OSError):  # a supervisord that was just killed: the next look sees it
                            self.stack.call("startProcess", name, False)
                        starts[name] = Start(poll=self.stack.settings.model_poll_seconds)
                    continue
                now = health(service, environment, known[name])
                starts[name].see(now, known[name]["pid"])
                if starts[name].over(now, alone=len(ready) == len(self.services) - 1):
                    ready.append(name)
                    self.console.step(f"{self._clock()} {name}: {now.text}")
                elif starts[name].failed(now) or (service.job and known[name]["statename"] == "EXITED"):
                    log = self.stack.log_dir / f"{name}.log"
                    raise Failed(f"{name} {now.text}; the end of {log}:\n{tail(log)}")
            waiting = ", ".join(name for name in starts if name not in ready) or "the rest"
            self.console.progress(f"{self._clock()} {len(ready)} of {len(self.services)} ready, waiting for {waiting}")
            time.sleep(LOOK)

    def _clock(self) -> str:
        return f"{time.monotonic() - self.began:4.0f} s"

    def _check_alive(self, supervisord: subprocess.Popen[bytes]) -> None:
        if supervisord.poll() is not None:
            raise Failed("supervisord was ended by somebody else, so everything stops: `make run` starts it again")

    def _present(self) -> None:
        self.console.say(f"ready in {time.monotonic() - self.began:.0f} s\n")
        self.console.say(table(self.stack, self.stack.remembered()))
        self.console.say(f"\n{what_is_open(self.environment)}\n\n{logins(self.stack, self.environment, self.console)}")
        riskometer = next(s for s in SERVICES if s.name == "risk-o-meter")
        self.console.say(
            WHAT_NEXT.format(
                riskometer=riskometer.address(self.environment), logs=self.stack.log_dir, var=self.stack.var
            )
        )

    def _watch(self, supervisord: subprocess.Popen[bytes]) -> None:
        """Stay until told to stop, and say which service died and was started again."""
        known = self.stack.processes()
        while not self.stopping:
            time.sleep(0.5)
            self._check_alive(supervisord)
            now = self.stack.processes()
            for name, process in now.items():
                if process["pid"] not in (0, known[name]["pid"]) and known[name]["pid"]:
                    self.console.say(f"{time.strftime('%H:%M:%S')} {name} had died and was started again")
                known[name] = process if process["pid"] else known[name]


def halt(stack: Stack, console: Console) -> None:
    """Stop every service, servers last, then supervisord, then whatever else carries the mark of the stack."""
    for servers in (False, True):
        names = {s.name for s in SERVICES if s.server == servers}
        for name in names:
            with contextlib.suppress(OSError, Fault):  # no supervisord, or nothing to stop
                stack.call("stopProcess", name, False)
        deadline = time.monotonic() + 90  # supervisord itself kills what takes longer than its stopwaitsecs
        while time.monotonic() < deadline and (alive := running(stack, names)):
            console.progress(f"stopping {', '.join(alive)}")
            time.sleep(0.2)
        processes.end(p for p, name in processes.of_stack(str(stack.var)) if name in names)
    with contextlib.suppress(OSError, Fault):
        stack.call("shutdown")
    left = [p for p, _ in processes.of_stack(str(stack.var))]
    processes.end(left, patience=10)


def running(stack: Stack, names: set[str]) -> list[str]:
    """Return which of these services have a process."""
    return [name for name, process in stack.processes().items() if name in names and process["statename"] not in GONE]


def table(stack: Stack, environment: Mapping[str, str]) -> str:
    """Return each service with its address and its state."""
    known = stack.processes()
    rows = [("service", "address", "state")]
    for service in SERVICES:
        if not service.possible:
            rows.append((service.name, "", MISSING[service.name]))
            continue
        address = service.address(environment) + service.page
        rows.append((service.name, address, health(service, environment, known.get(service.name)).text))
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return "\n".join(f"{name:{widths[0]}}  {address:{widths[1]}}  {state}" for name, address, state in rows)


def what_is_open(environment: Mapping[str, str]) -> str:
    """Say which services other machines reach, a line for each."""
    doors = [service for service in SERVICES if service.possible and service.port]
    lines = [f"open to the network: {s.name}, by its login" for s in doors if is_open(s.name, environment)]
    rest = "everything else answers" if lines else "every service answers"
    return "\n".join([*lines, f"{rest} on this machine only"])


def logins(stack: Stack, environment: Mapping[str, str], console: Console) -> str:
    """Return what a person types where a page asks for a login; into a file, how to see it."""
    if not console.live:
        return "logins, once:  see `make passwords`"
    return f"logins, once:\n{passwords.typed(stack.secrets, mlflow=is_open('mlflow', environment))}"


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log file, indented."""
    text = log.read_text(errors="replace") if log.exists() else "(there is no such file)"
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines()[-lines:])


def status(stack: Stack, console: Console) -> int:
    """Print the table; 0 when a stack runs, else `NOT_RUNNING`."""
    if environment := stack.remembered():
        console.say(table(stack, environment))
        console.say(f"\n{logins(stack, environment, console)}")
        return 0
    if processes.of_stack(str(stack.var)):
        console.say(
            "the supervisor was killed and left services behind: `make run` starts afresh, `make stop` ends them"
        )
    else:
        console.say(NOTHING)
    return NOT_RUNNING


def stop(stack: Stack, console: Console) -> int:
    """Stop the stack, and wait until nothing of it is left."""
    if pid := stack.runner():
        os.kill(pid, signal.SIGTERM)
        while stack.runner() == pid:
            console.progress("stopping")
            time.sleep(0.2)
    elif processes.of_stack(str(stack.var)):
        halt(stack, console)
    else:
        console.say(NOTHING)
        return 0
    console.say(f"stopped; the state is kept in {stack.var}")
    return 0


def logs(stack: Stack, names: Sequence[str]) -> int:
    """Follow log files, those of all services when none is named, until Ctrl-C."""
    files = [stack.log_dir / f"{name}.log" for name in names] or sorted(stack.log_dir.glob("*.log"))
    missing = [file for file in files if not file.exists()]
    if missing or not files:
        there = ", ".join(sorted(file.stem for file in stack.log_dir.glob("*.log"))) or "none yet"
        raise Failed(f"no such log; there is: {there}")
    os.execvp("tail", ["tail", "-n", "20", "-F", *map(str, files)])


def execute(stack: Stack, command: Sequence[str]) -> int:
    """Become a command that finds the running stack by its environment."""
    environment = stack.remembered()
    if not environment:
        raise Failed(NOTHING)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    os.execvpe(command[0], list(command), os.environ | environment | {"PATH": path})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.stack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="start everything, stay until Ctrl-C or SIGTERM, stop everything")
    commands.add_parser("status", help=f"print the table (exit status {NOT_RUNNING}: nothing runs)")
    commands.add_parser("stop", help="stop everything, from another terminal")
    follow = commands.add_parser("logs", help="follow the log files")
    follow.add_argument("name", nargs="*", help="of these services only")
    execute_ = commands.add_parser("exec", help="run a command with the addresses of the running stack")
    execute_.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")
    commands.add_parser("running", help="say nothing; exit status 0 when a stack runs")
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    os.umask(0o077)  # the state is its user's alone
    console = Console()
    try:
        stack = Stack(Settings())
        match options.command:
            case "run":
                Run(stack, console)()
                return 0
            case "status":
                return status(stack, console)
            case "stop":
                return stop(stack, console)
            case "logs":
                return logs(stack, options.name)
            case "exec":
                return execute(stack, options.argv)
            case _:
                return 0 if stack.remembered() else NOT_RUNNING
    except ValidationError as error:
        for line in faults(error):
            console.say(line)
    except Failed as failed:
        console.say(str(failed))
    return 1


if __name__ == "__main__":
    sys.exit(main())
