"""A client of the approvals service, for the operator's commands.

The service knows who asks by a token, which is in `APPROVALS_TOKEN`: a person's own, so it is no
setting of a stack.
"""

import os
from typing import Any

import requests

TOKEN = "APPROVALS_TOKEN"  # noqa: S105 - a variable's name
# An approval downloads the version and tries it out, which takes seconds to minutes.
_TIMEOUT = (5, 330)
_HOW = (
    "{} is not set: it holds the ID token that says who you are "
    "(docs/approvals.md says how to get one)"
)


class ServiceFailed(Exception):
    """The approvals service refused a request, or could not be asked; the message says why."""


class ApprovalsAPI:
    """The API of an approvals service.

    Parameters
    ----------
    address : str
        As in `APPROVALS_URL`.
    token : str
    """

    def __init__(self, address: str, token: str) -> None:
        self._address = address.rstrip("/")
        self._token = token

    def post(self, what: str, body: dict[str, Any]) -> str:
        """Send one request, and return what came of it, in a sentence.

        Parameters
        ----------
        what : str
            `proposals`, `approvals`, `rollbacks`, `adoptions` or `trainings`.

        Raises
        ------
        ServiceFailed
        """
        address = f"{self._address}/api/v1/{what}"
        try:
            # A redirect would lead to a page for signing in, and take the token along.
            answer = requests.post(
                address, json=body, auth=self._identify, timeout=_TIMEOUT, allow_redirects=False
            )
        except requests.ReadTimeout:
            raise ServiceFailed(
                f"{self._address} has not answered yet; `make approvals` says what came of it"
            ) from None
        except requests.RequestException as error:
            raise ServiceFailed(
                f"no approvals service at {self._address}: {type(error).__name__}"
            ) from None

        found = _members(answer)
        if answer.ok and "message" in found:
            return str(found["message"])
        status = f"{self._address} answers {answer.status_code}"
        raise ServiceFailed(str(found.get("detail", status)))

    def _identify(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As a function: a login in ~/.netrc would take the place of a header.
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def open_api(address: str) -> ApprovalsAPI:
    """Return the service's API for whoever has the token in the environment.

    Raises
    ------
    ServiceFailed
        When there is none.
    """
    token = os.environ.get(TOKEN, "").strip()
    if not token or not token.isascii():
        raise ServiceFailed(_HOW.format(TOKEN))
    return ApprovalsAPI(address, token)


def _members(answer: requests.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
