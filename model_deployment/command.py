"""What the commands on files share: a file on standard input, and its name as an option."""

import argparse
import sys

from credit_risk.texts import one_line
from model_deployment.files.formats import UploadedFile


def file_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a command on a file.

    Parameters
    ----------
    module : str
        What `python -m` runs.
    description : str, optional
        What `--help` says.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", type=one_line, help="of the file, for the log")
    return parser


def sent_file(options: argparse.Namespace) -> UploadedFile:
    """Return the file on standard input."""
    return UploadedFile(sys.stdin.buffer.read(), options.name)
