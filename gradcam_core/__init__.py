"""Grad-CAM for image classification, captioning and visual question answering."""

from gradcam_core import evidence
from gradcam_core.explain import explain
from gradcam_core.explanation import Explanation, Word, package_version
from gradcam_core.image import open_image
from gradcam_core.methods import Method, methods
from gradcam_core.models.base import LabelModel, Model, Prediction, Score, Target
from gradcam_core.models.held import load
from gradcam_core.models.info import ModelInfo
from gradcam_core.models.labels import UnknownLabelError
from gradcam_core.models.own import wrap
from gradcam_core.models.reasons import Reason
from gradcam_core.models.registry import describe, models
from gradcam_core.render import COLOUR_MAPS, DEFAULT_COLOUR_MAP, DEFAULT_OPACITY, coloured, overlay
from gradcam_core.session import explain_file, suggest_file

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
    "evidence",
    "explain",
    "explain_file",
    "load",
    "methods",
    "models",
    "open_image",
    "overlay",
    "suggest_file",
    "wrap",
]
