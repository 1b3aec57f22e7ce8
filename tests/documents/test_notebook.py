"""The notebook: executed from top to bottom, small, its pictures with a text; and it still runs."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
LARGEST = 100_000
"""Bytes of the file, outputs included."""


def cells() -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_it_was_executed_in_order_without_an_error() -> None:
    assert [cell["execution_count"] for cell in cells()] == list(range(1, len(cells()) + 1))
    outputs = [output for cell in cells() for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "display_data"}
    assert {output["name"] for output in outputs if "name" in output} == {"stdout"}
    pictures = [output for output in outputs if output["output_type"] == "display_data"]
    assert len(pictures) == 2
    assert all(len(picture["metadata"]["image/png"]["alt"]) > 20 for picture in pictures)
    assert NOTEBOOK.stat().st_size < LARGEST
    assert str(Path.home()) not in NOTEBOOK.read_text(encoding="utf-8")


def test_its_page_by_hand(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra [docs]")
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "website" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    picture = {"data": {"image/png": "AA\nBB\n", "text/plain": "<Figure>"}, "metadata": {"image/png": {"alt": "a dog"}}}
    text = {"text": ["1\n", "2\n"]}
    made = [
        {"cell_type": "markdown", "source": ["# A\n", "b"]},
        {"cell_type": "code", "source": ["x = 1\n", "x"], "outputs": [text, picture]},
    ]
    (tmp_path / "some.ipynb").write_text(json.dumps({"cells": made}))
    wanted = "# A\nb\n\n```python\nx = 1\nx\n```\n\n```text\n1\n2\n```\n\n![a dog](data:image/png;base64,AABB)\n"
    assert hooks.notebook_page(tmp_path / "some.ipynb") == wanted


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    """A kernel of its own executes it, and gives what the file keeps, as far as no rounding is in it."""
    nbformat = pytest.importorskip("nbformat", reason="the extra [docs]")
    nbclient = pytest.importorskip("nbclient", reason="the extra [docs]")
    pytest.importorskip("ipykernel", reason="the extra [docs]")
    notebook = nbformat.read(NOTEBOOK, 4)
    kept = [output for cell in cells() for output in cell["outputs"]]
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=where).execute()
    new = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output["output_type"] for output in new] == [output["output_type"] for output in kept]
    assert new[0]["text"] == "".join(kept[0]["text"])  # the tasks
    assert new[1]["text"] == "".join(kept[1]["text"])  # the steps
