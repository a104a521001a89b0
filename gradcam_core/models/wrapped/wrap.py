"""A network of one's own, whatever it is, as a model that can be explained."""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Prediction, Score, Target
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.hub.download import first_line
from gradcam_core.models.labels import distinct
from gradcam_core.models.wrapped.analysis import main_output
from gradcam_core.models.wrapped.hooked import AsInput, CutNetwork

_SIDE = 224  # of the default input
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours


def wrap(
    network: nn.Module,
    preprocess: Callable[[Image.Image], Tensor] | None = None,
    classes: Sequence[str] | None = None,
    layer: str | nn.Module | None = None,
    name: str | None = None,
    multi_label: bool = False,
    tokens: tuple[int, int] | None = None,
    copy: bool = True,
) -> Model:
    """Make any network that takes a picture a model for `explain`.

    `explain(image, model=wrap(network), target=...)`, where `target` is a class, or a function of
    the network's output that returns a scalar: any differentiable output can be explained. What
    the network returns may be logits (1, n), an object with `logits`, a dict or a tuple of which
    these are the part called "logits" or "out", or the first; or something else, which only
    functions can explain. A network with one output has two classes: it, and "not it".

    Args:
        network: Input (1, C, H, W) float32 -> output. It is run where it lies, in evaluation mode.
        preprocess: RGB picture of any size -> (C, H, W) or (1, C, H, W) float32, the network's
            normalised input. None squashes the picture to 224 x 224 and normalises it as is usual
            for ImageNet; to one grey channel where the first convolution takes one.
        classes: Their names; "class 0" and so on if left out.
        layer: The default target layer, by name or as a module of `network`; None for the last
            feature map. Any that runs once and gives a map can be chosen, see `layers`.
        name: What to call it; its class's name if left out.
        multi_label: Each class has a probability of its own, a sigmoid instead of the softmax.
        tokens: (rows, columns) of a vision transformer's patches, whose tokens are the last of
            (1, n, C); only needed where no convolution makes the patches. Maps (1, h, w, C) are
            recognised.
        copy: Leave `network` as it is, and explain a copy, as it is now. False saves the memory,
            but leaves `network` in evaluation mode, frozen, and with hooks.

    Raises:
        ValueError: The network cannot be copied or run, or has no such layer, or not as many
            classes; the message says which.
    """
    if not isinstance(network, nn.Module) or isinstance(network, torch.jit.ScriptModule):
        raise ValueError(
            f"A torch.nn.Module can be explained, no {type(network).__name__}: its layers must be "
            "seen."
        )
    network = getattr(network, "_orig_mod", network)  # what torch.compile made faster
    name = type(network).__name__ if name is None else name
    own = _copied(network, name) if copy else network
    as_input = _default_input(own, name) if preprocess is None else _checked(preprocess)
    return OwnModel(
        name,
        CutNetwork(name, own, as_input, layer, tokens, network),
        None if classes is None else [(shown,) for shown in classes],
        multi_label,
    )


class OwnModel(Classifier):
    """A network as it is: read from its output, as classes or by functions of it."""

    def __init__(
        self,
        name: str,
        backbone: CutNetwork,
        classes: Sequence[Sequence[str]] | None,
        multi_label: bool = False,
    ) -> None:
        """Find out what the output is.

        Args:
            name: What to call it.
            backbone: The network.
            classes: For each output, its shown name and then its synonyms; None to number them.
            multi_label: Whether the outputs are independent of each other.

        Raises:
            ValueError: There are not as many outputs as classes.
        """
        count = _count(backbone.seen.shape)
        if classes is None:
            classes = [(f"class {i}",) for i in range(count)]
        if len(classes) != count:
            what = f"{count} class scores" if count else "no class scores (1, n)"
            raise ValueError(f"{name} gives {what}, but {len(classes)} classes are named.")
        if count == 1:
            classes = [classes[0], (f"not {classes[0][0]}",)]
        ending = backbone.seen.ending
        independent = multi_label or count == 1 or ending == "sigmoid"
        super().__init__(name, backbone, _Logits(ending), distinct(classes), independent)
        default = backbone.seen.maps.get(backbone.default_layer or "")
        self.convolutional = default is None or not default.of_tokens
        self._single = count == 1

    def parts(self) -> dict[str, nn.Module]:
        """What the network is made of, from output to input, none with more than half of it."""
        network = self.backbone.stages["network"]
        return dict(_parts(network, _weights(network) // 2))

    def predict(
        self, encoded: Encoded, question: str | None = None, k: int = 5
    ) -> list[Prediction]:
        return super().predict(encoded, question, k) if self.labels else []

    def target(
        self, text: str, question: str | None = None, encoded: Encoded | None = None
    ) -> Target:
        if not self.labels:
            raise ValueError(
                f"{self.name} gives no class scores (1, n). Say by a function of its output what "
                "is to be explained: target=lambda output: ..."
            )
        return super().target(text, question, encoded)

    def find(self, text: str) -> tuple[int, ...]:
        """Return the classes that a typed name or index fits best; see `Classifier.find`."""
        found = super().find(text)
        return found[:1] if self._single else found  # "cat" fits "not tabby cat", too

    def target_function(self, function: Callable[[Any], Tensor]) -> Target:
        name = getattr(function, "__name__", "<lambda>")
        return Target(
            "function of the output" if name == "<lambda>" else name, (), function=function
        )

    def read(self, encoded: Encoded, question: str | None = None) -> Encoded:
        return encoded  # what is kept of it is the output: there is no head to run twice

    def score_each(self, encoded: Encoded, targets: Sequence[Target]) -> list[Score]:
        if any(target.function for target in targets):  # which read the output, not the logits
            return Model.score_each(self, encoded, targets)
        return super().score_each(encoded, targets)

    def score_features(self, features: Any, target: Target) -> Score:
        if target.function is None:
            return super().score_features(features, target)
        value = target.function(features)
        if not isinstance(value, Tensor):
            raise ValueError(
                "The target function must return a tensor with one number, which a gradient can "
                f"flow back from; it returned a {type(value).__name__}."
            )
        if value.numel() != 1:
            raise ValueError(
                "The target function must return one number, such as output[0, 3] or a sum; it "
                f"returned a tensor of shape {tuple(value.shape)}."
            )
        return Score(value.reshape(1), None)


def _parts(network: nn.Module, largest: int, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules with weights, the last first; too large ones in parts themselves."""
    for child_name, child in reversed(list(network.named_children())):
        if _weights(child) > largest and any(_weights(part) for part in child.children()):
            yield from _parts(child, largest, f"{name}{child_name}.")
        elif _weights(child):
            yield f"{name}{child_name}", child


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class _Logits(nn.Module):
    """The output of a network -> logits (1, n); of one output z, (1, 2): z, and -z for "not it"."""

    def __init__(self, ending: str) -> None:
        """Say what the network ends with: "softmax", "sigmoid", or "" for anything else."""
        super().__init__()
        self._ending = ending

    def forward(self, output: Any) -> Tensor:
        logits = main_output(output)
        assert logits is not None  # a network that gives no tensor has no classes
        logits = logits.reshape(1, -1)
        if self._ending == "sigmoid":
            logits = logits.logit(eps=1e-7)
        elif self._ending == "softmax":
            logits = logits.clamp(min=1e-30).log()  # up to a constant, which changes no probability
        return torch.cat([logits, -logits], 1) if logits.shape[1] == 1 else logits


def _count(shape: tuple[int, ...] | None) -> int:
    """Return how many class scores there are in an output: (1, n), (1, n, 1, 1), or one number."""
    if shape is None:
        return 0
    if math.prod(shape) == 1:
        return 1
    is_row = len(shape) >= 2 and shape[0] == 1 and all(side == 1 for side in shape[2:])
    return shape[1] if is_row else 0


def _copied(network: nn.Module, name: str) -> nn.Module:
    try:
        return deepcopy(network).float()
    except Exception as error:  # anything can be part of a module
        raise ValueError(
            f"{name} cannot be copied: {first_line(error)} With copy=False it is explained "
            "itself, and left in evaluation mode, frozen, and with hooks."
        ) from error


def _default_input(network: nn.Module, name: str) -> AsInput:
    """Return the preprocessing for who gives none: see `wrap`."""
    channels = next(
        (each.in_channels for each in network.modules() if isinstance(each, nn.Conv2d)), 3
    )
    if channels not in (1, 3):
        raise ValueError(
            f"The first convolution of {name} takes {channels} channels: say by preprocess how a "
            "picture becomes its input."
        )
    mean, std = torch.tensor(_MEAN).view(3, 1, 1), torch.tensor(_STD).view(3, 1, 1)

    def as_input(image: Image.Image) -> Tensor:
        small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
        values = torch.from_numpy(np.array(small, np.float32) / 255).permute(2, 0, 1)
        pixels = (values - mean) / std
        return (pixels.mean(0, keepdim=True) if channels == 1 else pixels)[None]

    return as_input


def _checked(preprocess: Callable[[Image.Image], Tensor]) -> AsInput:
    def as_input(image: Image.Image) -> Tensor:
        pixels = preprocess(image)
        shape = tuple(pixels.shape) if isinstance(pixels, Tensor) else ()
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[0] != 1):
            given = f"shape {shape}" if shape else f"type {type(pixels).__name__}"
            raise ValueError(
                f"preprocess must return a tensor (C, H, W) or (1, C, H, W), not one of {given}."
            )
        if not pixels.is_floating_point():
            raise ValueError(f"preprocess must return float32, not {pixels.dtype}.")
        return pixels.detach().float().reshape(1, *shape[-3:])

    return as_input
