"""What every model must keep, whatever its network (see gradcam_core/models/base.py)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from PIL import Image
from torch import Tensor

from gradcam_core.models.base import Model, Target

# What a whole, uncut network says: pixels -> (what the target layer gives, score y^c)
Whole = Callable[[Tensor], tuple[Tensor, Tensor]]


def check(
    model: Model,
    picture: Image.Image,
    target: Target,
    whole: Whole,
    as_map: Callable[[Tensor], Tensor] = lambda output: output,
) -> None:
    """Compare a model with an ordinary pass through the ordinary network, at its last layer.

    Args:
        model: As loaded.
        picture: RGB.
        target: What is scored.
        whole: The network as its library runs it.
        as_map: What the target layer gives -> (1, C, h, w).
    """
    encoded = model.encode(picture)
    score = model.score(encoded, target)
    (gradient,) = torch.autograd.grad(score, encoded.activations)

    output, expected = whole(encoded.pixels.clone().requires_grad_())
    (expected_gradient,) = torch.autograd.grad(expected, output)
    assert encoded.activations.shape == as_map(output).shape
    assert near(encoded.activations, as_map(output))
    assert near(score, expected)
    assert gradient.any()
    assert near(gradient, as_map(expected_gradient))
    square = model.encode(Image.new("RGB", (256, 256)))
    assert model.layers[square.layer] == square.activations.shape[1:]

    # Scored again, and by two threads at once, it says the same.
    def again(_: int) -> Tensor:
        fresh = model.encode(picture)
        return torch.autograd.grad(model.score(fresh, target), fresh.activations)[0]

    with ThreadPoolExecutor(2) as pool:
        for other in pool.map(again, range(2)):
            assert near(other, gradient)
    assert near(model.score(encoded, target), expected)


def near(one: Tensor, other: Tensor) -> bool:
    """Compare to 1e-5 of the largest value."""
    return torch.allclose(one, other, rtol=0, atol=1e-5 * max(other.abs().max().item(), 1e-30))


def hooked(module: torch.nn.Module, run: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """Return the first output of `module` during `run`, and what `run` returns."""
    outputs: list[Tensor] = []

    def note(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        outputs.append(output)
        return output.clone()  # a ReLU behind it may work in place

    handle = module.register_forward_hook(note)
    try:
        result = run()
    finally:
        handle.remove()
    return outputs[0], result
