"""Where documents and blobs can be stored, by their address.

The clients of MongoDB and of Google Cloud Storage take .1 s each to import, so only those who use
them import them.
"""

from pathlib import Path
from urllib.parse import urlsplit

from credit_risk.storage.blobs import Blobs
from credit_risk.storage.documents import Documents
from credit_risk.storage.folder import Folder
from credit_risk.storage.sqlite import SqliteDocuments


def open_documents(url: str, flush_seconds: float = 0) -> Documents:
    """Return the collections at `mongodb://...` or `sqlite:///PATH`.

    Parameters
    ----------
    url : str
    flush_seconds : float
        How long `Documents.flush` may put off the disk in SQLite. MongoDB has a setting of its own.

    Raises
    ------
    ValueError
        When the address is of neither kind.
    """
    if url.startswith(("mongodb://", "mongodb+srv://")):
        from credit_risk.storage.mongodb import MongoDocuments

        return MongoDocuments(url)
    if url.startswith("sqlite:///"):
        return SqliteDocuments(Path(url.removeprefix("sqlite:///")), flush_seconds)

    kind = url.split(":", 1)[0]
    raise ValueError(
        f"the decision log's address must start with mongodb:// or sqlite:///, not {kind!r}"
    )


def open_blobs(url: str) -> Blobs:
    """Return the store at `gs://BUCKET/PREFIX`, or in a folder.

    With `STORAGE_EMULATOR_HOST` set, Google's client talks to that server, without credentials.
    """
    if not url.startswith("gs://"):
        return Folder(Path(url.removeprefix("file://")))

    from credit_risk.storage.bucket import Bucket

    parts = urlsplit(url)
    return Bucket(parts.netloc, parts.path.strip("/"))
