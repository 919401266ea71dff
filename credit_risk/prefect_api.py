"""Questions to the Prefect server, asked with the standard library alone.

Prefect's own client takes a second to import, and is not there where the exporter runs.
"""

import base64
import json
import urllib.request
import uuid
from typing import Any
from urllib.error import HTTPError

# A proxy from the environment would be asked for 127.0.0.1 too.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class PrefectAPI:
    """The API of a Prefect server.

    Parameters
    ----------
    address : str
        Where it is, as `PREFECT_API_URL` says it.
    login : str
        USER:PASSWORD; empty where the server asks for none.
    timeout : float
        Seconds that each of its answers may take.
    """

    def __init__(self, address: str, login: str = "", timeout: float = 5) -> None:
        self.address = address
        self._timeout = timeout
        self._client = str(uuid.uuid4())
        self._headers = {"Content-Type": "application/json"}
        if login:
            self._headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"

    def ask(self, path: str, question: dict[str, Any]) -> Any:
        """Return the answer to a question, which is a POST as all of Prefect's filters are.

        Raises
        ------
        OSError
            When it does not answer, or not with what was asked for; `urllib.error.HTTPError` has its status.
        ValueError
            When the answer is no JSON.
        """
        body = json.dumps(question).encode()
        try:
            return self._fetch(path, body)
        except HTTPError as error:
            error.close()
            if error.code != 403:
                raise
        # It wants a token of its own with each POST; ours is missing, or an hour old.
        token = self._fetch(f"csrf-token?client={self._client}")["token"]
        self._headers |= {"Prefect-Csrf-Client": self._client, "Prefect-Csrf-Token": token}
        return self._fetch(path, body)

    def _fetch(self, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(f"{self.address}/{path}", body, self._headers)  # noqa: S310 - a setting
        with _open(request, timeout=self._timeout) as response:
            return json.load(response)
