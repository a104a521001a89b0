"""What is kept between two explanations changes nothing but their cost."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import transformers

import gradcam_core
from gradcam_core import feature_cache as session
from gradcam_core.models.backbone import Backbone


@pytest.mark.parametrize(
    ("task", "question"), [("classification", None), ("captioning", None), ("vqa", "What is this?")]
)
def test_a_cached_picture_is_explained_as_a_new_one(
    task: str, question: str | None, cat_file: Path
) -> None:
    for _ in range(2):
        cached = gradcam_core.explain_file(cat_file, task, question=question)
        alone = gradcam_core.explain(cat_file, task, question=question)
        assert cached.target == alone.target
        assert np.array_equal(cached.raw, alone.raw)
        assert cached.source == cat_file


def test_a_network_whose_output_is_no_tensor_is_kept_too(cat_file: Path, tmp_path: Path) -> None:
    """Those of transformers give an object of several; the page and the command line come here."""
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(tmp_path)
    for _ in range(2):
        kept = gradcam_core.explain_file(cat_file, model=str(tmp_path))
        alone = gradcam_core.explain(cat_file, model=str(tmp_path))
        assert np.array_equal(kept.raw, alone.raw)


def test_the_cnn_runs_once_for_all_three_tasks(
    cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    encode = Backbone.encode
    monkeypatch.setattr(
        Backbone, "encode", lambda self, *args: runs.append(self.name) or encode(self, *args)
    )
    session._encode.cache.clear()
    same = shutil.copy(cat_file, tmp_path / "another-name.png")
    gradcam_core.explain_file(cat_file, guided=True)
    gradcam_core.explain_file(Path(same), "captioning")
    gradcam_core.explain_file(cat_file, "vqa", target="dog", question="What is this?")
    gradcam_core.explain_file(cat_file, target="tabby", method="layercam")
    assert runs == ["EfficientNet-Lite0"]
    gradcam_core.explain_file(cat_file, layer="blocks.4")
    assert len(runs) == 2
