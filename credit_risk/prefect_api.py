"""A client of the Prefect server that needs only the standard library.

Prefect's own client takes a second to import, and is not installed where the exporter runs.
"""

import base64
import json
import urllib.request
import uuid
from typing import Any
from urllib.error import HTTPError

# Without proxies: one from the environment would be used even for 127.0.0.1.
open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class PrefectAPI:
    """The API of a Prefect server.

    Parameters
    ----------
    address : str
        Its address, as in `PREFECT_API_URL`.
    login : str
        USER:PASSWORD; empty if the server does not require one.
    timeout : float
        Most seconds that each answer may take.
    """

    def __init__(self, address: str, login: str = "", timeout: float = 5) -> None:
        self.address = address
        self._timeout = timeout
        self._client = str(uuid.uuid4())
        self._headers = {"Content-Type": "application/json"}
        if login:
            encoded = base64.b64encode(login.encode()).decode()
            self._headers["Authorization"] = f"Basic {encoded}"

    def ask(self, path: str, question: dict[str, Any]) -> Any:
        """Return the answer to a POST request, which is how Prefect's filters are sent.

        Raises
        ------
        OSError
            When the server does not answer, or answers with an error; `urllib.error.HTTPError` has
            the status.
        ValueError
            When the answer is not JSON.
        """
        body = json.dumps(question).encode()
        try:
            return self._fetch(path, body)
        except HTTPError as error:
            error.close()
            if error.code != 403:
                raise

        # The server requires a token with each POST. Ours is missing, or an hour old.
        token = self._fetch(f"csrf-token?client={self._client}")["token"]
        self._headers |= {"Prefect-Csrf-Client": self._client, "Prefect-Csrf-Token": token}
        return self._fetch(path, body)

    def _fetch(self, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(f"{self.address}/{path}", body, self._headers)  # noqa: S310 - a setting
        with open_directly(request, timeout=self._timeout) as response:
            return json.load(response)
