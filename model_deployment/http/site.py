"""The page, and all of the API except scoring: Flask and Dash, behind ASGI.

Their threads never wait for a client: a request's body is complete before a thread takes it up, and
the whole answer is kept until it is sent.
"""

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

from a2wsgi import WSGIMiddleware
from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from model_deployment.http.asking import CALLER, ENTRY, FILES, RESULT
from model_deployment.http.receiving import Body, UploadLimiter
from model_deployment.http.request import UNMATCHED, Answer, Request
from model_deployment.http.workload import Workload

_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
# Key of the scope: further entries of the WSGI environment.
_MORE = "credit_risk.environ"

Environ = dict[str, Any]
Message = MutableMapping[str, Any]


class Site:
    """Answers all requests that no other part of the app answers.

    Parameters
    ----------
    threads : int
        How many requests are worked on at a time.
    """

    def __init__(
        self, flask: Flask, receiver: UploadLimiter, workload: Workload, threads: int
    ) -> None:
        self.flask = flask
        self._receiver = receiver
        self._workload = workload
        self._rules = flask.url_map.bind("localhost")
        self._wsgi = WSGIMiddleware(self._call, threads)

    async def __call__(self, asked: Request) -> Answer:
        """Answer a request."""
        if asked.method not in _WITH_BODY or asked.route == UNMATCHED:
            return await self._answer(asked, {})
        body = await self._receiver.take(asked.get("content-type"), asked.length, asked.receive)
        try:
            async with self._workload.of(body.size):
                return await self._answer(asked, _environ(body))
        finally:
            body.close()

    def route(self, method: str, path: str) -> str:
        """Return the rule of an address."""
        try:
            rule, _ = self._rules.match(path, method, return_rule=True)
        except (HTTPException, RequestRedirect):
            return UNMATCHED
        return rule.rule

    async def _answer(self, asked: Request, environ: Environ) -> Answer:
        headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in asked.headers
        ]
        environ = {CALLER: asked.caller, ENTRY: asked.entry, RESULT: None, **environ}
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            messages.append(message)

        await self._wsgi({**asked.scope, "headers": headers, _MORE: environ}, receive, send)

        start, *parts = messages
        body = environ[RESULT] or b"".join(part.get("body", b"") for part in parts)
        return Answer(start["status"], start["headers"], body)

    def _call(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        more = environ["asgi.scope"][_MORE]
        environ |= more
        answer = self.flask(environ, start_response)
        more[RESULT] = environ[RESULT]
        return answer


def _environ(body: Body) -> Environ:
    return {"wsgi.input": body.stream, "CONTENT_LENGTH": str(body.size), FILES: body.files}
