"""The page's callbacks: what each takes, and checks of the calls before they reach Dash."""

from collections.abc import Callable
from typing import Any, TypeVar

from dash import Dash
from flask import Flask, request
from pydantic import BaseModel, ConfigDict, ValidationError

from credit_risk.access.roles import Permission
from model_deployment.api.json_body import Bounds, check_size, parse
from model_deployment.http.asking import require
from model_deployment.http.problem import Problem

PATH = "/_dash-update-component"
# The browser sends the result of a file back, with up to 1,000 faults and their allowed values.
_BOUNDS = Bounds(5_000_000, 100_000)
_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Part(BaseModel):
    """A property of a component; the callback itself checks its value."""

    model_config = ConfigDict(strict=True)
    id: str
    property: str


class _Call(BaseModel):
    """A call as Dash's renderer sends it."""

    model_config = ConfigDict(strict=True)
    output: str
    outputs: _Part | list[_Part]
    inputs: list[_Part]
    state: list[_Part] = []
    changedPropIds: list[str]  # noqa: N815 - Dash's name


class Callbacks:
    """Callbacks that are declared with the permission that they take.

    Dash has one address for all of them.

    Attributes
    ----------
    dash : Dash
    permissions : dict of str to str
        By what a callback puts out, as Dash names it.
    """

    def __init__(self, dash: Dash) -> None:
        self.dash = dash
        self.permissions: dict[str, Permission] = {}

    def add(
        self, permission: Permission, *parts: Any, **options: Any
    ) -> Callable[[_Function], _Function]:
        """Return the decorator that makes a function a callback; see `Dash.callback`."""
        known = set(self.dash.callback_map)
        made: Callable[[_Function], _Function] = self.dash.callback(*parts, **options)
        (output,) = set(self.dash.callback_map) - known
        self.permissions[output] = permission
        return made


def guard(app: Flask, page: Callbacks) -> None:
    """Have an app refuse everything that is not a call of a callback that the caller may make."""

    @app.before_request
    def look() -> None:
        if request.path != PATH or request.method != "POST":
            return
        if not request.is_json:
            raise Problem(415, "unsupported-type", "A callback takes JSON.")

        check_size(request.content_length or 0, _BOUNDS)
        sent = parse(request.get_data(), "call of a callback", _BOUNDS)
        try:
            call = _Call.model_validate(sent)
        except ValidationError:
            detail = "This is not a call of one of the page's callbacks."
            raise Problem(400, "no-callback", detail) from None
        if not _is_known(call, page.dash):
            raise Problem(404, "no-callback", "The page has no such callback. Load it again.")
        require(page.permissions.get(call.output))


def _is_known(call: _Call, dash: Dash) -> bool:
    """Return whether a callback has these outputs, inputs and state."""
    known = dash.callback_map.get(call.output)
    if known is None:
        return False

    inputs = [f"{one['id']}.{one['property']}" for one in known["inputs"]]
    state = [f"{one['id']}.{one['property']}" for one in known["state"]]

    several = call.output.startswith("..")
    outputs = call.outputs if isinstance(call.outputs, list) else [call.outputs]
    given = [_name(one) for one in outputs]
    return (
        [_name(one) for one in call.inputs] == inputs
        and [_name(one) for one in call.state] == state
        and set(call.changedPropIds) <= set(inputs)
        and several is isinstance(call.outputs, list)
        and (f"..{'...'.join(given)}.." if several else given[0]) == call.output
    )


def _name(part: _Part) -> str:
    return f"{part.id}.{part.property}"
