"""A folder in MLflow's artifact store, read within limits."""

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from credit_risk.scoring.stored import ModelRefused

MAX_FILES = 100
MAX_FOLDER_BYTES = 20_000_000
# Where artifacts may be. For an address that names a host, MLflow would send our credentials there.
_ADDRESS = re.compile(r"mlflow-artifacts:/(?!/)|gs://|s3://")


class ArtifactFolder:
    """A folder of artifacts.

    Raises
    ------
    ModelRefused
        When artifacts are not loaded from its address, or it holds more than it may.
    """

    def __init__(self, address: str, tracking_uri: str) -> None:
        if not _ADDRESS.match(address):
            raise ModelRefused(f"artifacts are not loaded from {address[:100]!r}")

        # Imported when it is needed; see `client`.
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self._repository = get_artifact_repository(address, tracking_uri=tracking_uri)

    def files(self, only: str | None = None, limit: int = MAX_FOLDER_BYTES) -> dict[str, bytes]:
        """Return the files by name.

        Parameters
        ----------
        only : str, optional
            Return just the file of this name, if it is there.
        limit : int
            Most bytes in all.
        """
        listed = self._sizes(None, deep=only is None)
        sizes = {name: size for name, size in listed if only in (None, name)}

        too_large = len(sizes) > MAX_FILES or sum(sizes.values()) > limit
        if too_large or not all(map(str.isprintable, sizes)):
            raise ModelRefused(
                f"what is stored has more than {limit:,} bytes or {MAX_FILES} files, or odd names"
            )

        return self._read(only or "", sizes, limit) if sizes else {}

    def _sizes(self, folder: str | None, *, deep: bool) -> Iterator[tuple[str, int]]:
        for entry in self._repository.list_artifacts(folder):
            if not entry.is_dir:
                yield entry.path, entry.file_size or 0
            elif deep:
                yield from self._sizes(entry.path, deep=True)

    def _read(self, path: str, names: Iterable[str], limit: int) -> dict[str, bytes]:
        """Download a file, or all of the folder where `path` is empty, and return these files."""
        # In one call: asked for each file, MLflow looks each time whether it is a folder.
        with tempfile.TemporaryDirectory() as folder:
            self._repository.download_artifacts(path, folder)
            files = {name: Path(folder, name) for name in names}
            for name, file in files.items():
                if file.stat().st_size > limit:
                    raise ModelRefused(f"{name} has more than {limit:,} bytes")

            return {name: file.read_bytes() for name, file in files.items()}
