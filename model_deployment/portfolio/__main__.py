"""Score a whole portfolio: files of any size to scored Parquet, each part a batch in the log.

    python -m model_deployment.portfolio INPUT OUTPUT

INPUT is a CSV or Parquet file, or a folder of them; OUTPUT a folder. Both may be gs:// addresses.
A run that was stopped or killed goes on where it was when the same command is given again. With
DASK_SCHEDULER set, the parts are scored on the workers of that cluster, which need the same view of
INPUT and OUTPUT.

Exit code 0 when every row was scored, 1 when some were rejected (they are in OUTPUT/rejected, with
what is wrong), 2 when the run is not complete.
"""

import argparse
import sys
from collections.abc import Sequence

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError

from credit_risk.registry.errors import NoSuchVersion, RegistryUnavailable
from credit_risk.scoring.stored import ModelRefused
from credit_risk.settings import read_settings
from credit_risk.storage.documents import LogUnavailable
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.plan import PART_ROWS, Order
from model_deployment.portfolio.run import score_portfolio, summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m model_deployment.portfolio",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT")
    parser.add_argument("output", metavar="OUTPUT")
    parser.add_argument(
        "--kind",
        choices=["portfolio", "decision"],
        default="portfolio",
        help="decision: these are new applications, and count as such (%(default)s)",
    )
    parser.add_argument(
        "--id",
        default="",
        metavar="COLUMN",
        help="the output has this column of the input alone (all of them)",
    )
    parser.add_argument("--reasons", action="store_true", help="with the reasons for each score")
    parser.add_argument(
        "--part-rows",
        type=_rows,
        default=PART_ROWS,
        metavar="N",
        help="rows of a part, about (%(default)s)",
    )
    given = parser.parse_args(arguments)
    order = Order(given.input, given.output, given.kind, given.id, given.reasons, given.part_rows)

    try:
        closed = score_portfolio(order, read_settings(), _report)
    except (NotScored, LogUnavailable, RegistryUnavailable, NoSuchVersion, ModelRefused) as error:
        _report(str(error))
        return 2
    except (OSError, GoogleAPIError, GoogleAuthError) as error:
        _report(f"{given.input} or {given.output} cannot be read or written: {error}")
        return 2
    except KeyboardInterrupt:
        _report("stopped; the same command goes on")
        return 130
    _report(summary(closed))
    return 1 if closed["n_rejected"] else 0


def _rows(text: str) -> int:
    n = int(text)
    if n < 1:
        raise argparse.ArgumentTypeError("a part has at least one row")
    return n


def _report(line: str) -> None:
    print(f"batch-score: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
