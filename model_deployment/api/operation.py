"""An operation of the API: where it is, what it takes, what it answers.

Each route is made from one, and so is its part of the API's description, so neither can say what
the other does not.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, TypeVar

from flask import Blueprint
from pydantic import BaseModel

from credit_risk.access.roles import Permission
from model_deployment.api.schemas import Problem
from model_deployment.scoring.service import CHANGES, MAX_CHANGED, REASONS

PREFIX = "/api/v1"
MAX_KEY = 200

JSON = "application/json"
CSV = "text/csv"
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PARQUET = "application/vnd.apache.parquet"
FORM = "multipart/form-data"

# Of every answer but the description's: what it holds is a client's.
PRIVATE = {"Cache-Control": "no-store"}

# Statuses that anything read, or anything sent, may be answered with.
READ = (400, 401, 403, 500)
WRITE = (*READ, 408, 413, 415, 422, 503)

Schema = dict[str, Any]
# What a body holds: a model, one of several models, or a schema as JSON Schema has it.
Holds = type[BaseModel] | UnionType | Schema
_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Body:
    """What one type of body holds."""

    holds: Holds
    example: Any = None
    encoding: Schema | None = None


@dataclass(frozen=True)
class Operation:
    """One thing to do at one address.

    Attributes
    ----------
    path : str
        From the root, with `{name}` for what varies.
    id : str
        Its name in the description, and of the route.
    answers : mapping of int to (str, mapping of str to Holds)
        By status, what a success holds: a description, and what each media type holds.
    problems : tuple of int
        The statuses of failures.
    parameters : tuple of dict
        Of path, query and headers, as OpenAPI has them.
    body : mapping of str to Body
        What can be sent, by media type.
    empty : model
        What a 422 holds.
    more : mapping
        Members of each success in the description, such as headers.
    permission : str or None
        What the caller needs to have.
    public : bool
        Whether it is open to everybody, in place of a permission.

    Raises
    ------
    ValueError
        When it has neither a permission nor is public.
    """

    method: str
    path: str
    id: str
    summary: str
    text: str
    answers: Mapping[int, tuple[str, Mapping[str, Holds]]]
    problems: tuple[int, ...]
    parameters: tuple[Schema, ...] = ()
    body: Mapping[str, Body] = field(default_factory=dict)
    empty: type[BaseModel] = Problem
    more: Mapping[str, Any] = field(default_factory=dict)
    permission: Permission | None = None
    public: bool = False

    def __post_init__(self) -> None:
        """Refuse an operation that does not say who may call it."""
        if self.public is (self.permission is not None):
            raise ValueError(f"operation {self.id} takes a permission or is public")

    @property
    def rule(self) -> str:
        """The path as Flask routes it."""
        return re.sub(r"{(\w+)}", r"<\1>", self.path)

    def route(self, blueprint: Blueprint) -> Callable[[_View], _View]:
        """Return the decorator that makes a view the route of this operation."""
        return blueprint.route(self.rule, methods=[self.method.upper()], endpoint=self.id)


def path_parameter(name: str, what: str, schema: Schema | None = None) -> Schema:
    """Return the description of a part of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": what,
        "schema": schema or {"type": "string", "minLength": 1},
    }


def file_body(what: str) -> Body:
    """Return the description of a form with a file in its one field, `file`."""
    file = {"description": what, "type": "string", "format": "binary"}
    schema = {"type": "object", "properties": {"file": file}, "required": ["file"]}
    types = ", ".join((CSV, EXCEL, PARQUET))
    return Body(schema, encoding={"file": {"contentType": types}})


def _flag(name: str, what: str) -> Schema:
    return {
        "name": name,
        "in": "query",
        "description": f"{what}: `true`, `1`, or the name alone. Anything else: no.",
        "schema": {"type": "string"},
        "allowEmptyValue": True,
    }


EXTRAS = (
    _flag(REASONS, "Each decision comes with its reasons"),
    _flag(
        CHANGES,
        "Each red decision comes with what would change it; "
        f"at most {MAX_CHANGED} clients at a time",
    ),
)
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The caller's own, for one body: when that is sent again, what was decided "
    "first is answered.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
}
