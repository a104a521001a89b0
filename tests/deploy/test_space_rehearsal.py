"""What Hugging Face Spaces needs of this repository; `deploy.space_rehearsal` tries the rest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

import gradcam_core
from deploy.space_rehearsal import ROOT, front_matter, requirements
from gradcam_core.models import registry
from gradcam_core.models.hub.checkpoints import CHECKPOINTS


def test_the_front_matter_matches_the_requirements_and_models() -> None:
    settings = front_matter(ROOT / "README.md")
    listed = {each.name: each for each in requirements(ROOT / "requirements.txt")}
    assert listed["gradio"].specifier.contains(settings["sdk_version"])
    assert set(settings["models"]) == {checkpoint.repository for checkpoint in CHECKPOINTS.values()}


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        ("license: apache-2.0\n", "", "license"),
        ('python_version: "3.12"', "python_version: 3.12", "quotation marks"),
        ("colorTo: red", "colorTo: crimson", "colours"),
        ("app_file: app.py", "app_file: main.py", "main.py"),
        ("does the network say that?\n---", f"{'a' * 60}?\n---", "60 characters"),
    ],
)
def test_a_wrong_front_matter_is_reported(
    tmp_path: Path, line: str, instead: str, message: str
) -> None:
    (tmp_path / "app.py").touch()
    text = (ROOT / "README.md").read_text("utf-8")
    assert line in text
    (tmp_path / "README.md").write_text(text.replace(line, instead), "utf-8")
    with pytest.raises(ValueError, match=message):
        front_matter(tmp_path / "README.md")


def test_the_lock_has_one_version_of_all_that_is_required() -> None:
    locked = requirements(ROOT / "requirements.lock")
    for required in requirements(ROOT / "requirements.txt"):
        name = required.name.replace("_", "-")
        # More than one only where they are for different versions of Python.
        found = [each for each in locked if each.name == name]
        assert found, name
        for each in found:
            (pinned,) = each.specifier
            assert pinned.operator == "=="
            assert required.specifier.contains(pinned.version), each
    (torch_,) = (each for each in locked if each.name == "torch")
    (pinned,) = torch_.specifier
    assert (2, 8) <= tuple(map(int, pinned.version.split(".")[:2])) <= (2, 11)  # what ZeroGPU has


# Explains on ZeroGPU: by embedded models, then by one that needs the GPU.
_ASK = """
import json, pathlib, sys
from demo.build import create_compute
from gradcam_core import Query
from gradcam_core.models.backbone import Backbone
passes, run = [], Backbone.run
def counted(self, *args):
    passes.append(1)
    return run(self, *args)
Backbone.run = counted
photo, compute = pathlib.Path(sys.argv[1]), create_compute()
def explain(**query):
    try:
        explanation = compute.explain(photo, Query(**query))
    except Exception as error:
        return [type(error).__name__, str(error)]
    else:
        return [explanation.target, explanation.raw.tolist()]
answers = [explain(), explain(task="vqa", question="What is this?")]
before = len(passes)
answers += [explain(model="squeezenet1_1", guided=True, target="tabby")]
answers += [explain(model="squeezenet1_1", target="no such thing")]
print(json.dumps([answers, before == len(passes)]))
"""


@pytest.mark.slow
def test_on_zero_gpu_explanations_and_errors_come_back_from_its_process(
    cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision.models.get_model_weights("squeezenet1_1").IMAGENET1K_V1
    cached = tmp_path / "hub" / "checkpoints" / Path(weights.url).name
    cached.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(torchvision.models.get_model("squeezenet1_1").state_dict(), cached)
    stand_in = ROOT / "deploy" / "zero_gpu_stand_in"
    settings = {"SPACES_ZERO_GPU": "true", "PYTHONPATH": f"{ROOT}{os.pathsep}{stand_in}"}
    settings["OMP_NUM_THREADS"] = "2"  # of which a forked process has only one
    done = subprocess.run(
        [sys.executable, "-c", _ASK, cat_file],
        check=False,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answers, elsewhere = json.loads(done.stdout)
    embedded, answered, large, refused = answers
    here = gradcam_core.explain(cat_file)
    assert embedded[0] == here.target
    assert np.allclose(embedded[1], here.raw, atol=1e-6)
    assert np.any(answered[1])
    assert elsewhere  # this process has not run it
    # Not from the cache: another test may have loaded other random weights.
    here = gradcam_core.explain(cat_file, model=registry.create("squeezenet1_1"), target="tabby")
    assert np.allclose(large[1], here.raw, atol=1e-6)
    assert refused[0] == "UnknownLabelError"
    assert "no such thing" in refused[1]
