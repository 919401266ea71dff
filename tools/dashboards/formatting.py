"""Values as Grafana's panels write them: by mapping, unit and number of decimals."""

import math
import time
from collections.abc import Mapping
from typing import Any


def formatted(value: float, defaults: Mapping[str, Any]) -> str:
    """Return a value as a panel with these defaults writes it."""
    if math.isnan(value):
        return str(defaults.get("noValue", "-"))
    mapped = mapping_of(value, defaults)
    if mapped is not None:
        return str(mapped["text"])

    unit, decimals = defaults["unit"], defaults.get("decimals")
    if unit == "percentunit":
        percent = _number(100 * value, 1 if decimals is None else decimals)
        return f"{percent.removesuffix('.0')}%"
    if unit == "s":
        return _duration(value, decimals)
    if unit == "dateTimeFromNow":
        return f"{_duration(abs(time.time() - value / 1000), 0)} ago"
    if unit == "short" and abs(value) >= 1000:
        return f"{_number(value / 1000, decimals)} K"
    return _number(value, decimals) + {"reqps": " req/s"}.get(unit, "")


def mapping_of(value: float, defaults: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the text and color that a panel shows for a value; None without a mapping."""
    key = f"{value:g}"
    found = (mapping["options"].get(key) for mapping in defaults.get("mappings", []))
    return next(filter(None, found), None)


def _number(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _duration(seconds: float, decimals: int | None) -> str:
    for least, unit in ((86400, "day"), (3600, "hour"), (60, "min")):
        if seconds >= least:
            number = _number(seconds / least, decimals)
            return f"{number} {unit}{'' if number == '1' else 's'}"

    if 0 < seconds < 1:
        return f"{_number(seconds * 1000, decimals)} ms"
    return f"{_number(seconds, decimals)} s"
