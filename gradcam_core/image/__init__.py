"""Pictures: open, decode, place, draw."""

from gradcam_core.image.open import ImageSource, decoding_for, open_image

__all__ = ["ImageSource", "decoding_for", "open_image"]
