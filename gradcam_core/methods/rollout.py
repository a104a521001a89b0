"""Attention of a vision transformer from its first layer to its last: methods made for it.

Grad-CAM asks one layer's tokens, as if each still stood for its place; attention has mixed them by
then. These follow what each token was mixed of. As the ReLU rules it is a torch function mode:
local to the thread, and the network computes what it always does, up to rounding.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gradcam_core.methods.gradients import Maps
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Score, Target

_MAX_EXTRA_TOKENS = 16  # before those of the patches: for the class, for distillation, registers
_MAX_VALUES = 200_000_000  # in all attention maps together; their gradients take as many


def attention_rollout(model: Model, encoded: Encoded, target: Target) -> Maps:
    """Attention rollout: R = A_L ... A_1, A_l = (mean over the heads of layer l's attention + I)/2.

    Abnar and Zuidema, ACL 2020 (arXiv 2005.00928), section 3, Eq. 1: what each token was mixed of.
    The map are the patches in the rows that the score is read from (the class token's; all, where
    the tokens are averaged). It is the same for every target, so nothing speaks against one.

    Raises:
        ValueError: The network is no transformer whose patches all attend to each other.
    """
    score, seen = _attend(model, encoded, target)
    mixed = _identity(seen)
    for attention in seen:
        mixed = (attention.detach().flatten(0, -3).mean(0) + _identity(seen)) / 2 @ mixed
    found = _patches(mixed, _gradients(score.terms.sum(), seen)[-1], encoded, model.name)
    words = found.expand(len(target.words), *found.shape)
    return Maps(score, found, torch.zeros_like(found), words)


def attention_gradient(model: Model, encoded: Encoded, target: Target) -> Maps:
    """Attention times gradient: R <- R + A_l R from the first layer to the last, from R = I on.

    Chefer et al., ICCV 2021 (arXiv 2103.15679), Eq. 5 and 6: A_l is the mean over the heads of
    ReLU(dy/da * a), a the attention of a head. R - I is read from the same rows as in
    `attention_rollout`. The counterfactual is that of -y.

    Raises:
        ValueError: As for `attention_rollout`.
    """
    score, seen = _attend(model, encoded, target)

    def relevance(gradients: list[Tensor]) -> Tensor:
        mixed = _identity(seen)
        for attention, gradient in zip(seen, gradients, strict=True):
            mixed = mixed + (attention.detach() * gradient).relu().flatten(0, -3).mean(0) @ mixed
        # Less itself: where the tokens are averaged, each of them is read for its own sake too.
        return _patches(mixed - _identity(seen), gradients[-1], encoded, model.name)

    of_score = _gradients(score.terms.sum(), seen)
    found = relevance(of_score)
    against = relevance([-gradient for gradient in of_score])
    words = [relevance(_gradients(term, seen)) for term in score.terms[: len(target.words)]]
    return Maps(
        score, found, against, torch.stack(words) if words else found.new_zeros(0, *found.shape)
    )


class Attentions(TorchFunctionMode):
    """Within this context the attention of every layer is kept, with its graph.

    Attributes:
        seen: (heads, n, n) or (1, heads, n, n) each, as the layers run; rows add up to 1.
    """

    def __init__(self, name: str) -> None:
        """Take the network's name, for messages."""
        super().__init__()
        self.seen: list[Tensor] = []
        self._name = name

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._fused(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            asked = kwargs | {"need_weights": True, "average_attn_weights": False}
            out, weights = func(*args, **asked)
            # What went into the output is what the weights that are given back are a view of.
            self._keep(weights if weights._base is None else weights._base, weights.shape)
            return out, None
        out = func(*args, **kwargs)
        if func in _SOFTMAXES and out.ndim == 4:
            self._keep(out, out.shape)
        return out

    def _fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Compute what the fused function does, by way of the attention that it does not show."""
        if is_causal or enable_gqa or (attn_mask is not None and attn_mask.dtype == torch.bool):
            raise ValueError(self._refusal())
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        logits = query @ key.transpose(-2, -1) * scale
        attention = (logits if attn_mask is None else logits + attn_mask).softmax(-1)
        self._keep(attention, attention.shape)
        return attention @ value

    def _keep(self, attention: Tensor, shape: torch.Size) -> None:
        batch, _, queries, keys = shape
        alike = not self.seen or self.seen[0].shape[-2:] == shape[-2:]
        if batch != 1 or queries != keys or not alike:
            raise ValueError(self._refusal())
        self.seen.append(attention)
        if sum(each.numel() for each in self.seen) > _MAX_VALUES:
            raise ValueError(
                f"{self._name} has too many tokens for this: its attention does not fit into "
                "memory. Choose another method."
            )

    def _refusal(self) -> str:
        return (
            f"In {self._name} not all patches attend to each other at every layer, which this "
            "method is made for. Choose another method."
        )


def _attend(model: Model, encoded: Encoded, target: Target) -> tuple[Score, list[Tensor]]:
    """Run the network over its input; return the score, and the attention of each layer."""
    pixels = encoded.pixels.detach().requires_grad_()
    with Attentions(model.name) as attentions:
        features = model.backbone.features(pixels)
    if not attentions.seen:
        raise ValueError(f"{model.name} is no transformer: it has no attention to follow.")
    return model.score_features(features, target), attentions.seen


def _gradients(term: Tensor, seen: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(
        term, seen, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return list(found)


def _identity(seen: list[Tensor]) -> Tensor:
    return torch.eye(seen[0].shape[-1], device=seen[0].device)


def _patches(mixed: Tensor, last: Tensor, encoded: Encoded, name: str) -> Tensor:
    """Return what the tokens that are read were mixed of, as a map of the patches (h, w).

    Args:
        mixed: (n, n), a row for each token after the last layer.
        last: (..., n, n), the score's gradient at the last layer's attention: it is zero in the
            rows of tokens that nothing is read from.
        encoded: The picture; its feature map has the patches' rows and columns.
        name: The network's, for messages.
    """
    rows, columns = encoded.activations.shape[2:]
    if not 0 <= len(mixed) - rows * columns <= _MAX_EXTRA_TOKENS:
        raise ValueError(
            f"{name} attends to {len(mixed)} tokens, which are not the {rows} x {columns} patches "
            "of this layer. Choose another method or layer."
        )
    read = last.flatten(0, -3).abs().sum((0, 2)) > 0
    if not read.any():
        return mixed.new_zeros(rows, columns)
    return mixed[read].mean(0)[-rows * columns :].view(rows, columns)


_SOFTMAXES = (F.softmax, torch.softmax, Tensor.softmax)
