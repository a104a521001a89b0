"""What the page and its endpoints need of whatever computes explanations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from gradcam_core import Explanation, Prediction, Query

Picture = Path | Image.Image


@dataclass(frozen=True)
class ModelFacts:
    """What only a loaded model knows.

    Attributes:
        layers: The target layers from input to output, each with its map's width and height.
        default_layer: The one that is explained if none is named.
        convolutional: Whether the feature maps come from a convolutional network.
        capabilities: What it can say, how often it is right, and what it cannot do.
        methods: Each method's name -> why it does not apply to the model, or None if it does.
    """

    layers: dict[str, str]
    default_layer: str
    convolutional: bool
    capabilities: str
    methods: dict[str, str | None]


class Compute(Protocol):
    """Answers queries about pictures; the query's model is on this machine.

    All calls raise ValueError and FileNotFoundError as `gradcam_core.explain` does.
    """

    def explain(self, picture: Picture, query: Query) -> Explanation:
        """Explain a picture, see `gradcam_core.Explainer.explain`."""

    def suggest(self, picture: Picture, query: Query, text: str) -> list[Prediction]:
        """Return labels that fit an unfinished text, see `gradcam_core.Explainer.suggest`."""

    def evaluate(
        self, picture: Picture, query: Query, test: str, goal: str | None = None
    ) -> dict[str, Any]:
        """Test the map of an explanation, see `demo.evaluation.evaluate`."""

    def channels(self, picture: Picture, query: Query, word: int | None = None) -> dict[str, Any]:
        """Return how the map of an explanation was made, see `demo.channels.packed`."""

    def describe(self, query: Query) -> ModelFacts:
        """Return what is known of the query's model."""

    def check(self) -> None:
        """Explain a small picture, with nothing from a cache; raise an error if that fails."""

    def cache_lookups(self) -> Mapping[tuple[str, bool], int]:
        """Return the lookups in this process' caches, see `gradcam_core.FeatureCache`."""
