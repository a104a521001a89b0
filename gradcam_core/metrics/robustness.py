"""Robustness: does the map still show the object when the network is attacked?

The paper's section 6.2: an adversarial perturbation that nobody sees makes the network sure of a
class that is not in the picture; the map of the true class still lies on the object.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gradcam_core.explain import Explainer
from gradcam_core.explanation import Explanation
from gradcam_core.metrics.localization import MIN_IOU, bounding_box, iou, segment
from gradcam_core.metrics.metric import MeasuredMap, rank_correlation
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import LabelHead, LabelModel, ResolvedTarget
from gradcam_core.models.compute_mode import standard_mode

RADIUS = 8 / 255  # usual radius of such attacks, as a share of a colour's range

_STEPS = 20
_STEP_SIZE = 2.5 / _STEPS  # share of the radius
_COMPARED_SIDE = 768  # pixels of the picture on which boxes are compared


class AdversarialExample(NamedTuple):
    """A picture that was changed to look like another class to the network.

    Attributes:
        encoded: The changed picture after the CNN.
        picture: The same as a picture, RGB, (H_in, W_in) pixels.
        change: (H_in, W_in, 3) float32 in [-1, 1], the perturbation as a share of the radius.
    """

    encoded: Encoded
    picture: Image.Image
    change: np.ndarray


class AttackResult(NamedTuple):
    """The result of an attack.

    Attributes:
        example: The changed picture.
        before: Explanation of the true class for the original picture.
        after: Explanation of the true class for the changed picture, drawn over the original.
        adversarial: Explanation of the adversarial class for the changed picture, likewise.
        succeeded: Whether the network's first prediction is the adversarial class.
        correlation: Spearman's rank correlation of the true class's maps before and after, in
            [-1, 1].
        localized: Whether the boxes of these two maps overlap by more than 0.5 (IoU).

    Examples:
        >>> result = metrics.attack(explanation, "zebra")
        >>> result.example.picture.save("zebra.png")
    """

    example: AdversarialExample
    before: Explanation
    after: Explanation
    adversarial: Explanation
    succeeded: bool
    correlation: float
    localized: bool


@standard_mode()
def attack(
    explanation: Explanation, target: str | None = None, radius: float = RADIUS
) -> AttackResult:
    """Attack a classifier with a perturbed picture, and explain what it sees in it.

    The paper's section 6.2, with the attack of `perturb`.

    Args:
        explanation: Of the class that is really in the picture.
        target: The adversarial class; None for the one that the network finds least likely.
        radius: Largest change of a colour, as a share of its range, in (0, 1].

    Raises:
        ValueError: The model is not a classifier, or has no such class, or it is the explained
            class; or the radius is out of range.

    Examples:
        >>> result = metrics.attack(gradcam_core.explain("cat.jpg"), "zebra")
        >>> result.succeeded, round(result.correlation, 2)
        (True, 0.03)
    """
    head, true, *_ = MeasuredMap.from_explanation(explanation)
    if explanation.task != "classification" or not isinstance(head, LabelHead):
        raise ValueError("Only classifiers can be attacked, not captioners or VQA models.")
    if not head.model.labels:
        raise ValueError(f"{head.model.name} has no classes to choose from.")
    if not 0 < radius <= 1:
        raise ValueError(f"The radius is above 0 and at most 1, not {radius:g}.")
    adversarial = head.target(int(head.logits.argmin()) if target is None else target)
    if adversarial == true:
        raise ValueError(f"“{true.text}” is the explained class: choose another one.")
    example = perturb(head, adversarial, radius)
    picture = explanation.picture.copy()
    picture.thumbnail((_COMPARED_SIDE, _COMPARED_SIDE))
    before = replace(explanation, picture=picture)
    after, other = Explainer().explain_head(
        head.model.bind(example.encoded),
        picture,
        replace(explanation.query, guided=False, detail=1.0),
        [true.function or true.text, adversarial.text],
    )
    boxes = [bounding_box(segment(each.heatmap)) for each in (before, after)]
    return AttackResult(
        example,
        before,
        after,
        other,
        after.predictions[0].text == adversarial.text,
        rank_correlation(before.raw, after.raw),
        boxes[0] is not None and boxes[1] is not None and iou(boxes[0], boxes[1]) > MIN_IOU,
    )


def perturb(head: LabelHead, target: ResolvedTarget, radius: float = RADIUS) -> AdversarialExample:
    """Change a picture by at most `radius` anywhere, so that the network predicts `target`.

    Projected gradient descent on the target's cross entropy: Madry et al., ICLR 2018 (arXiv
    1706.06083), section 2.1, targeted, 20 steps from the picture itself.

    Args:
        head: A classifier looking at a picture.
        target: The adversarial class.
        radius: Share of each colour's range, in (0, 1].
    """
    encoded, backbone = head.encoded, head.model.backbone
    upright = encoded.placement.upright
    low, high = _range(head.model)
    start = encoded.pixels.detach()
    reach = radius * (high - low)
    (index,) = target.ids
    pixels = start
    for _ in tqdm(range(_STEPS), desc="attacking", leave=False, disable=None):
        pixels = pixels.detach().requires_grad_()
        logits = head.compute_logits(backbone.head_input(pixels))
        (gradient,) = torch.autograd.grad(logits.log_softmax(0)[index], pixels)
        pixels = pixels.detach() + reach * _STEP_SIZE * gradient.sign()
        pixels = pixels.clamp(start - reach, start + reach).clamp(low, high)
    shown = ((pixels - low) / (high - low))[0].permute(1, 2, 0).cpu().numpy()
    return AdversarialExample(
        backbone.encode_pixels(pixels, encoded.layer, encoded.placement),
        Image.fromarray(np.rint(upright(shown) * 255).astype(np.uint8)),
        upright(((pixels - start) / reach)[0].permute(1, 2, 0).cpu().numpy()),
    )


def _range(model: LabelModel) -> tuple[Tensor, Tensor]:
    """Return black and white as the network takes them, (1, C, 1, 1) each."""
    black, white = (
        model.backbone.preprocess(Image.new("RGB", (64, 64), colour))[0]
        for colour in ("black", "white")
    )
    middle = black.shape[2] // 2, black.shape[3] // 2
    low, high = (colour[:, :, middle[0], middle[1], None, None] for colour in (black, white))
    return low, high
