"""The notebook, executed from its first cell to its last."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "tour.ipynb"


def test_the_tour_runs_and_shows_its_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient, from the extra dev")
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat, from the extra dev")
    pytest.importorskip("ipykernel", reason="needs ipykernel, from the extra dev")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.delenv("STYLEWIRE_NO_GALLERY", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear the outputs before you commit"
    nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    ).execute()
    shown = [
        any("image/png" in output.get("data", {}) or "image/jpeg" in output.get("data", {}) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    # All but the first cell, which starts the server.
    assert shown == [False] + [True] * (len(shown) - 1)
