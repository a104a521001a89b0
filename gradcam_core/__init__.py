"""Grad-CAM for image classification, captioning and visual question answering."""

from gradcam_core import startup  # noqa: F401 - before the imports that take long

# isort: split

from gradcam_core import metrics
from gradcam_core.attribute import attribute
from gradcam_core.batch.explain_many import explain_many
from gradcam_core.explain import Explainer, channel_contributions, explain
from gradcam_core.explanation import Explanation, Word
from gradcam_core.feature_cache import FeatureCache
from gradcam_core.figure import figure
from gradcam_core.image import decoding_for, open_image
from gradcam_core.image.render import (
    COLOUR_MAPS,
    DEFAULT_COLOUR_MAP,
    DEFAULT_OPACITY,
    coloured,
    overlay,
)
from gradcam_core.methods import DEFAULT_METHOD, Method, methods
from gradcam_core.methods.channels import ChannelContributions
from gradcam_core.models.backbone import MAX_DETAIL, batch_size
from gradcam_core.models.base import Head, LabelModel, Model, Prediction, ResolvedTarget, Score
from gradcam_core.models.embedded.concepts import Concept
from gradcam_core.models.info import TASKS, ModelInfo
from gradcam_core.models.labels import UnknownLabelError
from gradcam_core.models.model_cache import load
from gradcam_core.models.registry import describe, models
from gradcam_core.models.wrapped.wrap import wrap
from gradcam_core.query import Query
from gradcam_core.version import __version__

__all__ = [
    "COLOUR_MAPS",
    "DEFAULT_COLOUR_MAP",
    "DEFAULT_METHOD",
    "DEFAULT_OPACITY",
    "MAX_DETAIL",
    "TASKS",
    "ChannelContributions",
    "Concept",
    "Explainer",
    "Explanation",
    "FeatureCache",
    "Head",
    "LabelModel",
    "Method",
    "Model",
    "ModelInfo",
    "Prediction",
    "Query",
    "ResolvedTarget",
    "Score",
    "UnknownLabelError",
    "Word",
    "__version__",
    "attribute",
    "batch_size",
    "channel_contributions",
    "coloured",
    "decoding_for",
    "describe",
    "explain",
    "explain_many",
    "figure",
    "load",
    "methods",
    "metrics",
    "models",
    "open_image",
    "overlay",
    "wrap",
]
