"""Derive data/credit-g.csv from the copy of German Credit that Debian's package weka carries.

    python -m data.make_data                    fetches the package with apt-get (Debian, Ubuntu)
    python -m data.make_data credit-g.arff      takes a copy of the file that is already there

The values stay as in the ARFF, without its quotes, and numbers are written without a fraction.
"""

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

import pandas as pd
from scipy.io import arff

from data import debian

CSV = Path(__file__).with_name("credit-g.csv")
IN_PACKAGE = "usr/share/doc/weka/examples/credit-g.arff"


def fetch_arff(folder: Path) -> Path:
    """Unpack Debian's weka into a folder, without installing it.

    Returns
    -------
    Path
        The path of its credit-g.arff.

    Raises
    ------
    NotMade
        When apt-get or dpkg-deb is missing or fails.
    """
    debian.unpack(debian.fetch("weka", folder), folder)
    return folder / IN_PACKAGE


def read_arff(path: Path) -> pd.DataFrame:
    """Return the rows of an ARFF file: nominal values as text, numbers as int64."""
    rows, meta = arff.loadarff(path)
    frame = pd.DataFrame(rows)
    for name, kind in zip(meta.names(), meta.types(), strict=True):
        frame[name] = (
            frame[name].str.decode("ascii") if kind == "nominal" else frame[name].astype("int64")
        )
    return frame


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m data.make_data",
        description="Derive data/credit-g.csv from weka's credit-g.arff.",
    )
    parser.add_argument(
        "arff", nargs="?", type=Path, help="the ARFF file; without it Debian's weka is fetched"
    )
    parser.add_argument(
        "--out", type=Path, default=CSV, help="the CSV to write (default: %(default)s)"
    )
    args = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as folder:
        try:
            path = args.arff or fetch_arff(Path(folder))
        except debian.NotMade as error:
            sys.exit(f"{error}")
        frame = read_arff(path)
    frame.to_csv(args.out, index=False, lineterminator="\n")
    digest = hashlib.sha256(args.out.read_bytes()).hexdigest()
    print(f"{args.out}: {len(frame)} rows, {frame.shape[1]} columns, SHA-256 {digest}")


if __name__ == "__main__":
    main()
