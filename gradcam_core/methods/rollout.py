"""Methods for vision transformers: attention followed from the first layer to the last.

Grad-CAM reads the tokens of one layer as if each still stood for its place, although attention has
mixed them. These methods follow the mixing. The network's output stays the same up to rounding.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gradcam_core.methods.gradients import Maps, check_gradient
from gradcam_core.models.base import Head, ResolvedTarget, Score
from gradcam_core.models.function_mode import Function, FunctionMode

_MAX_EXTRA_TOKENS = 16  # before the patch tokens: class, distillation and register tokens
_MAX_VALUES = 200_000_000  # in all attention maps together; their gradients take as many


def attention_rollout(head: Head, target: ResolvedTarget) -> Maps:
    """Attention rollout: R = A_L ... A_1, A_l = (mean over the heads of layer l's attention + I)/2.

    Abnar and Zuidema, ACL 2020 (arXiv 2005.00928), section 3, Eq. 1. The map holds the patches'
    shares in the tokens that the score is read from (the class token; all tokens where they are
    averaged). It is the same for every target, so the counterfactual is empty.

    Raises:
        ValueError: The network is not a transformer whose patches all attend to each other.
    """
    score, seen = _attend(head, target)
    mixed = _identity(seen)
    for attention in seen:
        mixed = (attention.detach().flatten(0, -3).mean(0) + _identity(seen)) / 2 @ mixed
    found = _patches(mixed, _gradients(score.terms.sum(), seen)[-1], head)
    words = found.expand(len(target.words), *found.shape)
    return Maps(score, found, torch.zeros_like(found), words)


def attention_gradient(head: Head, target: ResolvedTarget) -> Maps:
    """Attention times gradient: R <- R + A_l R from the first layer to the last, from R = I on.

    Chefer et al., ICCV 2021 (arXiv 2103.15679), Eq. 5 and 6: A_l is the mean over the heads of
    ReLU(dy/da * a), a the attention of a head. R - I is read from the same rows as in
    `attention_rollout`. The counterfactual is that of -y.

    Raises:
        ValueError: As for `attention_rollout`.
    """
    score, seen = _attend(head, target)

    def relevance(gradients: list[Tensor]) -> Tensor:
        mixed = _identity(seen)
        for attention, gradient in zip(seen, gradients, strict=True):
            mixed = mixed + (attention.detach() * gradient).relu().flatten(0, -3).mean(0) @ mixed
        # Minus the identity: where tokens are averaged, each is also read directly.
        return _patches(mixed - _identity(seen), gradients[-1], head)

    of_score = _gradients(score.terms.sum(), seen)
    found = relevance(of_score)
    against = relevance([-gradient for gradient in of_score])
    words = [relevance(_gradients(term, seen)) for term in score.terms[: len(target.words)]]
    return Maps(
        score, found, against, torch.stack(words) if words else found.new_zeros(0, *found.shape)
    )


class Attentions(FunctionMode):
    """Within this context, the attention of every layer is recorded with its graph.

    Attributes:
        seen: (heads, n, n) or (1, heads, n, n) each, in the order of the layers; rows sum to 1.
    """

    def __init__(self, name: str) -> None:
        """Create the mode; the network's name is for messages."""
        super().__init__()
        self.seen: list[Tensor] = []
        self._name = name

    def call(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func is F.scaled_dot_product_attention:
            return self._fused(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            options = kwargs | {"need_weights": True, "average_attn_weights": False}
            out, weights = func(*args, **options)
            # The returned weights are a view of those that went into the output.
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
        """Compute what the fused function does, with the attention as a tensor."""
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
            f"This method needs layers in which all patches attend to each other; {self._name} has "
            "others. Choose another method."
        )


def _attend(head: Head, target: ResolvedTarget) -> tuple[Score, list[Tensor]]:
    """Run the network over its input; return the score and the attention of each layer."""
    pixels = head.encoded.pixels.detach().requires_grad_()
    with torch.enable_grad():
        with Attentions(head.model.name) as attentions:
            head_input = head.model.backbone.head_input(pixels)
        if not attentions.seen:
            raise ValueError(f"{head.model.name} is not a transformer: it has no attention.")
        return head.score(head_input, target), attentions.seen


def _gradients(term: Tensor, seen: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(
        term, seen, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return [check_gradient(gradient) for gradient in found]


def _identity(seen: list[Tensor]) -> Tensor:
    return torch.eye(seen[0].shape[-1], device=seen[0].device)


def _patches(mixed: Tensor, last: Tensor, head: Head) -> Tensor:
    """Return the patches' shares in the tokens that the score is read from, as a map (h, w).

    Args:
        mixed: (n, n), a row for each token after the last layer.
        last: (..., n, n), the score's gradient at the last layer's attention; zero in the rows of
            tokens that the score is not read from.
        head: Its feature map has the patches' rows and columns.
    """
    rows, columns = head.encoded.activations.shape[2:]
    if not 0 <= len(mixed) - rows * columns <= _MAX_EXTRA_TOKENS:
        raise ValueError(
            f"{head.model.name} attends to {len(mixed)} tokens, not to the {rows} x {columns} "
            "patches of this layer. Choose another method or layer."
        )
    read = last.flatten(0, -3).abs().sum((0, 2)) > 0
    if not read.any():
        return mixed.new_zeros(rows, columns)
    return mixed[read].mean(0)[-rows * columns :].view(rows, columns)


_SOFTMAXES = (F.softmax, torch.softmax, Tensor.softmax)
