"""The contract of gradcam_core/models/base.py, checked for any model."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from PIL import Image
from torch import Tensor

from gradcam_core.models.base import Model

# The original network: pixels -> (output of the target layer, score y^c)
Whole = Callable[[Tensor], tuple[Tensor, Tensor]]


def check(
    model: Model,
    picture: Image.Image,
    wanted: str,
    whole: Whole,
    as_map: Callable[[Tensor], Tensor] = lambda output: output,
    question: str | None = None,
) -> None:
    """Compare a model at its last layer with a plain pass through the original network.

    Args:
        model: The model.
        picture: RGB.
        wanted: The target to score.
        whole: The network as its library runs it.
        as_map: Output of the target layer -> (1, C, h, w).
        question: For VQA.
    """
    encoded = model.encode(picture)
    head = model.bind(encoded, question)
    target = head.target(wanted)
    score = head.scores([target])[0].terms.sum()
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

    # Again, and in two threads at once, with the same result.
    def again(_: int) -> Tensor:
        fresh = model.encode(picture)
        (score,) = model.bind(fresh, question).scores([target])
        return torch.autograd.grad(score.terms.sum(), fresh.activations)[0]

    with ThreadPoolExecutor(2) as pool:
        for other in pool.map(again, range(2)):
            assert near(other, gradient)
    for score in (head.scores([target])[0], head.score(encoded.head_input, target)):
        assert near(score.terms.sum(), expected)


def near(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors agree to 1e-5 of the largest value."""
    return torch.allclose(one, other, rtol=0, atol=1e-5 * max(other.abs().max().item(), 1e-30))


def hooked(module: torch.nn.Module, run: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """Return the first output of `module` during `run`, and what `run` returns."""
    outputs: list[Tensor] = []

    def keep(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        outputs.append(output)
        return output.clone()  # a ReLU after it may work in place

    handle = module.register_forward_hook(keep)
    try:
        result = run()
    finally:
        handle.remove()
    return outputs[0], result
