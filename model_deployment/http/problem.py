"""A problem: every answer that is not a success, as `application/problem+json` (RFC 9457).

`type` is a stable word for programs, `detail` a sentence for people.
"""

import json
import math
from http import HTTPStatus
from typing import Any

from flask import Response

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 5


class Problem(Exception):
    """An answer that is not a success.

    Parameters
    ----------
    status : int
        The HTTP status.
    kind : str
        The last word of `type`.
    detail : str
        What went wrong and what to do, for people.
    headers : dict, optional
        Further headers.
    members : dict, optional
        Further members of the body.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        headers: dict[str, str] | None = None,
        members: dict[str, Any] | None = None,
    ) -> None:
        detail = _sentence(detail)
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers or {}
        self.members = members or {}

    def body(self) -> str:
        """Return it as JSON."""
        body = {
            "type": f"urn:risk-o-meter:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        return json.dumps(body)

    def response(self) -> Response:
        """Return it as an HTTP answer."""
        return Response(self.body(), self.status, self.headers, content_type=CONTENT_TYPE)


def size_text(size: float) -> str:
    """Return a number of bytes as people write it: 215.3 MB, 200 MB, 20 kB."""
    if size < 1e6:
        return f"{math.ceil(size / 1000)} kB"
    return f"{size / 1e6:.1f}".removesuffix(".0") + " MB"


def _sentence(text: str) -> str:
    """Return a text, which may be a fault's, with a capital letter and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def unavailable(kind: str, detail: str) -> Problem:
    """Return the problem of something that is unavailable for now."""
    return Problem(503, kind, detail, {"Retry-After": str(RETRY_SECONDS)})


def nothing_at(path: str) -> Problem:
    """Return the problem of an address at which there is nothing."""
    return Problem(404, "not-found", f"There is nothing at {path}.")


def not_allowed(method: str, path: str, allowed: str) -> Problem:
    """Return the problem of a method that an address does not take.

    Parameters
    ----------
    allowed : str
        The methods that it takes.
    """
    detail = f"{path} takes no {method}; it takes {allowed}."
    return Problem(405, "method-not-allowed", detail, {"Allow": allowed})
