"""What supervisord runs for each service: end what an earlier start of it left behind, then become the service.

It starts with the credentials that are its own to have, and no others.

A killed `mlflow server` leaves a child that holds its port, and a killed worker leaves the run that it had started, in
a session of its own where no process group finds it. Both still carry the environment that they were started with.
"""

import os
import sys
from pathlib import Path

from tools import passwords, processes
from tools.services import environment_of


def main() -> None:
    """Replace this process with the command in the arguments."""
    service = os.environ[processes.SERVICE]
    left = [process for process, name in processes.of_stack(os.environ[processes.STACK]) if name == service]
    if left:
        sys.stderr.write(f"{len(left)} processes were left of an earlier {service}: ending them\n")
        sys.stderr.flush()
        processes.end(left)
    secrets = Path(os.environ["VAR_DIR"]) / "secrets"
    os.execvpe(sys.argv[1], sys.argv[1:], passwords.filled(environment_of(service, os.environ), secrets))


if __name__ == "__main__":
    main()
