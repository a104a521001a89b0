"""Image classifiers: a CNN whose last feature map goes to a linear layer over class names."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradcam_core.models.backbone import Backbone, Encoded, lite0_backbone, lite0_classifier_layer
from gradcam_core.models.base import LabelModel, Target
from gradcam_core.models.labels import find_labels

# The three classes of ImageNet-1k whose first name another class has too.
_RENAMED = {134: "crane (bird)", 517: "crane (machine)", 639: "tank suit"}


class Classifier(LabelModel):
    """A CNN classifier; its score y^c is the logit of a class."""

    task = "classification"

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
        super().__init__(name, backbone, [names[0] for names in classes])
        self._head = head.eval().requires_grad_(False)
        self._classes = classes

    def logits(self, features: Tensor, question: str | None) -> Tensor:
        return self._head(features)[0]

    def target(
        self, text: str, question: str | None = None, encoded: Encoded | None = None
    ) -> Target:
        typed = text.strip()
        if typed in self._position:  # what the model itself said needs no search
            index = self._position[typed]
        elif re.fullmatch(r"[+-]?\d{1,12}", typed, re.ASCII):
            index = int(typed)
            if not 0 <= index < len(self.labels):
                raise ValueError(
                    f"There is no class {index}: they are numbered 0 to {len(self.labels) - 1}."
                )
        else:
            index = self._likeliest(find_labels(typed, self._classes, "class"), encoded)
        return Target(self.labels[index], (index,))

    def _likeliest(self, indices: tuple[int, ...], encoded: Encoded | None) -> int:
        if len(indices) == 1 or encoded is None:
            return indices[0]
        with torch.no_grad():
            logits = self.logits(encoded.features, None)
        return max(indices, key=lambda index: logits[index].item())


def load_lite0() -> Classifier:
    """Return the embedded EfficientNet-Lite0 with the 1000 classes of ImageNet."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), lite0_classifier_layer())
    return Classifier("lite0", lite0_backbone(), head, _imagenet_classes())


def _imagenet_classes() -> list[tuple[str, ...]]:
    """Return, for each class of ImageNet-1k, its shown name and its WordNet synonyms."""
    from timm.data import ImageNetInfo  # slow to import, and only needed once a model is

    info = ImageNetInfo("imagenet-1k")
    classes = []
    for index in range(info.num_classes()):
        names = info.index_to_description(index).split(", ")
        shown = _RENAMED.get(index, names[0])
        classes.append((shown, *(name for name in names if name != shown)))
    return classes
