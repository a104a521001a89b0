"""Tensors in, maps out: attribution for people who have batches, and a training loop.

One forward pass gives the feature maps of all inputs and a graph that begins at them; one backward
pass gives the gradients. Inputs of a batch do not depend on each other, so the gradient of the sum
of their scores holds every input's own gradient.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from gradcam_core.methods import DEFAULT_METHOD, METHODS, Method, method_named
from gradcam_core.methods.fusion import fuse
from gradcam_core.methods.gradients import Batch, gradients_at, is_finite
from gradcam_core.models.base import Model
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.compute_mode import standard_mode
from gradcam_core.models.hub.download import first_line
from gradcam_core.models.wrapped.analysis import Analysis, analyze
from gradcam_core.models.wrapped.cutting import CutNetwork
from gradcam_core.models.wrapped.hooked import HookedNetwork
from gradcam_core.models.wrapped.isolation import IsolatedNetwork, inner_network
from gradcam_core.models.wrapped.output import Output, scalar

OutputFunction = Callable[[Any], Any]  # one item's output -> a tensor with one number
ItemTarget = int | OutputFunction | None
Targets = ItemTarget | Tensor | Sequence[ItemTarget | Sequence[ItemTarget]]
Layer = str | nn.Module

_MAX_ANALYSES = 8  # of one network, for inputs of different shapes


@standard_mode()
def attribute(
    network: nn.Module | Model,
    inputs: Tensor,
    targets: Targets = None,
    layer: Layer | Sequence[Layer] | None = None,
    method: str = DEFAULT_METHOD,
) -> Tensor:
    """Return heat maps for a batch of inputs, in one forward and one backward pass.

    It can be called anywhere, also in a training loop, under `torch.no_grad()` or autocast. The
    network runs in evaluation mode, no copy is made, and afterwards it is as before: its mode,
    hooks, parameters, gradients and buffers.

    Args:
        network: Any `torch.nn.Module` that takes such inputs, what `wrap` returns, or a classifier
            from `load`.
        inputs: (N, C, H, W), or volumes (N, C, D, H, W): already preprocessed, on any device, of
            any floating-point dtype.
        targets: What to explain of each input: None for the network's prediction, the index of a
            class, or a function that maps the network's output for one input, without the batch
            dimension, to a tensor with one number. Either one for all inputs, or a list (or a
            tensor) with one for each. For several maps of an input, its element in the list is
            itself a list.
        layer: The target layer, by name or as a module of the network; None for the last feature
            map. The maps of a list of layers are fused, see `fuse`.
        method: A name from `methods()`, of a class activation map.

    Returns:
        (N, h, w), or (N, d, h, w) for volumes; (N, T, h, w) for lists of T targets. float32 >= 0,
        not normalized, on the inputs' device. A map of zeros means that nothing speaks for the
        target.

    Raises:
        ValueError: The inputs, targets, layer or method cannot be used, or there are NaN or
            infinite values; the message says which.

    Examples:
        >>> for images, labels in loader:
        ...     maps = attribute(network, images, labels)  # (N, 7, 7) for a ResNet
    """
    found = method_named(method)
    if found.cam is None and found.of_batch is None:
        known = ", ".join(name for name, each in METHODS.items() if each.cam or each.of_batch)
        raise ValueError(
            f"attribute has no method '{method}', only these: {known}. `explain` has the others."
        )
    _check_inputs(inputs)
    wanted, several = _targets_of_each(targets, len(inputs))
    layers: list[Any] = list(layer) if isinstance(layer, list | tuple) else [layer]
    if not layers:
        raise ValueError("The list of layers is empty.")
    maps = _attribute(network, inputs, wanted, layers, found)
    if not is_finite(maps):
        raise ValueError(
            "A map has NaN or infinite values: the network's weights or activations have some. "
            "Are the inputs preprocessed, and is the training stable?"
        )
    maps = maps.to(inputs.device)
    return maps if several else maps[:, 0]


def _attribute(
    network: nn.Module | Model,
    inputs: Tensor,
    wanted: list[list[ItemTarget]],
    layers: Sequence[Layer | None],
    method: Method,
) -> Tensor:
    """Return the maps (N, T, h, w)."""
    source = _source(network, inputs)
    try:
        found = _of_source(source, wanted, layers, method)
    except (ValueError, RuntimeError):
        # The network may have changed since it was analyzed.
        if not (isinstance(source, _Network) and source.forget_analysis()):
            raise
        found = _of_source(_source(network, inputs), wanted, layers, method)
    if found is not None:
        return found
    return torch.cat(
        [
            _attribute(network, row, [targets], layers, method)
            for row, targets in zip(inputs.split(1), wanted, strict=True)
        ]
    )


def _of_source(
    source: "_Source",
    wanted: list[list[ItemTarget]],
    layers: Sequence[Layer | None],
    method: Method,
) -> Tensor | None:
    """Return the maps (N, T, h, w); None if the inputs must be taken one by one."""
    if len(wanted) > 1 and not source.takes_batches:
        return None
    names = list(dict.fromkeys(source.layer_named(each) for each in layers))
    if len(names) != len(layers):
        raise ValueError("A layer is listed twice.")
    leaves, output = source.cut(names)
    if len(wanted) > 1 and not output.is_batch:
        return None
    of_output = _Scores(source.name, output)
    resolved = [
        [of_output.resolve(i, target) for target in targets] for i, targets in enumerate(wanted)
    ]
    columns = list(zip(*resolved, strict=True))
    scores = torch.stack([of_output.of(column) for column in columns])
    if not scores.isfinite().all():
        raise ValueError("The network's output has NaN or infinite values.")
    if method.cam is not None:
        gradients = gradients_at(scores.sum(1), leaves)
        maps = [
            torch.stack([method.cam(leaf, gradient) for gradient in each], 1)
            for leaf, each in zip(leaves, gradients, strict=True)
        ]
    else:
        assert method.of_batch is not None
        maps = [
            torch.stack(
                [
                    method.of_batch(_OneLayer(source, name, leaf, row, column)).relu()
                    for row, column in zip(scores, columns, strict=True)
                ],
                1,
            )
            for name, leaf in zip(names, leaves, strict=True)
        ]
    return fuse(maps) if len(maps) > 1 else maps[0]


class _Source(ABC):
    """A network with a batch of inputs.

    Attributes:
        inputs: On the network's device and of its dtype.
        takes_batches: Whether the output for an input does not depend on the others.
    """

    takes_batches = True

    def __init__(self, name: str, inputs: Tensor) -> None:
        self.name = name
        # Tensors made under torch.inference_mode can have no gradient.
        self.inputs = inputs.clone() if inputs.is_inference() else inputs.detach()

    @abstractmethod
    def layer_named(self, layer: Layer | None) -> str:
        """Return the name of a layer."""

    @abstractmethod
    def cut(self, layers: Sequence[str]) -> tuple[list[Tensor], Output]:
        """Return the maps of layers, and the output, differentiable in them only."""

    @abstractmethod
    def replaced(self, layer: str, activations: Tensor, inputs: Tensor) -> Output:
        """Return the output for inputs with other maps at a layer."""

    @abstractmethod
    def output(self, inputs: Tensor) -> Output:
        """Return the output for inputs, differentiable in them."""


class _Scores:
    """The scores of targets in an output of a network."""

    def __init__(self, name: str, output: Output) -> None:
        self._name = name
        self._output = output
        self._items: dict[int, tuple[Output, Tensor]] = {}

    def resolve(self, index: int, target: ItemTarget) -> "int | OutputFunction":
        """Return a target of an input, its prediction for None.

        Raises:
            ValueError: There is no such class.
        """
        if target is not None and not isinstance(target, int):
            return target
        _, scores = self._of_classes(index)
        if target is None:
            return int(scores.detach().argmax())
        if not 0 <= target < len(scores):
            raise ValueError(
                f"There is no class {target} (target of input {index}): {self._name} has classes "
                f"0 to {len(scores) - 1}."
            )
        return target

    def of(self, targets: "Sequence[int | OutputFunction]") -> Tensor:
        """Return the scores (N,) of a target of each input.

        Raises:
            ValueError: A score can have no gradient, or is not one number.
        """
        return torch.stack([self._score(i, target) for i, target in enumerate(targets)])

    def _score(self, index: int, target: "int | OutputFunction") -> Tensor:
        if not isinstance(target, int):
            return scalar(target(self._output.item(index).value))[0]
        item, scores = self._of_classes(index)
        if scores.requires_grad:
            item.check_gradient(target)
        return scores[target]

    def _of_classes(self, index: int) -> tuple[Output, Tensor]:
        """Return the output of an input, and its class scores."""
        if index not in self._items:
            item = self._output.item(index)
            self._items[index] = item, self._class_scores(item)
        return self._items[index]

    def _class_scores(self, item: Output) -> Tensor:
        main = item.main
        if main is None or main.numel() != max(main.shape, default=1) or main.numel() == 0:
            shape = "no tensor" if main is None else f"a tensor of shape {tuple(main.shape)}"
            raise ValueError(
                f"{self._name} returns {shape} for an input, and not one number for each class. "
                "Give a function of an item's output as target: lambda output: ..."
            )
        logits = item.logits()
        return torch.cat([logits, -logits]) if len(logits) == 1 else logits


class _Network(_Source):
    """A network that is cut by hooks."""

    def __init__(
        self,
        name: str,
        isolated: IsolatedNetwork,
        inputs: Tensor,
        tokens: tuple[int, int] | None = None,
        backbone: HookedNetwork | None = None,
    ) -> None:
        own = isolated.network
        modules = dict(own.named_modules())
        weights = (each for module in modules.values() for each in module._parameters.values())
        first = next(
            (each for each in weights if each is not None and each.is_floating_point()), None
        )
        if first is not None:
            inputs = inputs.to(first.device, first.dtype)
        super().__init__(name, inputs)
        self.takes_batches = not any(map(_mixes_inputs, modules.values()))
        self._own = own
        self._backbone = backbone
        self._key = (tuple(inputs.shape[1:]), inputs.dtype, inputs.device)
        self._structure = [*modules, *map(type, modules.values())]
        self._known, self._is_cached = self._analyzed(isolated, tokens)
        self._cut_network = CutNetwork(name, isolated, self._known.analysis, self.inputs[:1])
        self._cut_network.gives_logits = self._known.gives_logits

    def forget_analysis(self) -> bool:
        """Forget what is known of the network; return whether it was known before this call."""
        if self._is_cached:
            _analyses.pop(self._own, None)
        return self._is_cached

    def layer_named(self, layer: Layer | None) -> str:
        if layer is None and self._backbone is not None:
            layer = self._backbone.default_layer
        if not isinstance(layer, nn.Module):
            return self._cut_network.layer_named(layer)
        if self._backbone is not None:  # its original's modules have names, too
            return self._cut_network.layer_named(self._backbone.layer_named(layer))
        for name, module in self._own.named_modules():
            if module is layer:
                return self._cut_network.layer_named(name)
        raise ValueError(f"This {type(layer).__name__} is not part of {self.name}.")

    def cut(self, layers: Sequence[str]) -> tuple[list[Tensor], Output]:
        leaves, output = self._cut_network.run(self.inputs, layers, leaf=True)
        self._known.gives_logits = self._cut_network.gives_logits
        return leaves, output

    def replaced(self, layer: str, activations: Tensor, inputs: Tensor) -> Output:
        return self._cut_network.run(inputs, [layer], replacement=activations)[1]

    def output(self, inputs: Tensor) -> Output:
        return self._cut_network.run(inputs)[1]

    def _analyzed(
        self, isolated: IsolatedNetwork, tokens: tuple[int, int] | None
    ) -> "tuple[_Known, bool]":
        """Return what is known of the network, and whether it was known before."""
        known = _analyses.get(self._own)
        if known is None or known[0] != self._structure:
            known = _analyses[self._own] = (self._structure, {})
        of_shapes = known[1]
        if self._key in of_shapes:
            return of_shapes[self._key], True
        try:
            analysis = isolated.run(lambda own: analyze(own, self.inputs[:1], tokens))
        except Exception as error:  # any network may raise anything
            raise ValueError(
                f"{self.name} cannot be run on inputs of shape {tuple(self.inputs.shape)}: "
                f"{first_line(error)}"
            ) from error
        if len(of_shapes) >= _MAX_ANALYSES:
            of_shapes.pop(next(iter(of_shapes)))
        of_shapes[self._key] = _Known(analysis)
        return of_shapes[self._key], False


class _Chain(_Source):
    """A classifier whose CNN is a chain of stages."""

    def __init__(self, model: Classifier, inputs: Tensor) -> None:
        first = next(model.head.parameters())
        super().__init__(model.name, inputs.to(first.device, first.dtype))
        self._model = model

    def layer_named(self, layer: Layer | None) -> str:
        return self._model.backbone.layer_named(layer)

    def cut(self, layers: Sequence[str]) -> tuple[list[Tensor], Output]:
        backbone = self._model.backbone
        first, *others = (name for name in backbone.layers if name in layers)
        leaf, head_input = backbone.cut(self.inputs, first)
        maps = {first: leaf}
        if others:
            head_input = leaf
            stages = list(backbone.stages.items())
            start = [name for name, _ in stages].index(first) + 1
            for name, stage in stages[start:]:
                head_input = maps[name] = stage(head_input)
        return [maps[name] for name in layers], self._output(head_input)

    def replaced(self, layer: str, activations: Tensor, inputs: Tensor) -> Output:
        return self._output(self._model.backbone.from_layer(activations, layer, inputs))

    def output(self, inputs: Tensor) -> Output:
        return self._output(self._model.backbone.head_input(inputs))

    def _output(self, head_input: Any) -> Output:
        logits = self._model.head(head_input)
        return Output(logits, None, len(logits))


@dataclass
class _Known:
    """What is known of a network for inputs of a shape."""

    analysis: Analysis
    gives_logits: bool | None = None


# By network: the names and types of its modules, and what is known for inputs of each shape.
_analyses: WeakKeyDictionary[nn.Module, tuple[Any, dict[Any, _Known]]] = WeakKeyDictionary()


class _OneLayer(Batch):
    """Inputs with a target each, at one layer."""

    def __init__(
        self,
        source: _Source,
        layer: str,
        activations: Tensor,
        scores: Tensor,
        targets: "Sequence[int | OutputFunction]",
    ) -> None:
        self.inputs = source.inputs
        self.activations = activations
        self.scores = scores
        self._source = source
        self._layer = layer
        self._targets = targets

    @cached_property
    def gradients(self) -> Tensor:
        return gradients_at(self.scores.sum()[None], [self.activations])[0][0]

    def scores_at(self, activations: Tensor) -> Tensor:
        with torch.no_grad():
            return self._scores(self._source.replaced(self._layer, activations, self.inputs))

    def scores_of(self, inputs: Tensor) -> Tensor:
        return self._scores(self._source.output(inputs))

    def _scores(self, output: Output) -> Tensor:
        return _Scores(self._source.name, output).of(self._targets)


def _source(network: nn.Module | Model, inputs: Tensor) -> _Source:
    """Return a network with inputs, whatever it is given as.

    Raises:
        ValueError: It is not a network, or cannot be run.
    """
    if isinstance(network, Model):
        if not isinstance(network, Classifier):
            raise ValueError(
                f"attribute is for classifiers and networks of your own, not for {network.name}, "
                f"a model for {network.task}: use `explain`."
            )
        backbone = network.backbone
        if isinstance(backbone, HookedNetwork):
            return _Network(network.name, backbone.isolated, inputs, backbone.tokens, backbone)
        return _Chain(network, inputs)
    network = inner_network(network, "attribute")
    return _Network(type(network).__name__, IsolatedNetwork(network, False), inputs)


def _mixes_inputs(module: nn.Module) -> bool:
    """Whether a module computes with the statistics of a batch in evaluation mode, too."""
    return (
        isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.running_mean is None
        and module.running_var is None
    )


def _check_inputs(inputs: Tensor) -> None:
    if not isinstance(inputs, Tensor):
        raise ValueError(
            f"inputs must be a tensor (N, C, H, W), not a {type(inputs).__name__}. `explain` "
            "takes pictures."
        )
    shape = tuple(inputs.shape)
    if len(shape) not in (4, 5) or 0 in shape:
        raise ValueError(
            f"inputs must have the shape (N, C, H, W), or (N, C, D, H, W) for volumes, not {shape}."
        )
    if not inputs.is_floating_point():
        raise ValueError(
            f"inputs must be floating-point and already preprocessed, not {inputs.dtype}."
        )
    if not is_finite(inputs):
        raise ValueError("inputs have NaN or infinite values: check their preprocessing.")


_T = TypeVar("_T")


def _targets_of_each(targets: Targets, count: int) -> tuple[list[list[ItemTarget]], bool]:
    """Return the targets of each input, and whether they were given as lists.

    Raises:
        ValueError: They do not fit the inputs.
    """
    given: Any = targets
    if hasattr(given, "tolist"):  # tensors and arrays
        given = given.tolist()
    if not isinstance(given, list | tuple | range):
        return [[_checked(given)]] * count, False
    if len(given) != count:
        raise ValueError(f"There are {len(given)} targets for {count} inputs.")
    rows: list[Any] = [each.tolist() if hasattr(each, "tolist") else each for each in given]
    several = [isinstance(each, list | tuple | range) for each in rows]
    if not any(several):
        return [[_checked(each)] for each in rows], False
    if not all(several) or len({len(row) for row in rows}) > 1 or not rows[0]:
        raise ValueError("Every input must have the same number of targets, at least one.")
    return [[_checked(each) for each in row] for row in rows], True


def _checked(target: Any) -> ItemTarget:
    """Return a target as it is, or an index as an int.

    Raises:
        ValueError: It is not a target.
    """
    if isinstance(target, Integral) and not isinstance(target, bool):
        return int(target)
    if target is None or callable(target):
        function: OutputFunction | None = target
        return function
    raise ValueError(
        "A target is None, the index of a class, or a function of an item's output, not "
        f"{target!r}."
    )
