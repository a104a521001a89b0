"""A cache changes the cost of explanations, not the explanations."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import transformers
from PIL import Image

import gradcam_core
from gradcam_core.explain import Explainer
from gradcam_core.feature_cache import FeatureCache
from gradcam_core.query import Query, Task


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(FeatureCache())


@pytest.fixture
def passes() -> Iterator[list[str]]:
    """The passes of pictures through the first stage of the embedded network."""
    found: list[str] = []
    stem = gradcam_core.load("lite0").backbone.stages["stem"]
    handle = stem.register_forward_hook(lambda *args: found.append("pass"))
    yield found
    handle.remove()


@pytest.mark.parametrize(
    ("task", "question"), [("classification", None), ("captioning", None), ("vqa", "What is this?")]
)
def test_a_cached_picture_is_explained_as_a_new_one(
    task: Task, question: str | None, cat_file: Path, explainer: Explainer
) -> None:
    alone = gradcam_core.explain(cat_file, task, question=question)
    for _ in range(2):
        cached = explainer.explain(cat_file, Query(task, question=question))
        assert cached.target == alone.target
        assert np.array_equal(cached.raw, alone.raw)
        assert cached.source == cat_file


@pytest.mark.slow
def test_a_network_whose_output_is_no_tensor_is_cached_too(
    cat_file: Path, tmp_path: Path, explainer: Explainer
) -> None:
    """Networks of transformers return an object with several tensors."""
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(tmp_path)
    alone = gradcam_core.explain(cat_file, model=str(tmp_path))
    for _ in range(2):
        cached = explainer.explain(cat_file, Query(model=str(tmp_path)))
        assert np.array_equal(cached.raw, alone.raw)


def test_the_cnn_runs_once_for_all_three_tasks(
    cat_file: Path, tmp_path: Path, explainer: Explainer, passes: list[str]
) -> None:
    same = shutil.copy(cat_file, tmp_path / "another-name.png")
    explainer.explain(cat_file, Query())
    explainer.explain(same, Query("captioning"))
    explainer.explain(cat_file, Query("vqa", target="dog", question="What is this?"))
    explainer.explain(cat_file, Query(target="tabby", method="layercam"))
    assert len(passes) == 1
    explainer.explain(cat_file, Query(layer="blocks.4"))
    assert len(passes) == 2


@pytest.mark.parametrize("cache", [FeatureCache(), None])
def test_guided_views_take_one_pass(
    cat_file: Path, cache: FeatureCache | None, passes: list[str]
) -> None:
    explainer = Explainer(cache)
    targets = ["tabby", "lynx", None]
    together = explainer.explain_targets(cat_file, Query(guided=True), targets)
    assert len(passes) == 1
    for target, one in zip(targets, together, strict=True):
        alone = gradcam_core.explain(cat_file, target=target, guided=True)
        assert np.allclose(one.gradient, alone.gradient, atol=1e-6)
    if cache:  # the map comes from the cache, the gradient needs a pass
        passes.clear()
        again = explainer.explain(cat_file, Query(target="tabby", guided=True))
        assert len(passes) == 1
        assert np.allclose(again.gradient, together[0].gradient, atol=1e-6)


def test_finer_maps_are_cached_in_addition_to_the_usual_ones(
    cat_file: Path, explainer: Explainer, passes: list[str]
) -> None:
    alone = gradcam_core.explain(cat_file, target="tabby", detail=2)
    passes.clear()
    for _ in range(2):
        finer = explainer.explain(cat_file, Query(target="tabby", detail=2))
        usual = explainer.explain(cat_file, Query(target="tabby"))
        assert np.array_equal(finer.raw, alone.raw)
        assert finer.score == usual.score
    assert len(passes) == 2


def test_maps_of_slow_methods_are_cached(
    cat_file: Path, explainer: Explainer, passes: list[str]
) -> None:
    queries = [Query(target=target, method="occlusion") for target in ("tabby", "lynx")]
    first = [explainer.explain(cat_file, query).raw for query in queries]
    passes.clear()
    again = [explainer.explain(cat_file, query).raw for query in queries]
    assert not passes
    assert np.array_equal(first, again)
    assert not np.array_equal(*first)


def test_several_files_go_through_the_cnn_together(
    cat_file: Path, tmp_path: Path, explainer: Explainer, passes: list[str]
) -> None:
    other = tmp_path / "turned.png"
    Image.open(cat_file).rotate(90).save(other)
    expected = gradcam_core.explain(other, target="tabby")
    passes.clear()
    opened = [explainer.open_new(file, Query()) for file in (cat_file, other)]
    explainer.encode_many([new for new in opened if new])
    assert len(passes) == 1
    found = explainer.explain(other, Query(target="tabby"))
    assert len(passes) == 1
    assert found.raw == pytest.approx(expected.raw, abs=1e-5)
