"""Does a map still find what is there, when the network has been made to say something else?

Section 6.2: a perturbation that nobody sees makes the network sure of a class that is not in the
picture; the maps of what is really there still lie on it.
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gradcam_core.explain import explain_encoded
from gradcam_core.explanation import Explanation
from gradcam_core.metrics.localization import bounding_box, overlap, segment
from gradcam_core.metrics.measurement import rank_correlation
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import LabelModel, Target

RADIUS = 8 / 255  # of the range of a colour: the usual one of such attacks
_STEPS = 20
_ENOUGH = 0.5  # intersection over union


class Attack(NamedTuple):
    """A picture that is made to look like another class to a network.

    Attributes:
        encoded: The changed picture, as the network takes it.
        picture: The same as a picture, RGB, (W_in, H_in) pixels.
        change: (H_in, W_in, 3) float32 in [-1, 1], the change as a share of the radius.
    """

    encoded: Encoded
    picture: Image.Image
    change: np.ndarray


class Held(NamedTuple):
    """What became of a map when the network was fooled.

    Attributes:
        fooled: Whether the network's first choice is the attack's target.
        correlation: Spearman's, of the map of the true class before and after.
        found: Whether the boxes of the two maps overlap by more than a half.
    """

    fooled: bool
    correlation: float
    found: bool


class Fooled(NamedTuple):
    """A network made to say something else, and its maps then.

    Attributes:
        attack: The changed picture.
        before: The explanation of what is really there.
        after: Of the same class and the changed picture, laid over the picture as it was.
        other: The same of the class that the network was to say.
        held: What became of the map.
    """

    attack: Attack
    before: Explanation
    after: Explanation
    other: Explanation
    held: Held


def fooled(
    model: LabelModel, encoded: Encoded, before: Explanation, goal: Target, radius: float = RADIUS
) -> Fooled:
    """Attack a picture, and explain both classes of what it has become.

    Args:
        model: A classifier.
        encoded: The picture.
        before: Its explanation, for the class that is really there.
        goal: What the network is to say.
        radius: As for `attack`.
    """
    made = attack(model, encoded, goal, radius)
    after, other = explain_encoded(
        model, made.encoded, before.picture, [before.target, goal.text], method=before.method
    )
    return Fooled(made, before, after, other, held(before, after, goal))


def attack(model: LabelModel, encoded: Encoded, target: Target, radius: float = RADIUS) -> Attack:
    """Change a picture, nowhere by more than `radius`, until the network says `target`.

    Projected gradient descent on the target's cross entropy: Madry et al., ICLR 2018
    (arXiv 1706.06083), Eq. 1 of section 2.1, targeted, 20 steps from the picture itself.

    Args:
        model: A classifier.
        encoded: The picture.
        target: What it is to be made to say.
        radius: Of each colour's range, in (0, 1].
    """
    low, high = _range(model)
    start = encoded.pixels.detach()
    reach = radius * (high - low)
    (index,) = target.ids
    pixels = start
    for _ in tqdm(range(_STEPS), desc="changing the picture", leave=False, disable=None):
        pixels = pixels.detach().requires_grad_()
        logits = model.logits(model.backbone.features(pixels), target.question)
        (gradient,) = torch.autograd.grad(logits.log_softmax(0)[index], pixels)
        pixels = pixels.detach() + reach * (2.5 / _STEPS) * gradient.sign()
        pixels = pixels.clamp(start - reach, start + reach).clamp(low, high)
    shown = ((pixels - low) / (high - low))[0].permute(1, 2, 0).cpu().numpy()
    return Attack(
        model.backbone.encode_pixels(pixels, encoded.layer, encoded.box),
        Image.fromarray(np.rint(shown * 255).astype(np.uint8)),
        ((pixels - start) / reach)[0].permute(1, 2, 0).cpu().numpy(),
    )


def held(before: Explanation, after: Explanation, target: Target) -> Held:
    """Compare the maps of a class before and after an attack.

    Args:
        before: Of the picture as it was.
        after: Of the same class and the changed picture, laid over the picture as it was.
        target: What the network was to say.
    """
    boxes = [bounding_box(segment(each.heatmap)) for each in (before, after)]
    return Held(
        after.predictions[0].text == target.text,
        rank_correlation(before.raw, after.raw),
        boxes[0] is not None and boxes[1] is not None and overlap(boxes[0], boxes[1]) > _ENOUGH,
    )


def _range(model: LabelModel) -> tuple[Tensor, Tensor]:
    """Return black and white as the network takes them, (1, C, 1, 1)."""
    black, white = (
        model.backbone.pixels(Image.new("RGB", (64, 64), colour))[0]
        for colour in ("black", "white")
    )
    middle = black.shape[2] // 2, black.shape[3] // 2
    low, high = (colour[:, :, middle[0], middle[1], None, None] for colour in (black, white))
    return low, high
