"""What the commands on files share: the file comes on standard input, and its name for the log is an option."""

import argparse
import sys
from collections.abc import Sequence

from credit_risk.texts import one_line
from model_deployment.files.formats import Upload


def sent_file(module: str, description: str | None, arguments: Sequence[str] | None) -> Upload:
    """Return the file that a command was given.

    Parameters
    ----------
    module : str
        What `python -m` runs.
    description : str, optional
        What `--help` says.
    arguments : sequence of str, optional
        Those of the process when not given.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", type=one_line, help="of the file, for the log")
    options = parser.parse_args(arguments)

    return Upload(sys.stdin.buffer.read(), options.name)
