"""An explanation gives itself away: as files, numbers, a figure, a line, in a notebook."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gradcam_core


@pytest.fixture(scope="module")
def explanation(cat_file: Path) -> gradcam_core.Explanation:
    return gradcam_core.explain(cat_file, target="tabby", guided=True)


@pytest.fixture(scope="module")
def caption(cat_file: Path) -> gradcam_core.Explanation:
    return gradcam_core.explain(cat_file, "captioning", target="a cat sleeps")


def test_save(explanation: gradcam_core.Explanation, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    for _ in range(2):  # the second time over the first
        written = explanation.save(folder)
        assert sorted(folder.iterdir()) == sorted(written)
    assert {path.name for path in written} == {
        "picture.png",
        "heatmap.png",
        "grad_cam.png",
        "counterfactual.png",
        "guided_backprop.png",
        "guided_grad_cam.png",
        "raw.npy",
        "explanation.json",
        "explanation.html",
    }
    for path in written:
        if path.suffix == ".png":
            assert Image.open(path).size == (451, 300)
    assert np.array_equal(np.load(folder / "raw.npy", allow_pickle=False), explanation.raw)
    numbers = json.loads((folder / "explanation.json").read_text("utf-8"))
    assert numbers["target"] == "tabby"
    assert numbers["score"] == explanation.score
    assert numbers["raw"] == explanation.raw.tolist()


def test_a_failed_save_leaves_no_file(
    explanation: gradcam_core.Explanation, tmp_path: Path
) -> None:
    unwritable = dataclasses.replace(explanation, score=object())  # JSON, the last, cannot hold it
    with pytest.raises(TypeError):
        unwritable.save(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_files_of_an_earlier_explanation_do_not_stay(
    explanation: gradcam_core.Explanation, caption: gradcam_core.Explanation, tmp_path: Path
) -> None:
    caption.save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    written = {path.name for path in explanation.save(tmp_path)}
    assert {path.name for path in tmp_path.iterdir()} == written | {"notes.txt"}


def test_opacity_and_colour_map_are_applied(
    explanation: gradcam_core.Explanation, tmp_path: Path
) -> None:
    explanation.save(tmp_path, colour_map="gray", opacity=1.0)
    overlay = np.asarray(Image.open(tmp_path / "grad_cam.png"))
    expected = np.rint(explanation.heatmap * 255)
    assert np.abs(overlay - expected[:, :, None]).max() <= 1
    with pytest.raises(ValueError, match="no colour map 'rainbow brite'"):
        explanation.save(tmp_path / "other", colour_map="rainbow brite")
    assert not any((tmp_path / "other").iterdir())


def test_numbers_name_their_versions_and_settings(
    explanation: gradcam_core.Explanation, caption: gradcam_core.Explanation, cat_file: Path
) -> None:
    numbers = json.loads(json.dumps(explanation.to_dict()))
    assert numbers["schema_version"] == 3
    assert numbers["versions"].keys() == {"gradcam-core", "torch"}
    assert numbers["versions"]["gradcam-core"] == gradcam_core.__version__
    assert numbers["source"] == cat_file.name
    assert numbers["method"] == "grad-cam"
    assert np.array_equal(
        np.array(numbers["raw_counterfactual"], np.float32), explanation.raw_counterfactual
    )
    # docs/json.md names every field, and no other.
    described = (Path(__file__).parents[2] / "docs" / "json.md").read_text("utf-8")
    fields = [line.split("`")[1] for line in described.splitlines() if line.startswith("| `")]
    assert sorted(fields) == sorted(numbers)
    assert caption.to_dict().keys() == numbers.keys()


def test_str_is_one_line(
    explanation: gradcam_core.Explanation, caption: gradcam_core.Explanation, cat_file: Path
) -> None:
    assert str(explanation).startswith("tabby (score ")
    assert str(explanation).endswith("Grad-CAM of lite0 at conv_head")
    assert str(caption).startswith("a cat sleeps (log-probability -")
    answer = gradcam_core.explain(cat_file, "vqa", question="What animal is this?")
    assert str(answer).startswith("“What animal is this?” ")
    assert repr(answer) == str(answer)
    for line in (explanation, caption, answer):
        assert len(str(line).splitlines()) == 1
