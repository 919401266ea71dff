"""The floor of a file: reading and writing it, and nothing else, by pyarrow or by polars.

    python -m benchmarks.peers.copying pyarrow clients.csv result.csv

As ours, it reads CSV or Parquet and writes CSV. It imports no more than that takes, for its start
counts.
"""

import sys
from pathlib import Path


def by_pyarrow(source: Path, target: Path) -> None:
    """Read a file and write it by pyarrow."""
    import pyarrow.csv
    import pyarrow.parquet

    parquet = source.suffix == ".parquet"
    read = pyarrow.parquet.read_table if parquet else pyarrow.csv.read_csv
    pyarrow.csv.write_csv(read(source), target)


def by_polars(source: Path, target: Path) -> None:
    """Read a file and write it by polars."""
    import polars as pl

    read = pl.read_parquet if source.suffix == ".parquet" else pl.read_csv
    read(source).write_csv(target)


WAYS = {"pyarrow": by_pyarrow, "polars": by_polars}


def main() -> None:
    """Run the command line."""
    engine, source, target = sys.argv[1:]
    WAYS[engine](Path(source), Path(target))


if __name__ == "__main__":
    main()
