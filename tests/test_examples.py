"""The examples run as they are, download nothing, and their maps lie on the object."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from unittest.mock import patch

import pytest
from PIL import Image

from gradcam_core.methods import METHODS

_ROOT = Path(__file__).parents[1]

# Example -> a picture that it writes, and the least share of the map on the object that it prints.
_EXAMPLES = {
    "detector": ("box.png", None),
    "similarity": ("grad_cam.png", 70),
    "segmentation": ("grad_cam.png", 60),
    "own_resnet": ("circle/grad_cam.png", 15),
    "policy": ("strip.png", None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", _EXAMPLES)
def test_example(name: str, tmp_path: Path) -> None:
    written, share = _EXAMPLES[name]
    done = subprocess.run(
        [sys.executable, str(_ROOT / "examples" / f"{name}.py"), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(_ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    Image.open(tmp_path / name / written).verify()
    if share is not None:
        shares = [int(found) for found in re.findall(r"(\d+)% of the map", done.stdout)]
        assert shares
        assert min(shares) >= share, done.stdout
    learned = re.search(r"(\d+)% of (?:100|300|the triangle)", done.stdout)
    assert learned is None or int(learned[1]) >= 80, done.stdout


@pytest.mark.parametrize("page", ["methods", "models", "own-networks"])
def test_code_in_the_documents_runs(
    page: str, cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(cat_file, tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    text = (_ROOT / "docs" / f"{page}.md").read_text("utf-8")
    blocks = re.findall(r"^( *)```python\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    with patch.dict(METHODS):
        for _, code in blocks:
            exec(textwrap.dedent(code), names)


def test_examples_are_short() -> None:
    for file in (_ROOT / "examples").glob("*.py"):
        assert len(file.read_text("utf-8").splitlines()) < 60
