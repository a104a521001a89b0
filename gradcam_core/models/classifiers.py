"""Image classifiers: a CNN and a head that turns its last feature map into class logits."""

import re
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy

from torch import Tensor, nn

from gradcam_core.models.backbone import Backbone, device
from gradcam_core.models.base import LabelModel
from gradcam_core.models.lite import lite_backbone, lite_classifier_layer

# The three classes of ImageNet-1k whose first name another class has too.
_RENAMED = {134: "crane (bird)", 517: "crane (machine)", 639: "tank suit"}


class Classifier(LabelModel):
    """A CNN classifier; its score y^c is the logit of a class."""

    task = "classification"
    kind = "class"

    def __init__(
        self, name: str, backbone: Backbone, head: nn.Module, classes: Sequence[Sequence[str]]
    ) -> None:
        """Join a backbone and its head.

        Args:
            name: Name in the registry.
            backbone: The CNN.
            head: Last feature map (1, C, h, w) -> logits (1, len(classes)).
            classes: For each class, its shown name and then its synonyms.
        """
        super().__init__(name, backbone, classes)
        self._head = head.eval().requires_grad_(False).to(device())

    def logits(self, features: Tensor, question: str | None) -> Tensor:
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


def load_lite(number: int) -> Classifier:
    """Return the embedded EfficientNet-Lite0 or Lite2 with the 1000 classes of ImageNet."""
    # Of its own, for it goes where the backbone is.
    layer = deepcopy(lite_classifier_layer(number))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)
    return Classifier(f"lite{number}", lite_backbone(number), head, imagenet_classes())


def imagenet_classes() -> list[tuple[str, ...]]:
    """Return, for each class of ImageNet-1k, its shown name and its WordNet synonyms."""
    from timm.data import ImageNetInfo  # slow to import, and only needed once a model is

    info = ImageNetInfo("imagenet-1k")
    classes = []
    for index in range(info.num_classes()):
        names = info.index_to_description(index).split(", ")
        shown = _RENAMED.get(index, names[0])
        classes.append((shown, *(name for name in names if name != shown)))
    return classes


def distinct(classes: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Add its index to the shown name of every class whose name another class has too."""
    uses = Counter(shown for shown, *_ in classes)
    return [
        (shown if uses[shown] == 1 else f"{shown} ({index})", *synonyms)
        for index, (shown, *synonyms) in enumerate(classes)
    ]
