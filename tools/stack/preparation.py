"""What has to be in order before the local stack starts: data set, ports, Prometheus' files."""

import errno
import json
import os
import shutil
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from credit_risk.schema.dataset_file import (
    InvalidDataset,
    dataset_path,
    load_dataset,
    read_sample,
    training_file,
)
from tools.failure import Failed
from tools.paths import ROOT
from tools.stack.processes import holder
from tools.stack.services import Service

SCRAPE_KEY = "/run/secrets/scrape-key"
"""Where prometheus.yml has the key, in containers."""
SERVED = "dataset"
"""The file with the name of the data set that a stack serves."""
ADDRESSED = ("targets", "alertmanagers")
"""Folders with the addresses of what Prometheus scrapes, and of what it reports alerts to."""


def check_dataset(chosen: str, var: Path) -> None:
    """Check that the data set is valid, and the one that the stack has served before.

    Raises
    ------
    Failed
        With one line, when it is not.
    """
    try:
        name = load_dataset(chosen).name
        read_sample(chosen)
    except InvalidDataset as error:
        raise Failed(str(error)) from None

    mark = var / SERVED
    before = mark.read_text().strip() if mark.is_file() else ""
    if before and before != name:
        raise Failed(
            f"the stack in {var} serves the data set {before}, and a stack serves one: give "
            f"{name} a folder of its own, VAR_DIR=var-{name} make run DATASET={chosen}"
        )


def remember_dataset(chosen: str, var: Path) -> None:
    """Note the data set of a stack that has started: from now on it serves no other."""
    (var / SERVED).write_text(f"{load_dataset(chosen).name}\n")


def file_to_try(chosen: str) -> str:
    """Return a file of clients that a data set comes with; empty where there is none.

    That is its training data, or else its sample, which is only previewed.
    """
    dataset, folder = load_dataset(chosen), dataset_path(chosen).parent
    if dataset.file and (file := training_file(chosen)).is_file():
        return os.path.relpath(file)
    return os.path.relpath(folder / dataset.sample) if dataset.sample else ""


def check_ports(services: Sequence[Service], environment: Mapping[str, str]) -> None:
    """Check that every service has a port of its own that nobody holds.

    Raises
    ------
    Failed
        With one line for each port that two services share or that is taken.
    """
    ports = {service.port: int(environment[service.port]) for service in services if service.port}
    faults = []
    for port, times in Counter(ports.values()).items():
        if times > 1:
            names = " and ".join(name for name in ports if ports[name] == port)
            faults.append(f"{names} are both {port}: give each a port of its own")

    for name, port in ports.items():
        fault = _port_fault(environment[name.replace("_PORT", "_ADDRESS")], port)
        if fault:
            another = f"another one for us: {name}={port + 1} make run (or in .env)"
            faults.append(f"port {port} {fault}; {another}")

    if faults:
        raise Failed("\n".join(faults))


def _port_fault(address: str, port: int) -> str:
    """Return why a port cannot be listened on; empty if it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"is held by {holder(port) or 'a process of another user'}"
            return str(error.strerror)
    return ""


def write_prometheus_files(
    folder: Path, services: Sequence[Service], environment: Mapping[str, str]
) -> None:
    """Copy Prometheus' files as compose has them, with the key and the addresses of this stack."""
    shutil.copytree(
        ROOT / "prometheus",
        folder,
        ignore=shutil.ignore_patterns(*ADDRESSED),
        dirs_exist_ok=True,
    )
    config = folder / "prometheus.yml"
    config.write_text(config.read_text().replace(SCRAPE_KEY, environment["SCRAPE_KEY_FILE"]))

    addresses = {
        service.name: service.address(environment).removeprefix("http://")
        for service in services
        if service.port
    }
    for name in ADDRESSED:
        groups = json.loads((ROOT / "prometheus" / name / "compose.json").read_text())
        for group in groups:
            targets = [target.partition(":")[0] for target in group["targets"]]
            group["targets"] = [addresses[target] for target in targets if target in addresses]
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "local.json").write_text(json.dumps(groups, indent=2))
