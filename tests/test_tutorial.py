"""The tutorial runs from top to bottom, and what it concludes is true."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

_EXAMPLES = Path(__file__).parents[1] / "examples"
_CHECK = """import json
print(json.dumps({
    "accuracy": accuracy,
    "shares": shares,
    "covered": (masks > 0).float().mean().item(),
    "drop": chosen.probability - without.probability,
    "explained": len(many),
    "steps": len(steps),
}))"""


@pytest.mark.slow
def test_tutorial_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(_EXAMPLES.parent))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    notebook = nbformat.read(_EXAMPLES / "tutorial.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(_CHECK))
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": _EXAMPLES}}
    ).execute()
    pictures = [out for cell in notebook.cells for out in cell.get("outputs", ()) if "data" in out]
    assert sum("image/png" in out["data"] for out in pictures) >= 3
    (printed,) = notebook.cells[-1].outputs
    found = json.loads(printed["text"])
    assert found["accuracy"] >= 0.8
    # A layer in the middle is the best, and far better than chance.
    assert max(found["shares"], key=found["shares"].get) in ("layer1", "layer2", "layer3")
    assert max(found["shares"].values()) > 2 * found["covered"]
    assert found["drop"] > 0.2
    assert found["explained"] == 6
    assert found["steps"] > 1


def test_tutorial_is_stored_without_outputs() -> None:
    notebook = nbformat.read(_EXAMPLES / "tutorial.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
