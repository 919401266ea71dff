"""The console of the local stack's commands."""

import contextlib
import shutil
import sys


class Console:
    """Output for a person: one changing line on a terminal, elsewhere a line for each step."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()

    def progress(self, text: str) -> None:
        """Show what is going on right now."""
        if self.live:
            self._write(f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}")

    def step(self, text: str) -> None:
        """Report that a step is done, where `progress` shows nothing."""
        if not self.live:
            self._write(f"{text}\n")

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._write(("\r\033[K" if self.live else "") + text + "\n")

    def _write(self, text: str) -> None:
        # A terminal that was closed must not keep us from stopping the services.
        with contextlib.suppress(OSError):
            sys.stdout.write(text)
            sys.stdout.flush()
