"""The parts of a workbook, a zip archive, held to their real size, not the declared one."""

import io
import zipfile
import zlib
from collections.abc import Iterator

from model_deployment.files.limited import TOO_LARGE, FileRefused

# Bytes of a part once it is unpacked. A sheet of 100,000 clients has 104 MB.
MAX_SHEET = 200_000_000
MAX_PARTS = {"xl/styles.xml": 5_000_000, "xl/sharedStrings.xml": 50_000_000}
MAX_OTHER = 20_000_000
MAX_TOGETHER = 100_000_000  # without the sheets
MAX_ENTRIES = 2_000
SAVE = "save the sheet as CSV (UTF-8) and upload that"
NO_BOOK = f"this is no Excel workbook that can be read; {SAVE}"
_CHUNK = 1 << 20


class Parts:
    """The parts of a workbook by name.

    Raises
    ------
    FileRefused
        When they are encrypted, too many, or too large.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()

        self._infos = {info.filename: info for info in infos}
        if len(infos) > MAX_ENTRIES or len(self._infos) < len(infos):
            raise FileRefused(NO_BOOK)
        if any(info.flag_bits & 1 for info in infos):
            raise FileRefused(f"the workbook is encrypted; {SAVE}")

        # Everything that a reader looks at beside the sheets; pictures are never unpacked.
        room = MAX_TOGETHER
        for name in self._infos:
            if name.endswith((".xml", ".rels")) and not name.startswith("xl/worksheets/"):
                limit = min(MAX_PARTS.get(name, MAX_OTHER), room)
                room -= len(self.read(name, limit))

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def read(self, name: str, limit: int = MAX_OTHER) -> bytearray:
        """Return a part of at most `limit` bytes.

        Raises
        ------
        FileRefused
            When it is larger.
        """
        found = self.start(name, limit + 1)
        if len(found) > limit:
            raise FileRefused(TOO_LARGE)
        return found

    def start(self, name: str, size: int) -> bytearray:
        """Return the first bytes of a part, at most `size`."""
        found = bytearray()
        for chunk in self._chunks(name):
            found += chunk
            if len(found) >= size:
                del found[size:]
                break
        return found

    def _chunks(self, name: str) -> Iterator[bytes | memoryview]:
        info = self._infos[name]
        at = info.header_offset
        start = at + 30 + int.from_bytes(self._data[at + 26 : at + 28], "little")
        start += int.from_bytes(self._data[at + 28 : at + 30], "little")
        packed = memoryview(self._data)[start : start + info.compress_size]
        return iter([packed]) if info.compress_type == zipfile.ZIP_STORED else _inflated(packed)


def _inflated(packed: memoryview) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    rest: bytes | memoryview = packed
    while not inflater.eof:
        chunk = inflater.decompress(rest, _CHUNK)
        rest = inflater.unconsumed_tail
        if not chunk and not rest:
            break
        yield chunk
