"""One client that asks again and again on a connection that stays open, with as little work of its own as can be.

Plain blocking sockets, a request that is made once, an answer that is only looked at for its status and length: some
ten microseconds a request, so that what is measured is the server.
"""

import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from credit_risk.application import Floats

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True)
class Load:
    """What a client saw: `seconds` of each request, one after the other."""

    seconds: Floats

    @property
    def per_second(self) -> float:
        """How many requests a second were answered."""
        return len(self.seconds) / float(self.seconds.sum())

    @property
    def p99(self) -> float:
        """The seconds within which 99 of 100 requests were answered."""
        return float(np.quantile(self.seconds, 0.99))


def ask(url: str, body: bytes, seconds: float, warm_up: int = 20) -> Load:
    """Post a JSON body for so long, on one connection, and return how long each answer took.

    Raises
    ------
    RuntimeError
        When an answer is not 200.
    """
    parts = urlsplit(url)
    request = (
        f"POST {parts.path}{'?' if parts.query else ''}{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    taken: list[float] = []
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(warm_up):
            _one(connection, request)
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end or not taken:
            _one(connection, request)
            taken.append(time.perf_counter() - start)
    return Load(np.array(taken))


def _one(connection: socket.socket, request: bytes) -> None:
    connection.sendall(request)
    answer = connection.recv(65536)
    while (at := answer.find(_END)) < 0:
        answer += _more(connection)
    head = answer[:at].lower()
    if b" 200 " not in head[:20]:
        raise RuntimeError(answer.decode(errors="replace"))
    start = head.index(_LENGTH) + len(_LENGTH)
    left = at + len(_END) + int(head[start:].split(b"\r\n", 1)[0]) - len(answer)
    while left > 0:
        left -= len(_more(connection))


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    if not received:
        raise RuntimeError("the server closed the connection")
    return received
