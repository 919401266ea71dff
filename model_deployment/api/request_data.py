"""What a request brings: flags, an idempotency key, files, JSON."""

from collections.abc import Mapping

from flask import request
from werkzeug.datastructures import FileStorage

from model_deployment.api.json_body import SMALL, check_size
from model_deployment.api.operation import FORM, MAX_KEY
from model_deployment.files.formats import UploadedFile
from model_deployment.http.asking import FILES
from model_deployment.http.problem import Problem
from model_deployment.http.receiving import content
from model_deployment.scoring.service import CHANGES, REASONS

MAX_NAME = 200


def extras_of(query: Mapping[str, str]) -> frozenset[str]:
    """Return what a query asks for beside decisions: `?reasons=true&what_would_change_it=true`."""
    asked = {name: query.get(name, "no").lower() for name in (REASONS, CHANGES)}
    return frozenset(name for name, value in asked.items() if value in ("true", "1", ""))


def key_of(key: str | None) -> str | None:
    """Return an idempotency key as it came, if it is one.

    Raises
    ------
    Problem
        When it is empty or too long.
    """
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        raise Problem(400, "bad-key", f"An Idempotency-Key has 1 to {MAX_KEY} characters.")
    return key


def sent_key() -> str | None:
    """Return the idempotency key of the request under way."""
    return key_of(request.headers.get("Idempotency-Key"))


def sent_file(what: str = "the file") -> UploadedFile:
    """Return the file of the form that the request under way sends.

    Raises
    ------
    Problem
        When it sends anything else (415), or not one file (400).
    """
    if request.mimetype != FORM:
        detail = f"Send {what} as {FORM}, in a field named 'file'."
        raise Problem(415, "unsupported-type", detail)

    files: list[FileStorage] = request.environ[FILES]
    if len(files) != 1:
        detail = f"The form has {len(files)} files in a field named 'file'; send one."
        raise Problem(400, "not-one-file", detail)
    return UploadedFile(content(files[0]), _name(files[0].filename))


def sent_json() -> bytes:
    """Return the small JSON body of the request under way.

    Raises
    ------
    Problem
        When it is of another type (415) or too large (413).
    """
    if not request.is_json:
        raise Problem(415, "unsupported-type", "Send JSON, as application/json.")
    check_size(request.content_length or 0, SMALL)
    return request.get_data()


def _name(filename: str | None) -> str | None:
    """Return the last part of an uploaded file's name, printable and short."""
    last = (filename or "").replace("\\", "/").rpartition("/")[2]
    printable = "".join(character for character in last if character.isprintable())
    return printable[:MAX_NAME] or None
