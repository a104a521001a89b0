"""Runs of a user's network that leave no trace on it.

A run is in evaluation mode and without gradients of the weights. Afterwards the network is as
before: modes, `requires_grad`, buffers, attributes and hooks.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import copy, deepcopy
from operator import is_
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.utils import checkpoint

Hook = Callable[[nn.Module, Any, Any], Any]

_NO_HOOKS: Mapping[nn.Module, Hook] = {}
_CONTAINERS = (list, dict, set, deque)
_INTERNAL = frozenset(vars(nn.Module()))  # nn.Module's own attributes
_locks: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_locks_guard = threading.Lock()


def inner_network(network: Any, caller: str) -> nn.Module:
    """Return a network without `torch.compile` or data parallelism around it.

    Raises:
        ValueError: It is not a network, its layers are not visible, or they are quantized.
    """
    if not isinstance(network, nn.Module) or isinstance(network, ScriptModule):
        raise ValueError(
            f"{caller} takes a torch.nn.Module, not a {type(network).__name__}: its layers must be "
            "visible."
        )
    inner = getattr(network, "_orig_mod", network)
    if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = inner.module
    assert isinstance(inner, nn.Module)
    for name, module in inner.named_modules():
        defined_in = type(module).__module__
        # (Networks that could be quantized have functional modules already.)
        if ".nn." in defined_in and ".quantized." in defined_in and "functional" not in defined_in:
            raise ValueError(
                f"The layer '{name}' of {type(inner).__name__} is quantized and has no gradient: "
                f"{caller} the network as it was before quantization."
            )
    return inner


class IsolatedNetwork:
    """A network, and how to run it without leaving a trace.

    A copy is prepared once and then shared by threads. A network that is used itself is prepared
    for each run, and runs take turns.

    Attributes:
        network: What runs.
        is_copy: Whether it is a copy.
    """

    def __init__(self, network: nn.Module, wants_copy: bool) -> None:
        """Copy the network if that is wanted and possible.

        Methods that were replaced on an instance, and what cannot be copied, belong to the original
        network: it is then used itself.
        """
        copied = _copied(network) if wants_copy else None
        self.network = network if copied is None else copied
        self.is_copy = copied is not None
        self._hooked: set[nn.Module] = set()  # modules of a copy
        # Whether runs change buffers or attributes; unknown before the first.
        self._stateful: bool | None = None
        self._lock = _lock_of(self.network)
        if self.is_copy:
            _prepare(list(self.network.modules()), [])

    def __deepcopy__(self, memo: dict[int, Any]) -> "IsolatedNetwork":
        """Copy the network, whose weights may then be changed.

        Raises:
            ValueError: The network cannot be copied.
        """
        network = _copied(self.network, memo)
        if network is None:
            raise ValueError(f"This needs a copy of {type(self.network).__name__}: it has none.")
        found = copy(self)
        found.network, found.is_copy, found._lock = network, True, _lock_of(network)
        _prepare(list(network.modules()), [])
        # A copied network has its hooks already.
        found._hooked = {memo[id(module)] for module in self._hooked}
        return found

    def run(
        self, function: Callable[[nn.Module], Any], hooks: Mapping[nn.Module, Hook] = _NO_HOOKS
    ) -> Any:
        """Return a function of the network, which may run it.

        Args:
            function: Of the network.
            hooks: Forward hooks of modules, for this run. On a copy they stay: the same hook of a
                module must do for every run.
        """
        with ExitStack() as stack:
            if not self.is_copy or self._stateful is not False:
                stack.enter_context(self._lock)
                modules = list(self.network.modules())
                stack.callback(self._restore, _State(modules))
            if not self.is_copy:
                stack.enter_context(_prepared(modules))
                for module, hook in hooks.items():
                    stack.callback(module.register_forward_hook(hook).remove)
            elif not self._hooked.issuperset(hooks):
                self._hook(hooks)
            stack.enter_context(_without_checkpointing())
            return function(self.network)

    def _hook(self, hooks: Mapping[nn.Module, Hook]) -> None:
        with self._lock:
            for module in hooks.keys() - self._hooked:
                module.register_forward_hook(hooks[module])
                self._hooked.add(module)

    def _restore(self, state: "_State") -> None:
        changed = state.restore()
        self._stateful = bool(self._stateful) or changed


def _copied(network: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module | None:
    """Return a copy in float32, compiled parts uncompiled; None if there can be none."""
    if any("forward" in vars(module) for module in network.modules()):
        return None
    memo = {} if memo is None else memo
    try:
        for module in network.modules():
            compiled_from = getattr(module, "_orig_mod", None)
            if compiled_from is not None:
                memo[id(module)] = deepcopy(compiled_from, memo)
        _copy_plain_modules([each for each in network.modules() if id(each) not in memo], memo)
        return deepcopy(network, memo).float()
    except Exception:  # anything can be part of a module
        return None


def _copy_plain_modules(modules: list[nn.Module], memo: dict[int, Any]) -> None:
    """Copy modules that have no way of their own to be copied, into the memo of `deepcopy`.

    Most of what `deepcopy` spends its time on are the ten empty dictionaries of every module.
    """
    plain = [module for module in modules if _is_plain(type(module))]
    for module in plain:
        memo[id(module)] = object.__new__(type(module))
    for module in plain:
        attributes = vars(memo[id(module)])
        for name, value in vars(module).items():
            if name in _INTERNAL and isinstance(value, dict) and not value:
                attributes[name] = type(value)()
            else:
                attributes[name] = deepcopy(value, memo)


def _is_plain(kind: type[nn.Module]) -> bool:
    """Whether modules of a class are copied by copying their attributes."""
    own = ("__deepcopy__", "__getstate__", "__setstate__", "__reduce__", "__reduce_ex__")
    if any("__slots__" in vars(each) for each in kind.__mro__):
        return False
    return all(getattr(kind, name, None) is getattr(nn.Module, name, None) for name in own)


@contextmanager
def _prepared(modules: list[nn.Module]) -> Iterator[None]:
    """Set evaluation mode and freeze the weights, and undo it."""
    modes = [(module, module.training) for module in modules]
    recurrent = [(each, each.dropout) for each in modules if isinstance(each, nn.RNNBase)]
    compiled = any("_orig_mod" in module._modules for module in modules)
    trained: list[Tensor] = []
    try:
        _prepare(modules, trained)
        with torch.compiler.set_stance("force_eager") if compiled else ExitStack():
            yield
    finally:
        for module, training in modes:
            if module.training != training:
                module.training = training
        for each, dropout in recurrent:
            each.dropout = dropout
        for weight in trained:
            weight.requires_grad_(True)


def _prepare(modules: list[nn.Module], trained: list[Tensor]) -> None:
    """Set evaluation mode and freeze the weights; append those that were not frozen to a list.

    cuDNN has no backward pass for recurrent networks in evaluation mode: they stay in training
    mode, without dropout.
    """
    for module in modules:
        is_recurrent = isinstance(module, nn.RNNBase)
        if module.training != is_recurrent:
            module.training = is_recurrent
        if isinstance(module, nn.RNNBase):
            module.dropout = 0.0
        for weight in module._parameters.values():
            if weight is not None and weight.requires_grad and weight.is_leaf:
                trained.append(weight)
                weight.requires_grad_(False)


class _PlainCheckpoint:
    """What stands in for checkpointing: an ordinary call."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        return function(*args)


def _plain_generator(*args: Any, **kwargs: Any) -> Iterator[None]:
    yield


def _plain_call(function: Callable[..., Any], args: Any, kwargs: Any, **settings: Any) -> Any:
    return function(*args, **kwargs)


# The implementations of checkpointing: of PyTorch 2.14, and of those before.
_CHECKPOINTING = {
    name: stand_in
    for name, stand_in in {
        "_checkpoint_impl": _plain_call,
        "CheckpointFunction": _PlainCheckpoint,
        "_checkpoint_without_reentrant_generator": _plain_generator,
    }.items()
    if hasattr(checkpoint, name)
}
_original_checkpointing = {name: getattr(checkpoint, name) for name in _CHECKPOINTING}
_runs_without_checkpointing = 0


@contextmanager
def _without_checkpointing() -> Iterator[None]:
    """Call checkpointed functions directly: a backward pass would run them again, uncut.

    PyTorch has no switch for it, so its implementations are replaced while runs last.
    """
    global _runs_without_checkpointing  # noqa: PLW0603
    with _locks_guard:
        _runs_without_checkpointing += 1
        vars(checkpoint).update(_CHECKPOINTING)
    try:
        yield
    finally:
        with _locks_guard:
            _runs_without_checkpointing -= 1
            if not _runs_without_checkpointing:
                vars(checkpoint).update(_original_checkpointing)


class _State:
    """The buffers and attributes of a network's modules, to be restored after a run."""

    def __init__(self, modules: list[nn.Module]) -> None:
        modules = [each for each in modules if not isinstance(each, ScriptModule)]
        self._attributes = [(vars(module), dict(vars(module))) for module in modules]
        self._attributes += [
            (module._buffers, dict(module._buffers)) for module in modules if module._buffers
        ]
        self._containers: list[tuple[Any, Any]] = []
        tensors: list[Tensor] = []
        for _, attributes in self._attributes:
            for name, value in attributes.items():
                if isinstance(value, Tensor):
                    tensors.append(value)
                elif isinstance(value, _CONTAINERS) and name not in _INTERNAL:
                    self._containers.append((value, value.copy()))
        with torch.no_grad():
            self._tensors = [(each, each._version, each.clone()) for each in tensors]

    def restore(self) -> bool:
        """Restore what a run changed; return whether it changed anything."""
        changed = False
        for now, before in self._attributes:
            if len(now) != len(before) or not all(map(is_, now.values(), before.values())):
                changed = True
                now.clear()
                now.update(before)
        for tensor, version, value in self._tensors:
            if tensor._version != version:
                changed = True
                with torch.no_grad():
                    tensor.copy_(value)
        for container, content in self._containers:
            if container != content:
                changed = True
                container.clear()
                add = container.extend if isinstance(container, list | deque) else container.update
                add(content)
        return changed


def _lock_of(network: nn.Module) -> Any:
    with _locks_guard:
        return _locks.setdefault(network, threading.RLock())
