"""Make sure that the bucket is there, before anything writes to it.

In the emulator it is made. A real bucket is never made here, because its owner chooses its region,
retention and rights; the job only shows, in one line and before any service starts, that the
credentials reach it.
"""

import argparse
import os
import sys

from google.api_core.exceptions import Conflict, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage


def ensure_bucket(url: str) -> str:
    """Make or look up the bucket of ``url`` (``gs://name/prefix``), and report it in one line."""
    if not url.startswith("gs://"):
        raise SystemExit(
            f"BUCKET is {url!r}; the containers share no folder, "
            "so here it has to be gs://NAME[/PREFIX]"
        )

    name = url.removeprefix("gs://").split("/")[0]
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    try:
        client = storage.Client()
        if not emulator:
            next(iter(client.list_blobs(name, max_results=1)), None)
            return f"bucket {name} can be read"

        client.create_bucket(name)
    except Conflict:
        return f"bucket {name} was there already"
    except (GoogleAPIError, GoogleAuthError) as error:
        raise SystemExit(f"bucket {name} cannot be reached: {error}") from error
    return f"bucket {name} made in the emulator at {emulator}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "url",
        nargs="?",
        default=os.environ.get("BUCKET", ""),
        help="gs://NAME[/PREFIX], else $BUCKET",
    )
    sys.stdout.write(ensure_bucket(parser.parse_args().url) + "\n")
