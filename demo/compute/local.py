"""Computes in this process."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

import gradcam_core
from demo.channels import packed
from demo.compute.base import ModelFacts, Picture
from demo.evaluation import evaluate
from gradcam_core import Explainer, Explanation, FeatureCache, Prediction, Query


class LocalCompute:
    """See `Compute`. One feature cache serves all calls, from any thread."""

    def __init__(self) -> None:
        self._cache = FeatureCache()
        self.explainer = Explainer(self._cache)

    def explain(self, picture: Picture, query: Query) -> Explanation:
        return self.explainer.explain(picture, query)

    def suggest(self, picture: Picture, query: Query, text: str) -> list[Prediction]:
        return self.explainer.suggest(picture, query, text)

    def evaluate(
        self, picture: Picture, query: Query, test: str, goal: str | None = None
    ) -> dict[str, Any]:
        return evaluate(self.explainer, picture, query, test, goal)

    def channels(self, picture: Picture, query: Query, word: int | None = None) -> dict[str, Any]:
        return packed(self.explainer.channel_contributions(picture, query, word))

    def describe(self, query: Query) -> ModelFacts:
        model = gradcam_core.load(query.model_name, query.task)
        return ModelFacts(
            layers={name: f"{w} × {h}" for name, (_, h, w) in model.layers.items()},
            default_layer=model.backbone.layer_named(None),
            convolutional=model.convolutional,
            capabilities=_capabilities(model),
            methods={name: each.why_not(model) for name, each in gradcam_core.methods().items()},
        )

    def check(self) -> None:
        gradcam_core.explain(Image.new("RGB", (8, 8)))

    def cache_lookups(self) -> Mapping[tuple[str, bool], int]:
        return dict(self._cache.lookups)


def _capabilities(model: gradcam_core.Model) -> str:
    info, _ = gradcam_core.describe(model.name)
    text = f"It knows {model.repertoire}" if model.repertoire else ""
    if isinstance(model, gradcam_core.LabelModel):
        text += " and always answers with one of them, whatever the picture shows."
    elif text:
        text += " from short captions of everyday photos."
    return f"{text} {info.limits}".strip()
