"""Image classifiers: a CNN and a head that turns its last feature map into class logits."""

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from gradcam_core.models.backbone import Backbone, device
from gradcam_core.models.base import LabelModel


class Classifier(LabelModel):
    """A CNN classifier; its score y^c is the logit of a class."""

    task = "classification"
    kind = "class"

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        head: nn.Module,
        classes: Sequence[Sequence[str]],
        multi_label: bool = False,
        unsure_below: float = 0.0,
    ) -> None:
        """Join a backbone and its head.

        Args:
            name: Name in the registry.
            backbone: The CNN.
            head: Last feature map (1, C, h, w) -> logits (1, len(classes)).
            classes: For each class, its shown name and then its synonyms.
            multi_label: Whether a picture may be of several classes, or of none: each has a
                probability of its own then, the sigmoid of its logit.
            unsure_below: A class with a smaller probability was measured to be wrong more often
                than right; 0 where nobody measured.
        """
        super().__init__(name, backbone, classes)
        self._head = head.eval().requires_grad_(False).to(device())
        self._multi_label = multi_label
        self.unsure_below = unsure_below

    def parts(self) -> dict[str, nn.Module]:
        """What the network is made of, from output to input: the head, then the CNN's stages."""
        return {"head": self._head, **dict(reversed(self.backbone.stages.items()))}

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities (len(self.labels),) of logits."""
        return logits.sigmoid() if self._multi_label else super().probabilities(logits)

    def logits(self, features: Any, question: str | None) -> Tensor:
        return self._head(features)[0]

    def find(self, text: str) -> tuple[int, ...]:
        """Return the classes that a typed name or index fits best; see `LabelModel.find`."""
        if not re.fullmatch(r"[+-]?\d{1,12}", text, re.ASCII):
            return super().find(text)
        index = int(text)
        if not 0 <= index < len(self.labels):
            raise ValueError(
                f"There is no class {index}: they are numbered 0 to {len(self.labels) - 1}."
            )
        return (index,)
