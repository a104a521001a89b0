"""The place of what is explained among all that a model can say."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gradcam_core
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.classifiers import Classifier


@settings(max_examples=20, deadline=None)
@given(place=st.integers(1, 1000))
def test_the_class_of_each_rank_has_it(lite0: Classifier, cat: Encoded, place: int) -> None:
    head = lite0.bind(cat)
    index = int(head.logits.argsort(descending=True)[place - 1])
    assert head.rank(head.target(index)) == place


@pytest.mark.parametrize("layer", [None, "blocks.4+conv_head"])
def test_an_explanation_knows_its_rank(cat_file: Path, layer: str | None) -> None:
    own, tabby, far = gradcam_core.explain(
        cat_file, target=[None, "tabby", "school bus"], layer=layer
    )
    texts = [each.text for each in own.predictions]
    assert own.rank == 1
    assert tabby.rank == texts.index("tabby") + 1
    assert far.rank > len(texts)
    assert far.to_dict()["rank"] == far.rank


def test_answers_have_ranks_and_what_is_not_listed_has_none(cat_file: Path) -> None:
    question = "What animal is this?"
    assert gradcam_core.explain(cat_file, "vqa", question=question).rank == 1
    assert gradcam_core.explain(cat_file, "vqa", "dog", question).rank > 1
    assert gradcam_core.explain(cat_file, "captioning").rank is None
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    model = gradcam_core.wrap(network.eval())
    summed = gradcam_core.explain(cat_file, model=model, target=lambda output: output.sum())
    assert summed.rank is None
    assert gradcam_core.explain(cat_file, model=model).rank == 1
