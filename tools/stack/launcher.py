"""What supervisord runs for each service: a launcher that turns into the service.

It first ends what an earlier start of the service left behind. A killed `mlflow server` leaves a
child that holds its port, and a killed worker leaves the run that it had started, in its own
session where no process group finds it. Both still carry the environment that they were started
with.

The service starts with its own credentials, and no others.
"""

import os
import sys
from pathlib import Path

from tools.access import passwords
from tools.stack.credentials import environment_of
from tools.stack.processes import SERVICE, STACK, end, processes_of


def main() -> None:
    """Replace this process with the command in the arguments."""
    service = os.environ[SERVICE]
    found = processes_of(os.environ[STACK])
    left = [process for process, name in found if name == service]
    if left:
        sys.stderr.write(f"{len(left)} processes were left of an earlier {service}: ending them\n")
        sys.stderr.flush()
        end(left)

    secrets = Path(os.environ["VAR_DIR"]) / "secrets"
    environment = passwords.filled(environment_of(service, os.environ), secrets)
    os.execvpe(sys.argv[1], sys.argv[1:], environment)


if __name__ == "__main__":
    main()
