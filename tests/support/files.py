"""Files of clients in formats other than CSV."""

import io
import zipfile

import pyarrow.parquet as pq


def parquet(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def rezipped(data, change=lambda name, text: text, more=()):
    """Return an archive with its parts changed, and more of them."""
    sink = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, text in more:
            new.writestr(name, text)
    return sink.getvalue()
