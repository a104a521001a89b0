"""`Method.why_not` says of every embedded model whether explaining works."""

from pathlib import Path

import pytest

import gradcam_core
from gradcam_core import Explainer, FeatureCache, Query

EMBEDDED = [info for info in gradcam_core.models() if not info.download_mb]


@pytest.mark.parametrize("info", EMBEDDED, ids=lambda info: info.name)
def test_a_method_that_applies_explains_and_another_raises(
    info: gradcam_core.ModelInfo, cat_file: Path
) -> None:
    question = "What animal is this?" if info.task == "vqa" else None
    explainer, model = Explainer(FeatureCache()), gradcam_core.load(info.name)
    applying = set()
    for name, method in gradcam_core.methods().items():
        query = Query(info.task, question=question, model=info.name, method=name)
        reason = method.why_not(model)
        if reason is not None:
            assert info.name in reason, name
            with pytest.raises(ValueError) as raised:
                explainer.explain(cat_file, query)
            assert str(raised.value) == reason, name
        elif not method.slow:
            explanation = explainer.explain(cat_file, query)
            assert explanation.raw.min() >= 0, name
            applying.add(name)
    assert applying >= {"grad-cam", "gradient", "guided-backprop", "guided-grad-cam"}
    assert ("cam" in applying) == ("c-mwp" in applying) == (info.task == "classification")
    assert ("finer-cam" in applying) == (info.task != "captioning")
    assert ("attention" in applying) == (info.name == "lite0-vqa-coattention")
