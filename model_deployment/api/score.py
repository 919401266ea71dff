"""`POST /api/v1/score`, which systems ask all the time: without a framework between a request and its decision."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl

from werkzeug.http import parse_options_header

from model_deployment.api.json_body import LIST, applications, check_size
from model_deployment.api.openapi import JSON, PREFIX
from model_deployment.api.routes import PRIVATE, extras_of, key_of, refuse_empty
from model_deployment.api.serializers import body
from model_deployment.http.problem import Problem
from model_deployment.http.receiving import Receiver
from model_deployment.http.request import Answer, Request, encoded
from model_deployment.http.workload import Workload
from model_deployment.scoring.service import Scoring

PATH = f"{PREFIX}/score"
_HEADERS = encoded({"Content-Type": JSON, **PRIVATE})


class Endpoint:
    """Decides on JSON lists of applications, in threads of its own.

    Parameters
    ----------
    dumps : callable
        Writes an answer as JSON.
    threads : int
        How many.
    """

    def __init__(
        self,
        receiver: Receiver,
        workload: Workload,
        scoring: Scoring,
        dumps: Callable[[object], str],
        threads: int,
    ) -> None:
        self._receiver = receiver
        self._workload = workload
        self._scoring = scoring
        self._dumps = dumps
        self._threads = ThreadPoolExecutor(threads, "score")

    async def __call__(self, request: Request) -> Answer:
        """Answer a request."""
        type = request.get("content-type")
        if type != JSON and not _is_json(type):
            raise Problem(415, "unsupported-type", "Send JSON, as application/json.")
        request.entry.what = "score"
        extras = extras_of(dict(parse_qsl(request.query, keep_blank_values=True)))
        key = key_of(request.get("idempotency-key"))
        sent = await self._receiver.take(type, request.length, request.receive)
        try:
            check_size(sent.size, LIST)
            async with self._workload.of(sent.size):
                data = sent.stream.read()
                loop = asyncio.get_running_loop()
                text = await loop.run_in_executor(self._threads, self._score, data, extras, key, request)
        finally:
            sent.close()
        return Answer(200, [*_HEADERS, (b"content-length", b"%d" % len(text))], text)

    def _score(self, data: bytes, extras: frozenset[str], key: str | None, request: Request) -> bytes:
        assert request.caller is not None
        scored = self._scoring.rows(data, applications(data), caller=request.caller, key=key, extras=extras)
        request.entry.id = scored.batch.id
        refuse_empty(scored.batch)
        return f"{self._dumps(body(scored.batch, scored.scorer, extras))}\n".encode()


def _is_json(type: str | None) -> bool:
    kind, _ = parse_options_header(type)
    return kind == JSON or (kind.startswith("application/") and kind.endswith("+json"))
