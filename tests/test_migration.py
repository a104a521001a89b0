"""The page for users of other libraries: all code runs, and ours gives the values of theirs."""

import re
import shutil
from pathlib import Path

import pytest
import torch

_TEXT = (Path(__file__).parents[1] / "docs" / "migration.md").read_text("utf-8")


def _run(section: str, names: dict[str, object]) -> None:
    for code in re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        exec(code, names)


@pytest.fixture
def names() -> dict[str, object]:
    """Return what the first snippet of the page defines."""
    torch.manual_seed(0)
    defined: dict[str, object] = {}
    _run(_TEXT.partition("\n## ")[0], defined)
    return defined


@pytest.mark.parametrize("title", ["pytorch-grad-cam", "torch-cam", "captum"])
def test_snippets_of_both_libraries_agree(title: str, names: dict[str, object]) -> None:
    (section,) = re.findall(rf"^## {title}\n(.*?)^## ", _TEXT, re.MULTILINE | re.DOTALL)
    _run(section, names)
    theirs, ours = (torch.as_tensor(names[each]).detach() for each in ("theirs", "ours"))
    assert theirs.shape == ours.shape
    assert theirs.max() > 0
    assert (theirs - ours).abs().max() < 1e-4 * theirs.max()


def test_snippets_for_photos_run(
    names: dict[str, object], cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(cat_file, tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    _run(_TEXT.partition("## From tensors to photos")[2], names)
    explanation = names["explanation"]
    outside = explanation.heatmap[:, : round(explanation.box[0] * explanation.picture.width) - 2]
    assert explanation.box[0] > 0.1
    assert explanation.heatmap.max() > 0
    assert not outside.any()
