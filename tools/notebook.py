"""Run Model-development.ipynb from top to bottom without a browser, and fail on the first error.

python -m tools.notebook               runs it and leaves the committed file as it is
python -m tools.notebook --in-place    stores the new outputs in it
"""

import argparse
import getpass
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from tools.paths import ROOT

NOTEBOOK = ROOT / "Model-development.ipynb"


def execute(notebook: Any, timeout: int) -> None:
    """Run all cells in the repository's root, and report progress on standard error.

    The outputs are stored in `notebook`.

    Raises
    ------
    CellExecutionError
        When a cell fails; the message holds the cell and the traceback.
    """
    n_cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    done = 0
    started = time.monotonic()

    def report(**_: object) -> None:
        nonlocal done
        done += 1
        seconds = time.monotonic() - started
        print(f"cell {done} of {n_cells}, {seconds:.0f} s", file=sys.stderr)

    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT)}},
        record_timing=False,
        on_cell_executed=report,
        # No ports to find, and none left open.
        config=Config({"KernelManager": {"transport": "ipc"}}),
    )
    client.execute()


def strip(notebook: Any) -> None:
    """Remove metadata that depends on the machine that the notebook ran on.

    Raises
    ------
    ValueError
        When an output names the repository's folder, the home folder or the user.
    """
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }

    ours = {str(ROOT), sys.prefix, f"{Path.home()}/", f"/{getpass.getuser()}/"}
    for number, cell in enumerate(notebook.cells, start=1):
        cell.metadata = {}
        text = "".join(_texts(cell))
        for word in ours:
            if word in text:
                raise ValueError(
                    f"cell {number} of the notebook contains {word!r}, which only this machine has"
                )


def _texts(cell: Any) -> Iterator[str]:
    yield cell.source
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        for kind, data in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield str(data)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.notebook",
        description="Run the notebook from top to bottom; fail on the first error.",
    )
    parser.add_argument(
        "notebook", nargs="?", type=Path, default=NOTEBOOK, help="(default: %(default)s)"
    )
    parser.add_argument("--in-place", action="store_true", help="store the new outputs in the file")
    parser.add_argument(
        "--timeout", type=int, default=1800, help="seconds that one cell may take (%(default)s)"
    )
    args = parser.parse_args(argv)

    notebook = nbformat.read(args.notebook, as_version=4)
    try:
        execute(notebook, args.timeout)
    except CellExecutionError as error:
        print(error, file=sys.stderr)
        return 1

    if args.in_place:
        strip(notebook)
        nbformat.write(notebook, args.notebook)
    return 0


if __name__ == "__main__":
    sys.exit(main())
