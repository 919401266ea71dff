#!/usr/bin/env python3
# ruff: noqa: T201 - a command, which prints
"""Print the changelog's section of a release, once the tag fits the project.

    release_notes.py v1.2.0

Exit codes: 0 the section is printed, 1 tag, pyproject.toml and CHANGELOG.md do not agree, 2 the
command is wrong.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADING = r"^## \[{}\] - \d{{4}}-\d\d-\d\d\n"


class ReleaseRefused(Exception):
    """Tag, version and changelog do not agree."""


def notes(root: Path, tag: str) -> str:
    """Return the changelog's section of a tag.

    Raises
    ------
    ReleaseRefused
        When pyproject.toml has another version, or the changelog no dated section with text.
    """
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    if tag != f"v{version}":
        raise ReleaseRefused(f"the tag is {tag}, and pyproject.toml has version {version}")

    changelog = (root / "CHANGELOG.md").read_text()
    parts = re.split(HEADING.format(re.escape(version)), changelog, flags=re.MULTILINE)
    if len(parts) != 2:
        wanted = f"## [{version}] - YYYY-MM-DD"
        raise ReleaseRefused(f"CHANGELOG.md has {len(parts) - 1} headings '{wanted}'; it needs one")
    section = re.split(r"^## ", parts[1], maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not section:
        raise ReleaseRefused(f"CHANGELOG.md says nothing about {version}")
    return section


def main() -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tag", help="such as v1.2.0")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the repository")
    given = parser.parse_args()
    try:
        print(notes(given.root, given.tag))
    except ReleaseRefused as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
