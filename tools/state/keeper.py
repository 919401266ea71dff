"""Write the decision log in MongoDB, or the bucket, to standard output as a tar, or read it back.

It runs in the containers that make MongoDB's users and the bucket: these have the rights anyway.
The log's collections are files of BSON, as `mongodump` writes and `mongorestore` reads them. A
collection is read before those that it refers to, so a backup is complete even if it was made while
the stack ran.
"""

import argparse
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import bson
import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.errors import PyMongoError

from credit_risk.decision_log.proof.anchors import is_recent
from credit_risk.storage.backends import open_blobs
from credit_risk.storage.blobs import Blobs
from credit_risk.storage.mongodb import GIVEN, create_indexes
from tools.access.mongo_roles import DATABASE, EARLIER, connect

# A number is noted after it was given, approvals name events, an upload's event comes after its
# outcomes, which name decisions, and a record comes after its chain and its decisions.
COLLECTIONS = (
    *GIVEN.values(),
    "reports",
    "approvals",
    "events",
    "outcomes",
    "previews",
    "batches",
    "chains",
    "decisions",
)
TOGETHER = 1000  # documents per insertion
NEW, OLD = "restored_", "replaced_"

Raw = Database[RawBSONDocument]


class NotEmpty(Exception):
    """There is a state, and it was not said that it may be lost."""


def save_log(database: Raw, out: IO[bytes]) -> None:
    """Write every collection of the log as a member of a tar."""
    with tarfile.open(fileobj=out, mode="w|") as tar:
        for name in COLLECTIONS:
            with tempfile.TemporaryFile() as file:
                for document in database[name].find(sort=[("_id", pymongo.ASCENDING)]):
                    file.write(document.raw)
                member = tarfile.TarInfo(f"{name}.bson")
                member.size = file.tell()
                file.seek(0)
                tar.addfile(member, file)


def load_log(database: Raw, source: IO[bytes], *, replace: bool) -> None:
    """Replace the collections by those of a tar.

    All of them are written before the first takes its place.

    Raises
    ------
    NotEmpty
        When there are decisions, and they are not to be replaced.
    """
    standing = {name for name in COLLECTIONS if database[name].find_one() is not None}
    # These are written before the first decision: when the users are made, and by the first flow.
    if not replace and standing - {"approvals", GIVEN["approvals"], "reports"}:
        raise NotEmpty("the decision log has decisions")

    for name in COLLECTIONS:
        database.drop_collection(f"{NEW}{name}")
        database.drop_collection(f"{OLD}{name}")

    with tarfile.open(fileobj=source, mode="r|") as tar:
        for member in tar:
            name = member.name.removesuffix(".bson")
            file = tar.extractfile(member)
            if name in COLLECTIONS and file is not None:
                for batch in _batches(file):
                    database[f"{NEW}{name}"].insert_many(batch)
                # The services, one of which verifies what was restored, may not create any.
                create_indexes(database[f"{NEW}{name}"], name)

    _swap(database)


def _batches(file: IO[bytes]) -> Iterator[list[RawBSONDocument]]:
    batch: list[RawBSONDocument] = []
    for document in bson.decode_file_iter(file, bson.CodecOptions(RawBSONDocument)):
        batch.append(document)
        if len(batch) == TOGETHER:
            yield batch
            batch = []
    if batch:
        yield batch


def _swap(database: Raw) -> None:
    there = set(database.list_collection_names())
    done: list[tuple[str, str]] = []
    try:
        for name in COLLECTIONS:
            for source, target in ((name, f"{OLD}{name}"), (f"{NEW}{name}", name)):
                if source in there:
                    database[source].rename(target)
                    done.append((source, target))
    except PyMongoError:
        for source, target in reversed(done):
            database[target].rename(source)
        raise

    for name in COLLECTIONS:
        database.drop_collection(f"{OLD}{name}")


def save_bucket(blobs: Blobs, out: IO[bytes]) -> None:
    """Write every blob as a member of a tar, without recent anchors."""
    with tarfile.open(fileobj=out, mode="w|") as tar:
        for name in blobs.names():
            try:
                data = blobs.get(name)
            except LookupError:  # an old report, removed meanwhile
                continue
            if is_recent(name, data):
                continue
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, BytesIO(data))


def load_bucket(blobs: Blobs, source: IO[bytes], *, replace: bool) -> None:
    """Put the blobs of a tar into the bucket, and remove the others.

    Raises
    ------
    NotEmpty
        When the bucket has files, and they are not to be replaced.
    """
    standing = set(blobs.names())
    if standing and not replace:
        raise NotEmpty("the bucket has files")

    with tarfile.open(fileobj=source, mode="r|") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                blobs.put(member.name, file.read(), overwrite=True)
                standing.discard(member.name)

    for name in standing:
        blobs.delete(name)


@contextmanager
def _log() -> Iterator[Raw]:
    secrets = Path("/run/secrets")
    known = [(secrets / "admin").read_text(), (secrets / "admin-made").read_text(), EARLIER]
    client: pymongo.MongoClient[Any] = connect(os.environ["MONGO"], os.environ["MONGO_USER"], known)
    with client:
        yield client.get_database(DATABASE, codec_options=bson.CodecOptions(RawBSONDocument))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.state.keeper", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("log", "bucket"))
    parser.add_argument("way", choices=("out", "in"))
    parser.add_argument("--replace", action="store_true", help="with `in`: what is there goes")
    options = parser.parse_args(arguments)

    try:
        if options.what == "log":
            with _log() as database:
                if options.way == "out":
                    save_log(database, sys.stdout.buffer)
                else:
                    load_log(database, sys.stdin.buffer, replace=options.replace)
        else:
            blobs = open_blobs(os.environ["BUCKET"])
            if options.way == "out":
                save_bucket(blobs, sys.stdout.buffer)
            else:
                load_bucket(blobs, sys.stdin.buffer, replace=options.replace)
    except NotEmpty as error:
        print(f"keeper: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
