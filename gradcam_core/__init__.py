"""Grad-CAM for image classification, captioning and visual question answering."""

from gradcam_core import metrics
from gradcam_core.explain import explain
from gradcam_core.explanation import Explanation, Word, package_version
from gradcam_core.feature_cache import explain_file, suggest_file
from gradcam_core.image.open import open_image
from gradcam_core.image.render import (
    COLOUR_MAPS,
    DEFAULT_COLOUR_MAP,
    DEFAULT_OPACITY,
    coloured,
    overlay,
)
from gradcam_core.methods import Method, methods
from gradcam_core.models.base import LabelModel, Model, Prediction, Score, Target
from gradcam_core.models.embedded.concepts import Reason
from gradcam_core.models.info import ModelInfo
from gradcam_core.models.labels import UnknownLabelError
from gradcam_core.models.model_cache import load
from gradcam_core.models.registry import describe, models
from gradcam_core.models.wrapped.wrap import wrap

__version__ = package_version()

__all__ = [
    "COLOUR_MAPS",
    "DEFAULT_COLOUR_MAP",
    "DEFAULT_OPACITY",
    "Explanation",
    "LabelModel",
    "Method",
    "Model",
    "ModelInfo",
    "Prediction",
    "Reason",
    "Score",
    "Target",
    "UnknownLabelError",
    "Word",
    "coloured",
    "describe",
    "explain",
    "explain_file",
    "load",
    "methods",
    "metrics",
    "models",
    "open_image",
    "overlay",
    "suggest_file",
    "wrap",
]
