"""Where the cells of a module's output lie in the picture.

The picture is changed a little: everywhere, then more and more from left to right, then from top to
bottom. What the second and third changes do to a cell, as a part of what the first does, is where
it lies: a cell that depends on the left edge does not change at all in the second run.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradcam_core.models.wrapped.layout import Grid, Layout, block_orders
from gradcam_core.models.wrapped.parts import main_part

# Of the change, in standard deviations of the picture; the first that has a clear effect.
_STRENGTHS = (0.01, 0.1, 1.0)
_CLEAR = 500  # times the rounding errors of the dtype
_BLOCKS = 8  # a side, of the coarse part of the change
_LEAST_ORDER = 0.7  # correlation of a cell's row or column with where it lies
_LARGEST_SHIFT = 0.2  # of the mean of all cells from the middle of the picture
_LEAST_SPREAD = 0.2  # of where the cells lie; 0.29 if each sees its own part of the picture
_SAME = 0.02  # a smaller difference of two layouts' orders does not count


class _Stop(BaseException):
    """Ends a run as soon as the module has returned."""


@dataclass(frozen=True)
class Changes:
    """How a module's output changes with the picture.

    Attributes:
        everywhere: When the whole picture changes.
        along: For each side of the picture, the first one first, when it changes more and more.
    """

    everywhere: Tensor
    along: list[Tensor]
    _positions: dict[str, tuple[Tensor, list[Tensor]]] = field(default_factory=dict, repr=False)

    def positions(self, axes: str) -> tuple[Tensor, list[Tensor]]:
        """Return how much each cell changes, and where it lies along each side, 0 to 1.

        Both have the output's axes, with one channel.
        """
        if axes not in self._positions:
            channels = axes.index("C")
            strength = self.everywhere.square().sum(channels, keepdim=True)
            places = [
                (each * self.everywhere).sum(channels, keepdim=True) / strength.clamp_min(1e-300)
                for each in self.along
            ]
            self._positions[axes] = strength, places
        return self._positions[axes]


def changes(network: nn.Module, module: nn.Module, pixels: Tensor) -> Changes:
    """Run a network up to a module four times, or more if small changes have no effect.

    Args:
        network: In evaluation mode.
        module: Part of it, which runs once.
        pixels: (1, C, H, W) or (1, C, D, H, W).
    """
    sides = pixels.shape[2:]
    numbers = torch.Generator().manual_seed(0)
    fine = torch.randn(pixels.shape, generator=numbers, dtype=torch.float32)
    blocks = torch.randn(
        *pixels.shape[:2], *[_BLOCKS] * len(sides), generator=numbers, dtype=torch.float32
    )
    noise = fine + F.interpolate(blocks, size=tuple(sides))
    noise = noise * (pixels.detach().float().std().item() or 1.0)
    before = _output(network, module, pixels)
    least = _CLEAR * torch.finfo(pixels.dtype).eps * before.abs().max()
    for strength in _STRENGTHS:
        changed = pixels + (noise * strength).to(pixels)
        everywhere = _output(network, module, changed) - before
        if everywhere.abs().max() > least:
            break
    along = []
    for axis, side in enumerate(sides):
        ramp = (torch.arange(side, dtype=torch.float32) + 0.5) / side
        ramp = ramp.view([-1 if each == axis else 1 for each in range(len(sides))])
        changed = pixels + (noise * ramp * strength).to(pixels)
        along.append(_output(network, module, changed) - before)
    return Changes(everywhere, along)


def _output(network: nn.Module, module: nn.Module, pixels: Tensor) -> Tensor:
    found: list[Tensor] = []

    def stop(module: nn.Module, inputs: Any, output: Any) -> None:
        found.append(main_part(output).detach().cpu().double())
        raise _Stop

    hook = module.register_forward_hook(stop)
    try:
        # With a graph: without one, `nn.TransformerEncoderLayer` does not run its parts.
        with torch.enable_grad():
            network(pixels.detach().requires_grad_())
    except _Stop:
        pass
    finally:
        hook.remove()
    return found[0]


def fitting(
    layouts: Sequence[Layout], found: Changes, local: bool
) -> tuple[Layout | None, str | None]:
    """Return the layout whose cells lie where they would be drawn, or else what is wrong.

    Args:
        layouts: The most likely one first.
        found: How the cells change.
        local: Whether the cells have never been merged, as far as the operations show. Then cells
            that all see the whole picture, as those of untrained attention, may be a map.
    """
    if not found.everywhere.isfinite().all():
        return layouts[0], None  # nothing can be found out
    if not found.everywhere.any():  # as with untrained weights, which may let nothing through
        return (layouts[0], None) if local else (None, "does not depend on the picture")
    layouts = list(dict.fromkeys(_with_unchanged_tokens(each, found) for each in layouts))
    best, partly = _best(layouts, found)
    if best is None:
        sequences = [each for each in layouts if each.grid is not None]
        best = _exact(sequences, found) or _best(_reordered(sequences), found)[0]
    if best is not None:
        return best, None
    if _spread(layouts[0], found) < _LEAST_SPREAD:
        if local:
            return layouts[0], None
        problem = "has cells that all see the whole picture"
    elif partly:
        problem = "shows a part of the picture only"
    else:
        problem = "has cells that do not lie where they would be drawn"
    return None, problem


def _best(layouts: Iterable[Layout], found: Changes) -> tuple[Layout | None, bool]:
    """Return the layout with its cells in order; and whether one has that shows a part only."""
    best, most, partly = None, _LEAST_ORDER, False
    for layout in layouts:
        if layout.is_strip and _spread(layout, found) < _LEAST_SPREAD:
            continue  # class tokens, for instance, are few, and may be in order by chance
        order, shift = _order(layout, found)
        if order >= _LEAST_ORDER and shift > _LARGEST_SHIFT:
            partly = True
        elif order > most + _SAME * (best is not None):
            best, most = layout, order
    return best, partly


def _reordered(layouts: list[Layout]) -> Iterator[Layout]:
    """Yield layouts with the same grids, whose patches are in other orders."""
    orders: dict[Grid, list[tuple[int, ...]]] = {}
    for layout in layouts:
        if layout.grid is not None and not layout.is_strip:
            known = orders.setdefault(layout.grid, [])
            if not known:
                known += block_orders(layout.grid)
            yield from (replace(layout, order=order) for order in known)


def _exact(layouts: list[Layout], found: Changes) -> Layout | None:
    """Return a layout whose patches are in any order, if each lies in a cell of its own."""
    for layout in layouts:
        assert layout.grid is not None
        _, places = found.positions(layout.axes)
        indices = torch.zeros(layout.grid, dtype=torch.int64)
        far = 0.0
        for place, side in zip(places, layout.grid, strict=True):
            scaled = layout.to_map(place)[0, 0] * side - 0.5
            rounded = scaled.round().clamp(0, side - 1)
            far = max(far, (scaled - rounded).abs().max().item())
            indices = indices * side + rounded.long()
        if not layout.is_strip and far < 0.4 and len(indices.unique()) == indices.numel():
            return replace(layout, order=tuple(indices.flatten().argsort().tolist()))
    return None


def _with_unchanged_tokens(layout: Layout, found: Changes) -> Layout:
    """Return a layout whose other tokens are those that do not change, if they are as many."""
    if layout.grid is None:
        return layout
    strength = found.positions(layout.axes)[0].flatten().sqrt()
    still = tuple((strength <= 1e-9 * strength.max()).nonzero().flatten().tolist())
    return replace(layout, others=still) if len(still) == len(layout.others) else layout


def _spread(layout: Layout, found: Changes) -> float:
    """Return the standard deviation of where the cells lie, along the side where it is largest."""
    strength, positions = found.positions(layout.axes)
    weights = strength.sqrt() / strength.sqrt().sum()
    return math.sqrt(max(_variance(weights, each) for each in positions))


def _order(layout: Layout, found: Changes) -> tuple[float, float]:
    """Return how well the cells of a layout are in order, and how far they are from the middle."""
    strength, positions = found.positions(layout.axes)
    strength = layout.to_map(strength)[0, 0]
    positions = [layout.to_map(each)[0, 0] for each in positions]
    weights = strength.sqrt() * (strength > 1e-6 * strength.max())
    weights = weights / weights.sum()
    orders, shifts = [], []
    for axis, (side, position) in enumerate(zip(strength.shape, positions, strict=True)):
        indices = torch.arange(side, dtype=torch.float64)
        indices = indices.view([-1 if each == axis else 1 for each in range(strength.ndim)])
        if side > 1:
            orders.append(_correlation(weights, position, indices.expand(strength.shape)))
            shifts.append(abs((weights * position).sum().item() - 0.5))
    # A single row whose cells also go from top to bottom is not a row.
    for side, position in zip(strength.shape, positions, strict=True):
        if side == 1:
            spread = _variance(weights, position)
            widest = max(_variance(weights, each) for each in positions)
            orders.append(1 - spread / widest if widest else 0.0)
    return min(orders), max(shifts)


def _variance(weights: Tensor, values: Tensor) -> float:
    return (weights * (values - (weights * values).sum()).square()).sum().item()


def _correlation(weights: Tensor, one: Tensor, two: Tensor) -> float:
    one, two = (each - (weights * each).sum() for each in (one, two))
    both = (weights * one * two).sum()
    size = ((weights * one.square()).sum() * (weights * two.square()).sum()).sqrt()
    return (both / size).item() if size else 0.0
