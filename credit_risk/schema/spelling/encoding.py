"""The encoding of an uploaded file: UTF-8, or UTF-16 with a byte order mark."""

import re

import numpy as np
import pyarrow as pa

from credit_risk.schema.faults import MalformedFile

_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_UTF_8_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def utf8(data: bytes | memoryview) -> memoryview:
    """Return a file as UTF-8 without a byte order mark, ending in a line end.

    Raises
    ------
    MalformedFile
        When it is empty, not text, or in another encoding.
    """
    # The parts of a view are not copies: a file may have 200 MB.
    data = memoryview(data)
    _check_not_empty(data)

    start = bytes(data[:4])
    if start in (_ZIP, _OLD_EXCEL):
        raise MalformedFile(
            "this is an Excel workbook or a zip archive; "
            "save the sheet as CSV (UTF-8) and upload that"
        )
    if start.startswith(_UTF_16_MARKS):
        data = _from_utf16(data)
    if bytes(data[:3]) == _UTF_8_MARK:
        data = data[3:]

    _check_utf8(data)
    _check_not_empty(data)

    codes = np.frombuffer(data, np.uint8)
    if not codes.min():
        line = _line_at(data, int(codes.argmin()))
        raise MalformedFile(f"line {line} holds a NUL byte; this is not a CSV")

    ends_a_line = bytes(data[-1:]) in (b"\n", b"\r")
    return data if ends_a_line else memoryview(b"".join((data, b"\n")))


def _check_not_empty(data: memoryview) -> None:
    if not re.search(rb"\S", data):
        raise MalformedFile("the file is empty")


def _from_utf16(data: memoryview) -> memoryview:
    try:
        return memoryview(str(data, "utf-16").encode())
    except UnicodeError:
        raise MalformedFile(
            "the file says it is UTF-16 but is not; save it as CSV (UTF-8)"
        ) from None


def _check_utf8(data: memoryview) -> None:
    # Arrow validates text without copying it, as decoding would.
    ends = pa.py_buffer(np.array([0, len(data)], dtype=np.int64))
    try:
        pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(data)).validate(full=True)
    except pa.ArrowInvalid:
        pass
    else:
        return

    try:
        str(data, "utf-8")
    except UnicodeDecodeError as error:
        line = _line_at(data, error.start)
        raise MalformedFile(
            f"line {line} is not UTF-8 text; save the file as CSV (UTF-8)"
        ) from None


def _line_at(data: memoryview, place: int) -> int:
    return bytes(data[:place]).count(b"\n") + 1
