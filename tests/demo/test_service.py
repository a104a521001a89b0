"""From a request to an explanation."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gradcam_core
from demo.compute import service
from demo.examples import QUESTIONS, example_pictures
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.classifiers import Classifier


def test_one_cnn_pass_serves_all_tabs(
    cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same picture, uploaded three times, then asked about again: encoded once."""
    uploads = []
    for name in ("first.png", "second.png", "third.png"):
        picture = Image.open(cat_file).convert("RGB")
        picture.putpixel((0, 0), (1, 2, 3))  # a picture that no other test has uploaded
        picture.save(tmp_path / name)
        uploads.append(tmp_path / name)
    passes: list[int] = []
    encode = Backbone.encode

    def counted(self: Backbone, *args: object) -> Encoded:
        passes.append(1)
        return encode(self, *args)

    monkeypatch.setattr(Backbone, "encode", counted)
    first, second, third = uploads
    service.explain(first, service.Wanted("classification"))
    service.explain(first, service.Wanted("classification", target="tabby"))
    service.explain(second, service.Wanted("captioning"))
    service.explain(second, service.Wanted("captioning", target="a dog runs through the grass"))
    service.explain(third, service.Wanted("vqa", question="What animal is this?"))
    shown = service.explain(
        third, service.Wanted("vqa", question="What color is it?", target="black")
    )
    assert len(passes) == 1
    expected = gradcam_core.explain(third, "vqa", question="What color is it?", target="black")
    assert np.array_equal(shown.explanation.raw, expected.raw)


def test_guided_backpropagation_is_computed_when_asked_for(cat_file: Path) -> None:
    assert service.explain(cat_file, service.Wanted("classification")).explanation.gradient is None
    shown = service.explain(cat_file, service.Wanted("classification", guided=True))
    assert shown.explanation.gradient is not None


def test_a_large_photo_is_shown_small_and_saved_at_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    path = tmp_path / "large.jpg"
    Image.effect_mandelbrot((2000, 1000), (-2, -1, 1, 1), 50).convert("RGB").save(path)
    shown = service.explain(path, service.Wanted("classification"))
    assert shown.explanation.picture.size == (768, 384)
    assert shown.full_size().heatmap.shape == (1000, 2000)
    path.unlink()
    with pytest.raises(ValueError, match="upload it again"):
        shown.full_size()


def test_a_model_is_downloaded_only_when_that_is_asked_for(
    cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(service.NotHereError) as raised:
        service.explain(cat_file, service.Wanted("classification", model="vgg16"), download=False)
    assert (raised.value.info.title, raised.value.info.download_mb) == ("VGG-16", 528)


def test_suggestions_fit_what_is_typed_likeliest_first(cat_file: Path) -> None:
    found = service.suggestions(cat_file, "classification", "cat")
    probabilities = [label.probability for label in found]
    assert {"Egyptian cat", "tabby", "tiger cat"} == {label.text for label in found[:3]}
    assert probabilities == sorted(probabilities, reverse=True)
    assert service.suggestions(cat_file, "classification", "qwxz") == []
    assert service.suggestions(cat_file, "captioning", "cat") == []
    assert [label.text for label in service.suggestions(cat_file, "classification", "labr")] == [
        "Labrador retriever"
    ]
    assert len(service.suggestions(cat_file, "vqa", "", question="What animal is this?")) == 8


def test_examples_come_with_the_dependencies(lite0: Classifier) -> None:
    pictures = example_pictures()
    assert len(pictures) == 12
    expected = {
        "cheetah": "cheetah",
        "lion": "lion",
        "cat": "Egyptian cat",
        "coffee": "espresso",
        "rocket": "missile",
        "photographer": "tripod",
        "palace": "palace",
        "flower": "daisy",
    }
    assert not [name for name in pictures if gradcam_core.explain(pictures[name]).unsure]
    for name, label in expected.items():
        assert gradcam_core.explain(pictures[name]).target == label


def test_questions_to_try_are_answered_rightly() -> None:
    pictures = example_pictures()
    assert set(QUESTIONS) == {"", *pictures}
    wrong = [
        (example, question, said)
        for example, asked in QUESTIONS.items()
        for question, answer in asked.items()
        if answer
        and (said := gradcam_core.explain(pictures[example], "vqa", question=question).target)
        != answer
    ]
    assert wrong == []
