"""Any network of yours as a model that can be explained."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.image.geometry import WHOLE
from gradcam_core.image.placement import GivenBox
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import (
    Head,
    Prediction,
    ResolvedTarget,
    Score,
    check_no_question,
)
from gradcam_core.models.classifiers import Classifier, ClassifierHead
from gradcam_core.models.compute_mode import standard_mode
from gradcam_core.models.labels import distinct
from gradcam_core.models.wrapped.hooked import AsInput, HookedNetwork
from gradcam_core.models.wrapped.isolation import inner_network
from gradcam_core.models.wrapped.output import Output, scalar

_SIDE = 224  # of the default input
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours


@standard_mode()
def wrap(
    network: nn.Module,
    preprocess: Callable[[Image.Image], Tensor] | None = None,
    classes: Sequence[Any] | Mapping[Any, Any] | None = None,
    layer: str | nn.Module | None = None,
    name: str | None = None,
    multi_label: bool = False,
    tokens: tuple[int, int] | None = None,
    copy: bool = True,
    box: GivenBox | None = None,
) -> "WrappedModel":
    """Make a model for `explain` from any network that takes a picture.

    Any differentiable output can be explained: the target is a class, or a function of the
    network's output that returns a scalar. The output may be logits (1, n), an object with
    `logits`, or a dict or tuple whose part "logits" or "out", or else whose first part, is the
    logits; anything else is explained by functions only. A network with one output has two
    classes: the named one, and "not" it.

    Args:
        network: Maps an input (1, C, H, W) float32 to an output. It runs on its own device, in
            evaluation mode.
        preprocess: Maps an RGB picture of any size to (C, H, W) or (1, C, H, W) float32, the
            network's normalized input. None resizes the picture to 224 x 224 and normalizes it
            with ImageNet's mean and standard deviation; to grey where the first convolution takes
            one channel.
        classes: The names of the classes, of any type that has a `str`: a sequence, or a mapping
            between indices and names in either direction; "class 0" and so on if left out.
        layer: The default target layer, by name or as a module of `network`; None for the last
            feature map. See `layers` for the others.
        name: Shown name; the class's name if left out.
        multi_label: Whether each class has an independent probability (sigmoid, not softmax).
        tokens: (rows, columns) of a vision transformer's patches, whose tokens are the last of
            (1, n, C); only needed where the patches do not come from a convolution.
        copy: Whether to explain a copy, as the network is now. False saves memory and follows
            later training. What cannot be copied is used itself. Either way `network` is as before
            after every call.
        box: The part of the picture that `preprocess` shows: (left, top, right, bottom) as shares
            of the picture's sides, or a function of its size (width, height) that returns them;
            left > right if it mirrors. None to find out: any crop, padding, flip or turn by 90
            degrees is found, whatever happens to the colours; see `Explanation.position_known`.

    Returns:
        The model, for `explain(image, model=...)`.

    Raises:
        ValueError: The network cannot be run, has no such layer, or another number of classes;
            the message says which.

    Examples:
        >>> model = wrap(torchvision.models.resnet18(), classes=names)
        >>> explanation = explain("photo.jpg", model=model, target="cat")
    """
    network = inner_network(network, "wrap")
    name = type(network).__name__ if name is None else name
    as_input = _default_input(network, name) if preprocess is None else _checked(preprocess)
    if preprocess is None and box is None:
        box = WHOLE
    backbone = HookedNetwork(name, network, as_input, layer, tokens, copy=copy, box=box)
    names = None if classes is None else _names(classes)
    return WrappedModel(name, backbone, names, multi_label)


class WrappedModel(Classifier):
    """Any network: explained by its output, as classes or by functions of it."""

    def __init__(
        self,
        name: str,
        backbone: HookedNetwork,
        classes: Sequence[Sequence[str]] | None,
        multi_label: bool = False,
    ) -> None:
        """Find out what the output is.

        Args:
            name: Shown name.
            backbone: The network.
            classes: For each output, its shown name and then its synonyms; None to number them.
            multi_label: Whether the outputs are independent of each other.

        Raises:
            ValueError: The number of outputs is not that of the classes.
        """
        count = _count(backbone.analysis.shape)
        if classes is None:
            classes = [(f"class {i}",) for i in range(count)]
        if len(classes) != count:
            what = f"{count} class scores" if count else "no class scores (1, n)"
            raise ValueError(f"{name} returns {what}, but {len(classes)} classes are named.")
        if count == 1:
            classes = [classes[0], (f"not {classes[0][0]}",)]
        super().__init__(
            name, backbone, nn.Identity(), distinct(classes), multi_label or count == 1
        )
        default = backbone.analysis.maps.get(backbone.default_layer or "")
        self.convolutional = default is None or not default.of_tokens
        self.has_one_output = count == 1

    def bind(self, encoded: Encoded, question: str | None = None) -> Head:
        check_no_question(question, self.name)
        return WrappedHead(self, encoded)

    def parts(self) -> dict[str, nn.Module]:
        """The network's parts from output to input, none with more than half of the weights."""
        network = self.backbone.stages["network"]
        return dict(_parts(network, _weights(network) // 2))

    def find(self, text: str) -> tuple[int, ...]:
        """Return the classes that a typed name or index fits best; see `Classifier.find`."""
        found = super().find(text)
        return found[:1] if self.has_one_output else found  # "cat" also fits "not tabby cat"


class WrappedHead(ClassifierHead):
    """A wrapped network looking at one picture: its output is known, there is no head to run."""

    model: WrappedModel

    @property
    def logits(self) -> Tensor:
        return self.compute_logits(self.encoded.head_input).detach()

    @property
    def probabilities(self) -> Tensor:
        return self._probabilities(self.encoded.head_input)

    def compute_logits(self, head_input: Output) -> Tensor:
        logits = head_input.logits()
        return torch.cat([logits, -logits]) if self.model.has_one_output else logits

    def _probabilities(self, output: Output) -> Tensor:
        """Return the network's own probabilities; those of its logits if it has none."""
        own = output.probabilities()
        if own is None:
            return self.model.probabilities(self.compute_logits(output).detach())
        return torch.cat([own, 1 - own]) if self.model.has_one_output else own

    def predict(self, k: int) -> list[Prediction]:
        return super().predict(k) if self.model.labels else []

    def find_target(self, wanted: str | int) -> ResolvedTarget:
        if not self.model.labels:
            raise ValueError(
                f"{self.model.name} returns no class scores (1, n). Give a function of its output "
                "as target: target=lambda output: ..."
            )
        return super().find_target(wanted)

    def function_target(self, function: Callable[[Any], Any]) -> ResolvedTarget:
        name = getattr(function, "__name__", "<lambda>")
        text = "function of the output" if name == "<lambda>" else name
        return ResolvedTarget(text, (), function=function)

    def scores(self, targets: Sequence[ResolvedTarget]) -> list[Score]:
        return Head.scores(self, targets)

    def score(self, head_input: Output, target: ResolvedTarget) -> Score:
        if target.function is None:
            (index,) = target.ids
            logits = self.compute_logits(head_input)
            if logits.requires_grad:
                head_input.check_gradient(index)
            return Score(logits[index : index + 1], self._probabilities(head_input)[index].item())
        return Score(scalar(target.function(head_input.value)), None)


def _parts(network: nn.Module, largest: int, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules with weights, the last first; split those that are too large."""
    for child_name, child in reversed(list(network.named_children())):
        if _weights(child) > largest and any(_weights(part) for part in child.children()):
            yield from _parts(child, largest, f"{name}{child_name}.")
        elif _weights(child):
            yield f"{name}{child_name}", child


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _count(shape: tuple[int, ...] | None) -> int:
    """Return the number of class scores in an output (1, n), (1, n, 1, 1), or of one number."""
    if shape is None:
        return 0
    if math.prod(shape) == 1:
        return 1
    is_row = len(shape) >= 2 and shape[0] == 1 and all(side == 1 for side in shape[2:])
    return shape[1] if is_row else 0


def _names(classes: Sequence[Any] | Mapping[Any, Any]) -> list[tuple[str]]:
    """Return the classes' names in the order of the outputs."""
    if isinstance(classes, Mapping):
        by_index = all(isinstance(key, int) for key in classes)
        pairs = classes.items() if by_index else [(i, name) for name, i in classes.items()]
        classes = [name for _, name in sorted(pairs, key=lambda pair: pair[0])]
    return [(str(name),) for name in classes]


def _default_input(network: nn.Module, name: str) -> AsInput:
    """Return the default preprocessing, see `wrap`."""
    channels = next(
        (each.in_channels for each in network.modules() if isinstance(each, nn.Conv2d)), 3
    )
    if channels not in (1, 3):
        raise ValueError(
            f"The first convolution of {name} takes {channels} channels: pass `preprocess` to turn "
            "a picture into its input."
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
        # A copy: tensors made under torch.inference_mode can have no gradient.
        return pixels.detach().float().clone().reshape(1, *shape[-3:])

    return as_input
