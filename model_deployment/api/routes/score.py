"""`POST /api/v1/score`, the busiest route: no framework stands between request and decision."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.http import parse_options_header

from credit_risk.schema.attributes import CLIENT_ID
from credit_risk.schema.codec import decode
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.validation import Validator
from model_deployment.api.json_body import LIST, MAX_ROWS, applications, check_size
from model_deployment.api.operation import (
    EXTRAS,
    JSON,
    KEY,
    PREFIX,
    PRIVATE,
    WRITE,
    Body,
    Operation,
)
from model_deployment.api.request_data import extras_of, key_of
from model_deployment.api.schemas import Decided, NothingDecided
from model_deployment.api.serializers import body, refuse_empty
from model_deployment.http.problem import Problem
from model_deployment.http.receiving import UploadLimiter
from model_deployment.http.request import Answer, Request, encoded
from model_deployment.http.workload import Workload
from model_deployment.scoring.service import Scoring

_HEADERS = encoded({"Content-Type": JSON, **PRIVATE})
_DECISION = {"id": "$response.body#/decisions/0/id"}


def example(dataset: Dataset, sample: bytes) -> dict[str, Any]:
    """Return the first client of the page's sample file, or of none, one who is made up."""
    found = Validator(dataset).csv(sample) if sample else ()
    if not found:
        return {CLIENT_ID: "1", **{a.name: a.example for a in dataset.attributes}}
    (client,) = decode(found.codes[:1], dataset).to_pylist()
    return {CLIENT_ID: found.client_id[0], **client}


SCORE = Operation(
    "post",
    f"{PREFIX}/score",
    "score",
    "Decide on a list of applications",
    "Valid applications are decided on; what is wrong with the others is said. `row` counts from "
    f"0. At most {MAX_ROWS:,} come in a list; more come as a file. What is written in another way "
    "than in `Application` is taken where it can mean one thing only, which `warnings` say: names "
    "of columns in another case or with blanks for underscores, values in quotes of their own, "
    "`NA`, `NaN`, `NULL` or `None` where a value may be absent. A text like `400.000` or `400,000` "
    "is not a whole number.",
    {200: ("At least one application was decided on.", {JSON: Decided})},
    (*WRITE, 409),
    (*EXTRAS, KEY),
    {
        JSON: Body(
            {
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/components/schemas/Application"},
            },
        )
    },
    NothingDecided,
    {
        "links": {
            "decision": {"operationId": "decision", "parameters": _DECISION},
            "override": {"operationId": "override", "parameters": _DECISION},
        }
    },
    permission="score",
)


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
        receiver: UploadLimiter,
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
                text = await loop.run_in_executor(
                    self._threads, self._score, data, extras, key, request
                )
        finally:
            sent.close()
        return Answer(200, [*_HEADERS, (b"content-length", b"%d" % len(text))], text)

    def _score(
        self, data: bytes, extras: frozenset[str], key: str | None, request: Request
    ) -> bytes:
        assert request.caller is not None
        scored = self._scoring.rows(
            data, applications(data), caller=request.caller, key=key, extras=extras
        )
        request.entry.id = scored.batch.id
        refuse_empty(scored.batch)
        return f"{self._dumps(body(scored, extras))}\n".encode()


def _is_json(type: str | None) -> bool:
    kind, _ = parse_options_header(type)
    return kind == JSON or (kind.startswith("application/") and kind.endswith("+json"))
