"""Derive the data of credit_data/ and lending_club/ from Debian's package r-cran-modeldata.

    python -m data.make_modeldata               fetches the package with apt-get (Debian, Ubuntu)
    python -m data.make_modeldata PACKAGE.deb   takes a copy of the package that is already there

R is not needed, the Python package rdata is: `uv run --with rdata python -m data.make_modeldata`.
The values stay as in R, but for these: numbers have no fraction of zeros, what is missing is empty,
and LendingClub's term is a number of months.
"""

import argparse
import hashlib
import io
import lzma
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from data import debian
from data.debian import NotMade

HERE = Path(__file__).parent
PACKAGE = "r-cran-modeldata"
VERSION = "1.1.0-1"
SHA256 = "66c2e08bb4bf695d972b1e72ea44d5af9ada3c42841793d3871017f7b896bf95"
IN_PACKAGE = "usr/lib/R/site-library/modeldata/data"
FRAMES = ("credit_data", "lending_club")
# R's own filter: it writes LZMA2 without the container that a .xz file has.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6}]


def unpack(package: Path, folder: Path) -> Path:
    """Unpack the Debian package into a folder and return where its data are.

    Raises
    ------
    NotMade
        When it is another version of the package, or dpkg-deb is missing.
    """
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    if digest != SHA256:
        raise NotMade(f"{package} has the SHA-256 {digest}, which is not {VERSION}'s: {SHA256}")
    print(f"{package.name}: SHA-256 {digest}")
    debian.unpack(package, folder)
    return folder / IN_PACKAGE


def read_frames(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the data frames in an R package's lazy-load database, by name.

    The database is two files: Rdata.rdx says at which bytes of Rdata.rdb each object is.

    Raises
    ------
    NotMade
        When rdata is not installed.
    """
    places = _read_object((folder / "Rdata.rdx").read_bytes())["variables"]
    stored = (folder / "Rdata.rdb").read_bytes()
    frames = {}
    for name in FRAMES:
        start, length = places[name]
        frames[name] = _read_object(unpacked(stored[start : start + length]))
    return frames


def _read_object(serialized: bytes) -> Any:
    """Return an R object as rdata converts it."""
    try:
        import rdata  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise NotMade(
            "the Python package rdata is missing; "
            "install it, or run `uv run --with rdata python -m data.make_modeldata`"
        ) from None
    known = dict(rdata.conversion.DEFAULT_CLASS_MAP)
    # A tibble is a data frame.
    known["tbl_df"] = known["data.frame"]
    return rdata.read_rds(io.BytesIO(serialized), constructor_dict=known)


def unpacked(stored: bytes) -> bytes:
    """Return an object of a lazy-load database without its compression.

    It starts with its length as four bytes, the highest first, and a letter for the compression.

    Raises
    ------
    NotMade
        When it is not compressed as LZMA2, the letter Z.
    """
    length, letter = int.from_bytes(stored[:4], "big"), stored[4:5]
    if letter != b"Z":
        raise NotMade(f"the package's data are compressed as {letter!r}, which is not known here")
    serialized = lzma.decompress(stored[5:], lzma.FORMAT_RAW, filters=_FILTERS)
    if len(serialized) != length:
        raise NotMade(f"an object has {len(serialized)} bytes instead of {length}")
    return serialized


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a data frame as a CSV file that is the same byte for byte each time."""
    if "term" in frame:
        frame = frame.assign(term=frame["term"].astype(str).str.removeprefix("term_"))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Twelve digits hold every number of these data, and leave no fraction of zeros.
    frame.to_csv(path, index=False, lineterminator="\n", float_format="%.12g")


def make(package: Path | None, out: Path) -> None:
    """Write both data sets into folders of their names in `out`.

    Parameters
    ----------
    package : Path or None
        The Debian package; None to fetch it.

    Raises
    ------
    NotMade
        When something that is needed is missing.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = package or debian.fetch(PACKAGE, folder, VERSION)
        frames = read_frames(unpack(package, folder))
    for name, frame in frames.items():
        path = out / name / f"{name}.csv"
        write_csv(frame, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path}: {len(frame)} rows, {frame.shape[1]} columns, SHA-256 {digest}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m data.make_modeldata",
        description="Derive credit_data and lending_club from Debian's package r-cran-modeldata.",
    )
    parser.add_argument(
        "package", nargs="?", type=Path, help="the .deb file; without it Debian's is fetched"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE, help="the folder of both (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    try:
        make(args.package, args.out)
    except (NotMade, OSError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
