"""Pictures: open, decode, place, draw."""

from gradcam_core.image.open import ImageSource, open_image

__all__ = ["ImageSource", "open_image"]
