"""What is read from Docker's answers, and the commands that break a container."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

ONE_OFF = "com.docker.compose.oneoff"

KILL_ALL = ("sh", "-c", "kill -9 -1")
"""Kills every process of a container but its init, which then ends as well.

`docker kill` would not do: Docker takes it for a stop by hand, after which
`restart: unless-stopped` does not start the container again. A crash comes from within.
"""


def listed(printed: str) -> list[dict[str, Any]]:
    """Return the containers that `docker compose ps --format json` prints, a line each or a list.

    Those of `docker compose run` are left out.
    """
    text = printed.strip()
    found = json.loads(text) if text.startswith("[") else map(json.loads, text.splitlines())
    return [one for one in found if f"{ONE_OFF}=True" not in one.get("Labels", "")]


def breakable(containers: Sequence[Mapping[str, Any]], replicated: str, replica: str) -> list[str]:
    """Return the services with a running container, by name, and a replica where there are some."""
    running = [one["Service"] for one in containers if one["State"] == "running"]
    names = sorted(set(running))
    if running.count(replicated) > 1:
        names.insert(names.index(replicated) + 1, replica)
    return names


def healthcheck(inspected: Mapping[str, Any]) -> list[str]:
    """Return the command of a container's health check; empty when it has none."""
    test = list((inspected["Config"].get("Healthcheck") or {}).get("Test") or ["NONE"])
    match test[0]:
        case "CMD":
            return test[1:]
        case "CMD-SHELL":
            return ["sh", "-c", *test[1:]]
        case _:
            return []


def networks(inspected: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the networks that a container is on, each with the names that it has there."""
    own = inspected["Id"][:12]  # Docker adds it by itself
    return {
        name: [alias for alias in (network.get("Aliases") or []) if alias != own]
        for name, network in inspected["NetworkSettings"]["Networks"].items()
    }


def disconnect(network: str, container: str) -> list[str]:
    """Return the command that takes a container off a network."""
    return ["docker", "network", "disconnect", network, container]


def connect(network: str, container: str, aliases: Sequence[str]) -> list[str]:
    """Return the command that puts a container on a network under its names."""
    names = [word for alias in aliases for word in ("--alias", alias)]
    return ["docker", "network", "connect", *names, network, container]


def is_up(inspected: Mapping[str, Any], *, not_since: str = "") -> bool:
    """Return whether a container runs and is not paused, in another start than `not_since`."""
    state = inspected["State"]
    return bool(state["Running"]) and not state["Paused"] and state["StartedAt"] != not_since
