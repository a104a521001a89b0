"""The service: queries of visitors, with and without a cache, and what they may use."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gradcam_core
from demo.compute.local import LocalCompute
from demo.examples import QUESTIONS, example_pictures
from demo.service import NotDownloadedError, Service, full_size
from gradcam_core import Query
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.classifiers import Classifier


@pytest.fixture(scope="module")
def service() -> Service:
    return Service(LocalCompute())


def test_one_cnn_pass_serves_all_tabs(
    service: Service, cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same picture, uploaded three times, with two queries each: encoded once."""
    uploads = [tmp_path / name for name in ("first.png", "second.png", "third.png")]
    for upload in uploads:
        upload.write_bytes(cat_file.read_bytes())
    passes: list[int] = []
    encode = Backbone.encode

    def counted(self: Backbone, *args: object) -> Encoded:
        passes.append(1)
        return encode(self, *args)

    monkeypatch.setattr(Backbone, "encode", counted)
    service = Service(LocalCompute())  # with an empty cache
    first, second, third = uploads
    service.explain(first, Query())
    service.explain(first, Query(target="tabby"))
    service.explain(second, Query("captioning"))
    service.explain(second, Query("captioning", "a dog runs through the grass"))
    service.explain(third, Query("vqa", question="What animal is this?"))
    black = Query("vqa", "black", question="What color is it?")
    explanation, _ = service.explain(third, black)
    assert len(passes) == 1
    expected = gradcam_core.explain(third, "vqa", "black", question="What color is it?")
    assert np.array_equal(explanation.raw, expected.raw)


def test_guided_backpropagation_is_computed_on_request_where_it_is_defined(
    service: Service, cat_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.explain(cat_file, Query()).explanation.gradient is None
    assert service.explain(cat_file, Query(guided=True)).explanation.gradient is not None
    backbone = gradcam_core.load("lite2").backbone
    monkeypatch.setattr(backbone, "other_activation", "SiLU")
    with pytest.raises(ValueError, match="SiLU"):
        gradcam_core.explain(cat_file, model="lite2", guided=True)
    explanation, _ = service.explain(cat_file, Query(model="lite2", guided=True))
    assert explanation.gradient is None


def test_a_finer_map_has_more_cells(service: Service, cat_file: Path) -> None:
    explanation, _ = service.explain(cat_file, Query(target="tabby", detail=2.0))
    expected = gradcam_core.explain(cat_file, target="tabby", detail=2.0)
    assert explanation.raw.shape == (14, 14)
    assert explanation.raw == pytest.approx(expected.raw, abs=1e-5)


def test_a_large_photo_is_shown_small_and_saved_at_its_own_size(
    service: Service, tmp_path: Path
) -> None:
    path = tmp_path / "large.jpg"
    Image.effect_mandelbrot((2000, 1000), (-2, -1, 1, 1), 50).convert("RGB").save(path)
    explanation, _ = service.explain(path, Query())
    assert explanation.picture.size == (768, 384)
    assert full_size(explanation).heatmap.shape == (1000, 2000)
    path.unlink()
    with pytest.raises(ValueError, match="upload it again"):
        full_size(explanation)


def test_a_model_is_downloaded_only_on_request(
    service: Service, cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(NotDownloadedError) as raised:
        service.explain(cat_file, Query(model="vgg16"))
    assert (raised.value.info.title, raised.value.info.download_mb) == ("VGG-16", 528)


def test_a_model_describes_itself(service: Service) -> None:
    facts = service.describe(Query("captioning"))
    assert facts.layers["conv_head"] == "7 × 7"
    assert facts.convolutional
    assert "short captions" in facts.capabilities
    assert facts.methods["grad-cam"] is None
    assert {"cam", "c-mwp", "finer-cam", "attention-rollout"} <= {
        name for name, reason in facts.methods.items() if reason
    }


def test_suggestions_fit_what_is_typed_likeliest_first(service: Service, cat_file: Path) -> None:
    found = service.suggest(cat_file, Query(), "cat")
    probabilities = [label.probability for label in found]
    assert {"Egyptian cat", "tabby", "tiger cat"} == {label.text for label in found[:3]}
    assert probabilities == sorted(probabilities, reverse=True)
    assert service.suggest(cat_file, Query(), "qwxz") == []
    assert service.suggest(cat_file, Query("captioning"), "cat") == []
    found = service.suggest(cat_file, Query(), "labr")
    assert [label.text for label in found] == ["Labrador retriever"]
    query = Query("vqa", question="What animal is this?")
    assert len(service.suggest(cat_file, query, "")) == 8


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
        "lion and coffee": "lion",
    }
    unsure = [name for name in pictures if gradcam_core.explain(pictures[name]).unsure]
    assert unsure == ["four flowers"]  # made for questions
    for name, label in expected.items():
        assert gradcam_core.explain(pictures[name]).target == label


def test_suggested_questions_are_answered_correctly() -> None:
    pictures = example_pictures()
    assert set(QUESTIONS) == {"", *pictures}
    wrong = [
        (example, question, found)
        for example, asked in QUESTIONS.items()
        for question, answer in asked.items()
        if answer
        and (found := gradcam_core.explain(pictures[example], "vqa", question=question).target)
        != answer
    ]
    assert wrong == []
