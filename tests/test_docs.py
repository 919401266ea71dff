"""What the pages say holds: their links lead somewhere, and the answer that they show is one."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from model_deployment.api.schemas import Decided

ROOT = Path(__file__).parents[1]
_FILES = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
PAGES = [ROOT / name for name in _FILES.split()]
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Return what a page's headings are linked by, as GitHub makes it of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_are_there(page):
    for link in _LINK.findall(page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_answer_in_the_contracts_is_one():
    (shown,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "contracts.md").read_text(), re.DOTALL)
    assert Decided.model_validate(json.loads(shown)).n_rejected == 1
