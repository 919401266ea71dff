"""Clients that send requests on open connections, with as little work of their own as possible.

Plain sockets in one thread, a request that is built once, and an answer of which only status and
length are read: some ten microseconds per request, so that what is measured is the server.
"""

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from credit_risk.schema.attributes import Floats

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_PATIENCE = 60


@dataclass(frozen=True)
class Load:
    """What clients saw.

    Attributes
    ----------
    seconds : array of shape (n,)
        How long each request took.
    passed : float
        Seconds from the first request to the last answer.
    """

    seconds: Floats
    passed: float

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return len(self.seconds) / self.passed

    @property
    def p99(self) -> float:
        """The seconds within which 99 of 100 requests were answered."""
        return float(np.quantile(self.seconds, 0.99))


def ask(url: str, body: bytes, seconds: float, connections: int = 1, warm_up: int = 20) -> Load:
    """Post a JSON body again and again on each connection, and return how long each answer took.

    Parameters
    ----------
    url : str
        Address of the endpoint.
    body : bytes
        The JSON.
    seconds : float
        How long to go on.
    connections : int
        Number of connections that are used at the same time.
    warm_up : int
        Requests in all that are sent beforehand and not measured.

    Raises
    ------
    RuntimeError
        When an answer is not 200.
    """
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    address = parts.hostname or "", parts.port or 80

    # The warm-up has connections of its own: one that has finished would wait until the server
    # hangs up.
    _ask(address, request, connections, seconds=0, least=max(1, warm_up // connections))

    start = time.perf_counter()
    taken = _ask(address, request, connections, seconds, least=1)
    return Load(np.array(taken), time.perf_counter() - start)


def asking(url: str, body: bytes, seconds: float, connections: int = 1) -> Callable[[], Load]:
    """Return a function that asks."""
    return lambda: ask(url, body, seconds, connections)


def _ask(
    address: tuple[str, int], request: bytes, connections: int, seconds: float, least: int
) -> list[float]:
    """Send requests on each connection for `seconds`, at least `least` times.

    Returns how long each request took.
    """
    clients = [_Client(address, request) for _ in range(connections)]
    try:
        return _answers(clients, time.perf_counter() + seconds, least)
    finally:
        for client in clients:
            client.socket.close()


def _answers(clients: list["_Client"], end: float, least: int) -> list[float]:
    taken: list[float] = []
    selector = selectors.DefaultSelector()
    for client in clients:
        client.begin()
        client.left = least - 1
        selector.register(client.socket, selectors.EVENT_READ, client)

    busy = len(clients)
    while busy:
        events = selector.select(_PATIENCE)
        if not events:
            raise RuntimeError("the server does not answer")

        for key, _ in events:
            client = key.data
            if not client.has_answer():
                continue

            now = time.perf_counter()
            taken.append(now - client.began)
            if now < end or client.left > 0:
                client.left -= 1
                client.begin()
            else:
                selector.unregister(client.socket)
                busy -= 1

    return taken


class _Client:
    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address, timeout=_PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self.left = 0
        self._request = request
        self._answer = b""

    def begin(self) -> None:
        self._answer = b""
        self.began = time.perf_counter()
        self.socket.sendall(self._request)

    def has_answer(self) -> bool:
        """Receive what has come, and return whether that is all of the answer."""
        received = self.socket.recv(65536)
        if not received:
            raise RuntimeError("the server closed the connection")

        self._answer += received
        at = self._answer.find(_END)
        if at < 0:
            return False

        head = self._answer[:at].lower()
        if b" 200 " not in head[:20]:
            raise RuntimeError(self._answer.decode(errors="replace"))

        start = head.index(_LENGTH) + len(_LENGTH)
        return len(self._answer) >= at + len(_END) + int(head[start:].split(b"\r\n", 1)[0])
