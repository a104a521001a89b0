"""What is known of a model without loading it."""

from dataclasses import dataclass

# What is said of classifiers of ImageNet.
RIGHT = "Right about {:.0f} % of ImageNet’s photos"
NO_PEOPLE = "It has no class for people in general."

TASKS = ("classification", "captioning", "vqa")


@dataclass(frozen=True)
class ModelInfo:
    """One model's record.

    Attributes:
        name: As given to `load` and `explain`.
        task: "classification", "captioning" or "vqa".
        title: As people call it.
        year: Of its paper or release; 0 where only its maker knows.
        backbone: The network that Grad-CAM looks at.
        layers: Its possible target layers, from input to output; the last is the default. Empty
            where only loading tells.
        feature_map: Channels x height x width at the default layer; "" where only loading tells.
        licence: Of the weights.
        download_mb: Size of the download at first use, in 10^6 bytes; 0 for an embedded model.
        other_activation: Its non-linearity, if that is not ReLU.
        convolutional: Whether the feature map is that of a convolutional network.
        limits: How often it is right, and what it cannot do, in plain sentences; "" where nobody
            has said.
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
        """Whether guided backpropagation is faithful: every non-linearity is a ReLU."""
        return not self.other_activation


def check_task(task: str | None) -> None:
    """Raise a ValueError for what is no task."""
    if task not in TASKS:
        raise ValueError(f"There is no task '{task}'. Known: {', '.join(TASKS)}.")
