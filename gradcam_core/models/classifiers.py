"""Image classifiers: a CNN and a head that turns its last feature map into class logits."""

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from gradcam_core.models.backbone import Backbone, Encoded, device
from gradcam_core.models.base import (
    Head,
    LabelHead,
    LabelModel,
    Prediction,
    check_no_question,
)


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
            multi_label: Whether a picture may belong to several classes, or to none: the
                probability of a class is then the sigmoid of its logit.
            unsure_below: Predictions with a smaller probability were measured to be wrong more
                often than right; 0: not measured.
        """
        super().__init__(name, backbone, classes)
        self.head = head.eval().requires_grad_(False).to(device())
        self._multi_label = multi_label
        self.unsure_below = unsure_below

    def bind(
        self,
        encoded: Encoded,
        question: str | None = None,
        predictions: Sequence[Prediction] | None = None,
    ) -> Head:
        check_no_question(question, self.name)
        return ClassifierHead(self, encoded, predictions)

    def parts(self) -> dict[str, nn.Module]:
        """The network's parts from output to input: the head, then the CNN's stages."""
        return {"head": self.head, **dict(reversed(self.backbone.stages.items()))}

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities (len(labels),) of logits."""
        return logits.sigmoid() if self._multi_label else super().probabilities(logits)

    def find(self, text: str) -> tuple[int, ...]:
        """Return the classes that a typed name or index fits best; see `LabelModel.find`."""
        if not re.fullmatch(r"[+-]?\d{1,12}", text, re.ASCII):
            return super().find(text)
        return self.label_at(int(text)).ids


class ClassifierHead(LabelHead):
    """A classifier looking at one picture."""

    model: Classifier

    def compute_logits(self, head_input: Any) -> Tensor:
        return self.model.head(head_input)[0]
