"""What Hugging Face Spaces needs of this repository; `deploy.space_rehearsal` runs the rest."""

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


def test_the_front_matter_agrees_with_the_code() -> None:
    settings = front_matter(ROOT / "README.md")
    listed = {each.name: each for each in requirements(ROOT / "requirements.txt")}
    assert listed["gradio"].specifier.contains(settings["sdk_version"])
    assert set(settings["models"]) == {checkpoint.repository for checkpoint in CHECKPOINTS.values()}


@pytest.mark.parametrize(
    ("line", "replacement", "named"),
    [
        ("license: apache-2.0\n", "", "license"),
        ('python_version: "3.12"', "python_version: 3.12", "quotation marks"),
        ("colorTo: red", "colorTo: crimson", "colours"),
        ("app_file: app.py", "app_file: main.py", "main.py"),
        ("does the network say that?\n---", f"{'a' * 60}?\n---", "60 characters"),
    ],
)
def test_a_wrong_front_matter_is_reported(
    tmp_path: Path, line: str, replacement: str, named: str
) -> None:
    (tmp_path / "app.py").touch()
    text = (ROOT / "README.md").read_text("utf-8")
    assert line in text
    (tmp_path / "README.md").write_text(text.replace(line, replacement), "utf-8")
    with pytest.raises(ValueError, match=named):
        front_matter(tmp_path / "README.md")


def test_the_lock_has_one_version_of_each_requirement() -> None:
    locked = requirements(ROOT / "requirements.lock")
    for required in requirements(ROOT / "requirements.txt"):
        name = required.name.replace("_", "-")
        # Several only for different versions of Python.
        found = [each for each in locked if each.name == name]
        assert found, name
        for each in found:
            (pinned,) = each.specifier
            assert pinned.operator == "=="
            assert required.specifier.contains(pinned.version), each
    (torch_,) = (each for each in locked if each.name == "torch")
    (pinned,) = torch_.specifier
    assert (2, 8) <= tuple(map(int, pinned.version.split(".")[:2])) <= (2, 11)  # what ZeroGPU has


# Queries on ZeroGPU: first to embedded models, then to one that needs the GPU.
_SCRIPT = """
import json, pathlib, sys
import gradcam_core
from demo.compute.zero_gpu import ZeroGpuCompute

explained_here = []
explain = gradcam_core.Explainer.explain

def counted(*arguments):
    explained_here.append(arguments)
    return explain(*arguments)

gradcam_core.Explainer.explain = counted
photo = pathlib.Path(sys.argv[1])
compute = ZeroGpuCompute()

def ask(**query):
    try:
        explanation = compute.explain(photo, gradcam_core.Query(**query))
    except Exception as error:
        return [type(error).__name__, str(error)]
    return [explanation.target, explanation.raw.tolist()]

answers = [ask(), ask(task="vqa", question="What is this?")]
answers += [ask(model="squeezenet1_1", guided=True, target="tabby")]
answers += [ask(model="squeezenet1_1", target="no such thing")]
print(json.dumps([answers, len(explained_here)]))
"""


@pytest.mark.slow
def test_on_zero_gpu_explanations_and_errors_come_back_from_the_other_process(
    cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision.models.get_model_weights("squeezenet1_1").IMAGENET1K_V1
    cached = tmp_path / "hub" / "checkpoints" / Path(weights.url).name
    cached.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(torchvision.models.get_model("squeezenet1_1").state_dict(), cached)
    stand_in = ROOT / "deploy" / "zero_gpu_stand_in"
    variables = {"SPACES_ZERO_GPU": "true", "PYTHONPATH": f"{ROOT}{os.pathsep}{stand_in}"}
    variables["OMP_NUM_THREADS"] = "2"  # of which a forked process has only one
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, cat_file],
        check=False,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answers, explained_here = json.loads(done.stdout)
    assert explained_here == 2  # the downloaded model explains in the other process only
    classified, answered, large, refused = answers
    expected = gradcam_core.explain(cat_file)
    assert classified[0] == expected.target
    assert np.allclose(classified[1], expected.raw, atol=1e-6)
    assert np.any(answered[1])
    # Not from the cache: another test may have loaded other random weights.
    model = registry.create("squeezenet1_1")
    expected = gradcam_core.explain(cat_file, model=model, target="tabby")
    assert np.allclose(large[1], expected.raw, atol=1e-6)
    assert refused[0] == "UnknownLabelError"
    assert "no such thing" in refused[1]
