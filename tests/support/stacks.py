"""Local stacks that do not run, and looks at the state of any."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.settings import Settings
from tools.stack.local_stack import Stack


def stack_of(folder: Path, **values: Any) -> Stack:
    """Return a stack with its state in `folder/var`, whatever the environment says."""
    return Stack(Settings(_env_file=None, var_dir=folder / "var", **values))


def log_of(environment: Mapping[str, str]) -> DecisionLog:
    """Return the decision log of a stack with this environment."""
    return open_log(
        Settings(
            _env_file=None,
            var_dir=environment["VAR_DIR"],
            decision_log=environment["DECISION_LOG"],
            bucket=environment["BUCKET"],
        )
    )


def others_can(path: Path) -> bool:
    """Return whether other users of the machine have any right to a file; a link has none."""
    return bool(path.lstat().st_mode & 0o077) and not path.is_symlink()
