"""Answers as compact JSON in UTF-8.

orjson takes a tenth of the time of the standard library.
"""

from typing import Any

import orjson
from flask.json.provider import DefaultJSONProvider


class JsonProvider(DefaultJSONProvider):
    """Flask's JSON provider, but with orjson as the writer."""

    sort_keys = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return an object as JSON."""
        option = orjson.OPT_PASSTHROUGH_DATETIME
        try:
            return orjson.dumps(obj, default=self.default, option=option).decode()
        except TypeError:
            # A number of more than 64 bits, or half of a character: an answer may quote a request.
            return super().dumps(obj, **{"separators": (",", ":"), **kwargs})
