"""Which alerts Prometheus had, and when."""

import threading
import time
from typing import Any

import requests

PENDING, FIRING = "pending", "firing"
EVERY_SECONDS = 2.0
AWAY = "Prometheus did not answer"


class AlertWatch:
    """Asks Prometheus again and again for its alerts, in a thread of its own.

    Parameters
    ----------
    address : str
        The address of Prometheus; without one nothing is asked.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._seen: list[tuple[float, dict[str, str] | None]] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="alerts", daemon=True)
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business between two of our ports

    def start(self) -> None:
        """Begin to ask."""
        if self._address:
            self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._session.close()

    def between(self, since: float, until: float) -> list[str]:
        """Return the alerts that came in a span of time, each with the furthest that it got.

        Those that were there when it began are left out, unless they went from pending to firing.
        """
        if not self._address:
            return ["no Prometheus on this machine"]
        return appeared(list(self._seen), since, until)

    def _watch(self) -> None:
        while not self._ends.wait(EVERY_SECONDS):
            self._seen.append((time.monotonic(), self._ask()))

    def _ask(self) -> dict[str, str] | None:
        """Return the state of each alert by name; None when Prometheus does not answer."""
        try:
            answer = self._session.get(f"{self._address}/api/v1/alerts", timeout=5)
            answer.raise_for_status()
            return furthest(answer.json()["data"]["alerts"])
        except (requests.RequestException, KeyError, ValueError):
            return None


def furthest(alerts: list[dict[str, Any]]) -> dict[str, str]:
    """Return the state of each alert by name: firing when it fires for anything."""
    states: dict[str, str] = {}
    for alert in alerts:
        name, state = alert["labels"]["alertname"], alert["state"]
        if states.get(name) != FIRING:
            states[name] = state
    return states


def appeared(
    seen: list[tuple[float, dict[str, str] | None]], since: float, until: float
) -> list[str]:
    """Return what `AlertWatch.between` does, from the answers with their times."""
    earlier = [states for at, states in seen if at < since and states is not None]
    before = earlier[-1] if earlier else {}
    within = [states for at, states in seen if since <= at <= until]

    found: dict[str, str] = {}
    for states in within:
        for name, state in (states or {}).items():
            if before.get(name) not in (FIRING, state) and found.get(name) != FIRING:
                found[name] = state
    said = [f"{name} {state}" for name, state in sorted(found.items())]
    return [*said, AWAY] if None in within else said
