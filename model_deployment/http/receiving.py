"""Receiving request bodies in the event loop, so that slow ones hold no thread.

A body is held to a size and to a minimum rate. Small ones stay in memory, others go to disk. A form
is parsed while it comes in, so that its file is written once and read in place.
"""

import asyncio
import io
import logging
import mmap
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import IO, Any, NamedTuple

from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data as Part
from werkzeug.sansio.multipart import Epilogue, File, MultipartDecoder, NeedData, Preamble

from credit_risk.schema.sheets.csv_table import Data
from model_deployment.http.problem import Problem, size_text, unavailable

# Seconds that a body may take, and bytes of it that add a second (as with Apache's
# RequestReadTimeout).
GRACE_SECONDS = 20.0
LEAST_RATE = 1000
# Bodies of more bytes are on disk.
IN_MEMORY = 600_000
# Bytes of a form that are parsed at a time, most bytes outside its file, and most parts.
_PIECE = 65_536
_MOST_BETWEEN = 500_000
_MOST_PARTS = 1000
NO_SPACE = (
    "There is no room for the upload on this service's disk, so nothing was decided. "
    "Try again later."
)

_CLOSE = {"Connection": "close"}

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

logger = logging.getLogger(__name__)


class Body(NamedTuple):
    """A complete body: its bytes, or of a form, the files in the field `file`."""

    stream: IO[bytes]
    size: int
    files: list[FileStorage]

    def close(self) -> None:
        """Free its room on disk."""
        self.stream.close()
        for file in self.files:
            file.close()


class UploadLimiter:
    """Receives bodies.

    Parameters
    ----------
    limit : int
        Most bytes of a body.
    places : int
        How many bodies that are too large for memory may come in at a time.
    """

    def __init__(self, limit: int, places: int) -> None:
        self._limit = limit
        self._places = places
        self._taken = 0

    async def take(self, content_type: str | None, length: int | None, receive: Receive) -> Body:
        """Receive a body.

        Raises
        ------
        Problem
            When it is too large (413), too slow (408), breaks off (400), or there is no room for it
            (503).
        """
        if length is not None and length > self._limit:
            raise self._too_large(length)

        kind, options = parse_options_header(content_type)
        sink = _Form(options) if kind == "multipart/form-data" else _Plain()

        try:
            return await self._fill(sink, length, receive)
        except RequestEntityTooLarge:
            _give_up(sink)
            detail = (
                "The form has too many or too large fields; send one file in a field named 'file', "
                "and nothing else."
            )
            raise Problem(413, "too-large", detail) from None
        except OSError as error:
            _give_up(sink)
            logger.error("an upload cannot be written to the temporary folder: %s", error)
            raise unavailable("no-space", NO_SPACE) from None
        except BaseException:
            _give_up(sink)
            raise

    async def _fill(self, sink: "_Plain | _Form", length: int | None, receive: Receive) -> Body:
        began = time.monotonic()
        size = 0
        more = length != 0
        placed = False
        try:
            while more:
                deadline = began + GRACE_SECONDS + size / LEAST_RATE
                data, more = await _next(receive, deadline - time.monotonic())
                size += len(data)
                if size > self._limit:
                    raise self._too_large(length)

                if size > IN_MEMORY and not placed:
                    self._take_place()
                    placed = True
                if placed or not sink.quick:
                    await asyncio.to_thread(sink.write, data)
                else:
                    sink.write(data)
                more = more and size != length
            return sink.body(size)
        finally:
            self._taken -= placed

    def _take_place(self) -> None:
        if self._taken == self._places:
            detail = f"{self._places} uploads are under way here already. Try again in a moment."
            raise unavailable("busy", detail)
        self._taken += 1

    def _too_large(self, length: int | None) -> Problem:
        has = f"has {size_text(length)}" if length else "is larger than that"
        detail = (
            f"The limit is {size_text(self._limit)}, and the request {has}. "
            "Send the clients in several files."
        )
        return Problem(413, "too-large", detail)


async def _next(receive: Receive, seconds: float) -> tuple[bytes, bool]:
    """Return the next piece of a body, and whether there is more."""
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
    except TimeoutError:
        detail = (
            f"The request came too slowly: less than {LEAST_RATE:,} bytes a second. Send it again."
        )
        raise Problem(408, "too-slow", detail, _CLOSE) from None
    if message["type"] != "http.request":  # the client is gone, or sent something else than a chunk
        raise Problem(400, "incomplete", "The request broke off before its end.", _CLOSE)

    data, more = message.get("body", b""), message.get("more_body", False)
    if more and not data:  # this is how the server passes on trailers, without their content
        raise Problem(400, "trailers", "A body is not followed by trailers here.", _CLOSE)
    return data, more


def _spool() -> IO[bytes]:
    """Return a file that is on disk once it is large; the caller closes it."""
    return tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # type: ignore[return-value]


class _Plain:
    """The sink of a body that is not a form."""

    quick = True

    def __init__(self) -> None:
        self._stream = _spool()

    def write(self, data: bytes) -> None:
        self._stream.write(data)

    def body(self, size: int) -> Body:
        self._stream.seek(0)
        return Body(self._stream, size, [])

    def close(self) -> None:
        self._stream.close()


class _Form:
    """The sink of a form: keeps the first file in the field `file`, and counts the others."""

    quick = False  # many small parts take milliseconds

    def __init__(self, options: Mapping[str, str]) -> None:
        self._files: list[FileStorage] = []
        self._open: IO[bytes] | None = None
        self._between = 0
        try:
            boundary = options["boundary"].encode("ascii")
        except (KeyError, UnicodeError):
            boundary = b""
        self._decoder = (
            MultipartDecoder(boundary, _MOST_BETWEEN, max_parts=_MOST_PARTS) if boundary else None
        )

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        for at in range(0, len(view), _PIECE):
            self._decode(view[at : at + _PIECE])

    def body(self, size: int) -> Body:
        self._decode(None)
        for file in self._files:
            file.seek(0)
        return Body(io.BytesIO(), size, self._files)

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _decode(self, data: memoryview | None) -> None:
        if self._decoder is None:
            return
        try:
            self._decoder.receive_data(data)  # type: ignore[arg-type]
            while not isinstance(event := self._decoder.next_event(), NeedData | Epilogue):
                self._take(event)
        except ValueError:  # it is not a form, and so has no files
            self.close()
            self._files, self._decoder = [], None

    def _take(self, event: object) -> None:
        if isinstance(event, File):
            self._open = None
            if event.name == "file":
                self._open = None if self._files else _spool()
                self._files.append(
                    FileStorage(self._open or io.BytesIO(), event.filename, event.name)
                )
        elif isinstance(event, Part) and self._open is not None:
            self._open.write(event.data)
            if not event.more_data:
                self._open = None
        elif not isinstance(event, Preamble):
            self._between += len(getattr(event, "data", b""))
            if self._between > _MOST_BETWEEN:
                raise RequestEntityTooLarge


def _give_up(sink: _Plain | _Form) -> None:
    """Close a sink that nobody will read."""
    with suppress(OSError):  # a write that found no room on the disk is tried once more
        sink.close()


def content(file: FileStorage) -> Data:
    """Return the content of a file that was received.

    Of a large one it is a view, because a copy would take the same memory again.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= IN_MEMORY:
        return bytes(file.read())
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
