"""NaN and infinite values are errors: a map of them would look like one without evidence."""

import math

from torch import nn

from gradcam_core.methods.gradients import Maps, all_finite
from gradcam_core.models.base import Head

_NAMED = 3  # weights in a message


def check_encoded(head: Head) -> None:
    """Raise a ValueError if the input or the feature map has NaN or infinite values."""
    encoded, model = head.encoded, head.model
    if not all_finite(encoded.pixels):
        raise ValueError(
            f"The input of {model.name} has NaN or infinite values: check its preprocessing, such "
            "as a division by a standard deviation of 0."
        )
    if not all_finite(encoded.activations):
        raise ValueError(
            f"The feature map of {model.name} at '{encoded.layer}' has NaN or infinite values. "
            f"{_weights(head)}"
        )


def check_maps(head: Head, maps: Maps) -> None:
    """Raise a ValueError if the score or a map has NaN or infinite values."""
    name, score = head.model.name, maps.score
    if not all_finite(score.terms) or not math.isfinite(score.probability or 0.0):
        raise ValueError(
            f"The score or the probability that {name} gives to the target is NaN or infinite. "
            f"{_weights(head)}"
        )
    if not all(all_finite(each) for each in (maps.attribution, maps.counterfactual, maps.words)):
        raise ValueError(
            f"The map of {name} at '{head.encoded.layer}' has NaN or infinite values: they arise "
            "between this layer and the score. Choose another layer, method or target."
        )


def check_head(head: Head) -> None:
    """Raise a ValueError if input, feature map or predictions have NaN or infinite values."""
    check_encoded(head)
    if not all(math.isfinite(each.probability) for each in head.predictions()):
        raise ValueError(f"The output of {head.model.name} has NaN values. {_weights(head)}")


def _weights(head: Head) -> str:
    """Say which weights have such values."""
    modules = dict(head.model.backbone.stages)
    if isinstance(own := getattr(head.model, "head", None), nn.Module):
        modules["head"] = own
    found = [
        f"{part}.{name}"
        for part, module in modules.items()
        for name, weight in module.state_dict().items()
        if weight.is_floating_point() and not all_finite(weight)
    ]
    if not found:
        return "Its weights have none: they arise in its computation."
    more = ", ..." if len(found) > _NAMED else ""
    return f"Weights with such values: {', '.join(found[:_NAMED])}{more}."
