"""Short forms for tests of methods."""

from gradcam_core.methods import METHODS
from gradcam_core.methods.gradients import Maps
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model


def attribute(
    method: str,
    model: Model,
    encoded: Encoded,
    target: str | int | None = None,
    question: str | None = None,
) -> Maps:
    """Return the maps of one target by a method."""
    head = model.bind(encoded, question)
    (maps,) = METHODS[method].attribute(head, [head.target(target)])
    return maps
