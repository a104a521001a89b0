"""What is known of a model without loading it."""

from dataclasses import dataclass

# Texts that image classifiers for ImageNet share.
TOP1 = "Top-1 accuracy on ImageNet: {:.1f} % (published)."
NO_PEOPLE = "It has no class for people in general."

TASKS = ("classification", "captioning", "vqa")
"""What models can do: `models(TASKS[1])` lists the captioners."""


@dataclass(frozen=True)
class ModelInfo:
    """What is known of one model.

    Attributes:
        name: For `load` and `explain`.
        task: "classification", "captioning" or "vqa".
        title: The name to show.
        year: Of the paper or release; 0 if unknown.
        backbone: The network whose feature maps Grad-CAM uses.
        layers: The possible target layers, from input to output; the last is the default. Empty
            if unknown before loading.
        feature_map: Channels x height x width at the default layer; "" if unknown before loading.
        licence: Of the weights.
        download_mb: Size of the download at first use, in 10^6 bytes; 0 for an embedded model.
        other_activation: Its activation function if that is not ReLU.
        convolutional: Whether the feature map comes from a convolutional network.
        limits: Its accuracy and what it cannot do, in plain sentences; "" if unknown.

    Examples:
        >>> info, _ = describe("resnet50")
        >>> info.title, info.backbone, info.download_mb
        ('ResNet-50', 'ResNet-50', 98)
    """

    name: str
    task: str
    title: str
    year: int
    backbone: str
    layers: tuple[str, ...]
    feature_map: str
    licence: str
    download_mb: int = 0
    other_activation: str = ""
    convolutional: bool = True
    limits: str = ""

    @property
    def guided(self) -> bool:
        """Whether guided backpropagation is defined: all activation functions are ReLU."""
        return not self.other_activation


def check_task(task: str | None) -> None:
    """Raise a ValueError for an unknown task."""
    if task not in TASKS:
        raise ValueError(f"There is no task '{task}'. Known: {', '.join(TASKS)}.")
