"""Grad-CAM for image classification, captioning and visual question answering."""

from gradcam_core.explain import Explanation, Word, explain
from gradcam_core.models.base import Prediction, Target
from gradcam_core.models.registry import ModelInfo, load, models

__all__ = [
    "Explanation",
    "ModelInfo",
    "Prediction",
    "Target",
    "Word",
    "explain",
    "load",
    "models",
]
