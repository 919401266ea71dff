"""Write a first definition of a data set, dataset.toml, from a CSV of clients and their outcomes.

    python -m data.draft --file clients.csv --target Status --bad bad

It guesses what each column is, leaves out (as comments) what a model must not or cannot learn,
and says what a person has to check. Exit code 0 when the definition was written, 2 when it was not,
with the reason.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from credit_risk.schema.dataset_file import FILE, FOLDER, load_dataset
from credit_risk.schema.faults import shown
from data.drafting import advice, names
from data.drafting.definition import checked, written
from data.drafting.entries import entries_of
from data.drafting.kinds import MAX_TEXT
from data.drafting.outcome import outcome_of
from data.drafting.table import Refused, Table

# Bytes from which on reading takes longer than people expect.
_LARGE = 10_000_000


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        for line in draft(options):
            print(line)
    except Refused as error:
        print(f"draft: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.draft",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--file", type=Path, required=True, help="the CSV")
    parser.add_argument("--target", required=True, help="its column that says how the loan went")
    parser.add_argument(
        "--bad", action="append", required=True, help="a value for a bad client; may be repeated"
    )
    parser.add_argument(
        "--good",
        action="append",
        default=[],
        help="a value for a good client; may be repeated, and left out if there is only one",
    )
    parser.add_argument("--name", help="of the data set (default: that of --out, else of the file)")
    parser.add_argument("--out", type=Path, help="the folder to write into (default: data/NAME)")
    parser.add_argument("--overwrite", action="store_true", help="replace a definition there")
    return parser


def draft(options: argparse.Namespace) -> list[str]:
    """Write a definition, and return what a person should know of it.

    Raises
    ------
    Refused
        When there is none to write.
    """
    name = _name(options)
    path = (options.out or FOLDER / name) / FILE
    if path.exists() and not options.overwrite:
        raise Refused(f"{path} is there already; give another --name, or --overwrite it")

    _announce(options.file)
    table = Table(options.file)
    outcome = outcome_of(table, options.target, options.bad, options.good)
    entries = entries_of(table, outcome)
    about = f"A first draft, made from {table.file}, {table.n_rows:,} rows; nobody has checked it."
    text = written(entries, outcome, name, _relative(options.file, path.parent), about)
    dataset = checked(text, table, entries)

    _write(path, text, overwrite=options.overwrite)
    load_dataset.cache_clear()
    assert load_dataset(str(path)) == dataset, f"{path} says something else than was written"
    return advice.lines(path, table, outcome, entries)


def _name(options: argparse.Namespace) -> str:
    """Return the data set's name."""
    given: str = options.name or names.snake((options.out or options.file).resolve().stem)
    if not re.fullmatch("[a-z][a-z0-9_]{0,39}", given):
        raise Refused(
            f"{shown(given)} cannot be a data set's name; give --name lower-case letters, digits "
            "and _, at most 40"
        )
    return given


def _announce(file: Path) -> None:
    """Say that reading takes a while, where it does."""
    size = file.stat().st_size if file.is_file() else 0
    if size > _LARGE:
        print(f"draft: reading {file}, {size / 1e6:,.0f} MB; this takes a while", file=sys.stderr)


def _relative(file: Path, folder: Path) -> str:
    """Return a file as seen from a folder; empty where that cannot stand in a definition."""
    path = os.path.relpath(file.resolve(), folder.resolve())
    return path if path.isprintable() and len(path) <= MAX_TEXT else ""


def _write(path: Path, text: str, *, overwrite: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if overwrite else "x", encoding="utf-8", newline="\n") as out:
            out.write(text)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror or error}") from None


if __name__ == "__main__":
    sys.exit(main())
