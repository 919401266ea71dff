"""The committed notebook shows one run from top to bottom (`make notebook` runs it again)."""

from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "Model-development.ipynb"


@pytest.fixture(scope="module")
def code_cells():
    return [
        cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"
    ]


def test_the_notebook_is_small_enough_to_be_shown():
    assert NOTEBOOK.stat().st_size < 2_000_000


def test_the_notebooks_cells_ran_in_order_without_an_error(code_cells):
    assert [cell.execution_count for cell in code_cells] == list(range(1, len(code_cells) + 1))
    outputs = [output for cell in code_cells for output in cell.outputs]
    assert not [
        output
        for output in outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


def test_the_notebook_shows_figures_and_conclusions(code_cells):
    kinds = [
        kind for cell in code_cells for output in cell.outputs for kind in output.get("data", {})
    ]
    assert kinds.count("image/png") >= 8
    assert kinds.count("text/markdown") >= 8


def test_the_notebook_does_not_name_a_machine(code_cells):
    texts = [output.get("text", "") for cell in code_cells for output in cell.outputs]
    texts += [
        str(output.get("data", {}).get("text/html", ""))
        for cell in code_cells
        for output in cell.outputs
    ]
    assert not [text for text in texts if "/home/" in text or ".venv" in text]
