"""A closed Risk-O-Meter, asked by anybody with any header; 127.0.0.2 is the proxy's address."""

import json
from collections.abc import Sequence
from http.client import HTTPConnection
from typing import Any, NamedTuple

from tests.support.riskometer import Server

PROXY, STRANGER = "127.0.0.2", "127.0.0.1"
CALLBACK = "/_dash-update-component"

Headers = Sequence[tuple[str, str]]


class Answer(NamedTuple):
    status: int
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


class Door:
    """Asks a server as anybody can: any header, also twice, from any address of this machine.

    Parameters
    ----------
    server : Server
    user : list of (str, str)
        The headers of somebody who may load the page.
    """

    def __init__(self, server: Server, user: Headers) -> None:
        self.server = server
        self.callbacks = self.ask("GET", "/_dash-dependencies", headers=user).body

    def ask(
        self, method: str, path: str, body: Any = None, *, headers: Headers = (), peer: str = ""
    ) -> Answer:
        """Return the answer to a request.

        A request with a user's name comes from the proxy, unless `peer` is given.
        """
        by_proxy = any(name.lower() == "x-forwarded-user" for name, _ in headers)
        source = peer or (PROXY if by_proxy else STRANGER)
        connection = HTTPConnection(
            "127.0.0.1", self.server.port, timeout=30, source_address=(source, 0)
        )
        kind = "text/csv" if isinstance(body, str) else "application/json"
        data = (
            b"" if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
        )
        try:
            connection.putrequest(method, path)
            is_typed = any(name == "Content-Type" for name, _ in headers)
            for name, value in [*([] if is_typed else [("Content-Type", kind)]), *headers]:
                connection.putheader(name, value)
            if data:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"))
        finally:
            connection.close()

    def call(self, part: str, values: list[Any], headers: Headers, peer: str = "") -> Answer:
        """Run a callback of the page, found by a part of its output."""
        it = next(d for d in self.callbacks if part in d["output"])
        return self.run(it, values, headers, peer)

    def run(
        self, it: dict[str, Any], values: list[Any], headers: Headers, peer: str = ""
    ) -> Answer:
        """Run a callback, of which `it` is what the page knows."""
        n, output = len(it["inputs"]), it["output"]
        several = output.startswith("..")
        outputs = (
            [_spec(one) for one in output.strip(".").split("...")] if several else _spec(output)
        )
        body = {
            "output": output,
            "outputs": outputs,
            "changedPropIds": ["{id}.{property}".format(**it["inputs"][0])],
            "inputs": [dict(i, value=v) for i, v in zip(it["inputs"], values, strict=False)],
            "state": [dict(s, value=v) for s, v in zip(it["state"], values[n:], strict=False)],
        }
        return self.ask("POST", CALLBACK, body, headers=headers, peer=peer)

    def score(self, row: dict[str, Any], headers: Headers) -> dict[str, Any]:
        answer = self.ask("POST", "/api/v1/score", [row], headers=headers)
        assert answer.status == 200, answer.text
        return dict(answer.body)

    def lines(self) -> list[dict[str, Any]]:
        """Return what the access log says."""
        lines = self.server.log_file.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"time"')]


def _spec(output: str) -> dict[str, str]:
    id, _, name = output.split("@")[0].rpartition(".")
    return {"id": id, "property": output.rpartition(".")[2] if name else ""}


def named(*users: str) -> Headers:
    return [("X-Forwarded-User", user) for user in users]


def bearer(key: str) -> Headers:
    return [("Authorization", f"Bearer {key}")]
