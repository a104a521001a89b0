"""How a feature map is laid out in the tensor that a module returns."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor

Grid = tuple[int, int]  # rows, columns

_MAX_OTHER_TOKENS = 16  # class, distillation and register tokens


@dataclass(frozen=True)
class Layout:
    """How a feature map (N, C, h, w) or (N, C, d, h, w) is laid out in a module's output.

    Attributes:
        axes: The axes of the output: "NCHW", "NHWC" or "NCDHW"; "NTC", "TNC" or "NCT" for the
            tokens of a transformer.
        grid: (rows, columns) of the patches whose tokens are along T.
        others: The indices along T of the tokens that are no patches, in order.
        order: For each patch of the picture, row by row, its index among the tokens of patches;
            None if they are row by row, too.
        transposed: Whether the rows of a map with the axes H and W are the columns of the picture.
    """

    axes: str = "NCHW"
    grid: Grid | None = None
    others: tuple[int, ...] = ()
    order: tuple[int, ...] | None = None
    transposed: bool = False

    @property
    def is_strip(self) -> bool:
        """Whether it is a single row or column of tokens, as any sequence may be."""
        return self.grid is not None and min(self.grid) == 1

    def to_map(self, given: Tensor) -> Tensor:
        """Return the map (N, C, h, w) in a module's output.

        Raises:
            ValueError: The output has another number of tokens.
        """
        found = given.permute(self._permutation())
        if self.grid is not None:
            patches = self._patches(found.shape[2])
            found = found if patches is None else found.index_select(2, patches.to(found.device))
            found = found.reshape(*found.shape[:2], *self.grid)
        return found.transpose(-1, -2) if self.transposed else found

    def from_map(self, feature_map: Tensor, given: Tensor) -> Tensor:
        """Return a module's output with another map (N, C, h, w)."""
        found = feature_map.transpose(-1, -2) if self.transposed else feature_map
        order = self._permutation()
        if self.grid is not None:
            found = found.flatten(2)
            sequence = given.permute(order)
            patches = self._patches(sequence.shape[2])
            if patches is not None:
                others = torch.tensor(self.others, dtype=torch.int64)
                places = torch.argsort(torch.cat([others, patches])).to(found.device)
                kept = sequence.index_select(2, others.to(found.device))
                found = torch.cat([kept, found], 2).index_select(2, places)
        back = [order.index(axis) for axis in range(len(order))]
        # Contiguous, since later modules may overwrite or reshape it.
        return found.permute(back).clone(memory_format=torch.contiguous_format)

    def map_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return (C, h, w) of the map in an output of a shape."""
        found = tuple(shape[axis] for axis in self._permutation())[1:]
        if self.grid is not None:
            found = (found[0], *self.grid)
        return (found[0], *found[:0:-1]) if self.transposed else found

    def _permutation(self) -> list[int]:
        target = "NCT" if "T" in self.axes else "NCDHW" if "D" in self.axes else "NCHW"
        return [self.axes.index(axis) for axis in target]

    def _patches(self, count: int) -> Tensor | None:
        """Return the index of each patch among `count` tokens; None for 0, 1, and so on."""
        assert self.grid is not None
        rows, columns = self.grid
        if count != rows * columns + len(self.others):
            raise ValueError(
                f"There are {count} tokens, not {rows} x {columns} patches and "
                f"{len(self.others)} others: the input has another size than before."
            )
        if not self.others and self.order is None:
            return None
        patches = torch.tensor(sorted(set(range(count)) - set(self.others)))
        return patches if self.order is None else patches[torch.tensor(self.order)]


class Possible(NamedTuple):
    """The layouts that a tensor may have.

    Attributes:
        layouts: The most likely one first; [] for none.
        likely: Whether the first has the grid of an earlier map, or the aspect ratio of the input.
    """

    layouts: list[Layout]
    likely: bool


class Layouts:
    """The layouts that a tensor may have, by its shape and by the maps before it.

    Args of the constructor:
        size: Of the network's input, without batch and channels.
        tokens: The grid of a transformer's patches, if it is known.
    """

    def __init__(self, size: Sequence[int], tokens: Grid | None) -> None:
        self._size = tuple(size)
        self._tokens = tokens
        # Of the maps so far, the last first.
        self._grids: list[Grid] = []
        self._likely: set[Grid] = set()
        self._token_counts: set[int] = set()
        # Of shapes since the last new map.
        self._known: dict[tuple[int, ...], Possible] = {}

    def of(self, shape: Sequence[int]) -> Possible:
        """Return the layouts of a tensor of one picture."""
        shape = tuple(shape)
        if shape not in self._known:
            found = self._found(shape)
            self._remember(shape, found)
            self._known[shape] = found
        return self._known[shape]

    def _found(self, shape: tuple[int, ...]) -> Possible:
        if len(shape) == len(self._size) + 2 == 5:
            is_map = shape[0] == 1 and math.prod(shape[2:]) > 1
            return Possible([Layout("NCDHW")] if is_map else [], likely=True)
        if len(self._size) == 2 and len(shape) == 4 and shape[0] == 1:
            return self._of_map((shape[1], shape[2], shape[3]))
        if len(self._size) == 2 and len(shape) == 3:
            return self._of_tokens(shape)
        return Possible([], likely=False)

    def _remember(self, shape: tuple[int, ...], found: Possible) -> None:
        if not found.layouts or len(shape) == 5:
            return
        first = found.layouts[0]
        if first.is_strip:
            return
        if first.grid is not None:
            self._token_counts.add(shape[first.axes.index("T")])
            grid = first.grid
        else:
            grid = (shape[first.axes.index("H")], shape[first.axes.index("W")])
        if first.transposed:
            grid = grid[::-1]
        if found.likely:
            self._likely.add(grid)
        elif min(grid) == 1:  # a vector rather than a map
            return
        if grid not in self._grids[:1]:
            self._grids = [grid, *(each for each in self._grids if each != grid)]
            self._known.clear()

    def _of_map(self, sides: tuple[int, int, int]) -> Possible:
        one, two, three = sides
        if two in self._token_counts:  # the heads of an attention
            return Possible([], likely=False)
        axes = {"NCHW": (two, three), "NHWC": (one, two)}
        likely = {
            name: grid in self._likely or self._has_aspect(*grid) for name, grid in axes.items()
        }
        possible = [
            name
            for name, grid in axes.items()
            if math.prod(grid) > 1 and (likely[name] or math.prod(sides) > math.prod(grid))
        ]
        possible.sort(key=lambda name: not likely[name])
        layouts = [
            Layout(name, transposed=transposed) for transposed in (False, True) for name in possible
        ]
        return Possible(layouts, likely=bool(possible) and likely[possible[0]])

    def _of_tokens(self, shape: Sequence[int]) -> Possible:
        axes = {"NTC": shape[1], "NCT": shape[2]} if shape[0] == 1 and min(shape[1:]) > 1 else {}
        if shape[1] == 1 and shape[0] > 1:
            axes = {"TNC": shape[0]}
        found = [
            (rank + 3 * (name == "NCT"), Layout(name, grid, others))
            for name, count in axes.items()
            for rank, grid, others in self._grids_of(count)
        ]
        found.sort(key=lambda ranked: ranked[0])
        layouts = [layout for _, layout in found]
        return Possible(layouts, likely=bool(layouts) and not layouts[0].is_strip)

    def _grids_of(self, count: int) -> Iterator[tuple[int, Grid, tuple[int, ...]]]:
        """Yield how `count` tokens may be arranged, and a rank, 0 for the most likely."""
        known = [self._tokens] if self._tokens else self._grids
        seen: set[tuple[Grid, int]] = set()
        for start in known:
            for grid in _halvings(start):
                others = count - grid[0] * grid[1]
                whole = grid == start
                most = count if self._tokens and whole else _MAX_OTHER_TOKENS if whole else 2
                if 0 <= others <= most and (grid, others) not in seen and math.prod(grid) > 1:
                    seen.add((grid, others))
                    rank = (0 if whole else 2) + (others > 0)
                    yield from ((rank, grid, each) for each in _arrangements(count, others))
        if self._tokens:
            return
        height, width = self._size
        for others in range(6):  # patches that come from no convolution
            rows = round(math.sqrt((count - others) * height / width)) if count > others else 0
            if rows and (count - others) % rows == 0:
                grid = (rows, (count - others) // rows)
                if self._has_aspect(*grid) and (grid, others) not in seen and math.prod(grid) > 1:
                    yield from ((4 + others, grid, each) for each in _arrangements(count, others))
        # One row or column of cells, after a mean over the other side.
        if 1 < count <= width:
            yield 20, (1, count), ()
        if 1 < count <= height:
            yield 20, (count, 1), ()

    def _has_aspect(self, rows: int, columns: int) -> bool:
        """Whether a grid has the aspect ratio of the input."""
        height, width = self._size
        rounding = 0 if height == width else height + width
        return abs(rows * width - columns * height) <= rounding


def _halvings(grid: Grid) -> Iterator[Grid]:
    """Yield a grid, and what pooling by 2 makes of it, with and without padding."""
    yield grid
    todo = [grid]
    while todo:
        rows, columns = todo.pop(0)
        smaller = {((rows + 1) // 2, (columns + 1) // 2), (rows // 2, columns // 2)}
        for each in sorted(smaller, reverse=True):
            if min(each) >= 1 and each != (rows, columns):
                yield each
                if each not in todo:
                    todo.append(each)


def _arrangements(count: int, others: int) -> Iterator[tuple[int, ...]]:
    """Yield where the other tokens may be: first, last, in the middle, or on both sides."""
    last, middle = range(count - others, count), (count - others) // 2
    found = [tuple(range(others)), tuple(last), tuple(range(middle, middle + others))]
    found += [(*range(first), *last[first:]) for first in range(1, others)]
    yield from dict.fromkeys(found)


def block_orders(grid: Grid) -> Iterator[tuple[int, ...]]:
    """Yield orders in which the patches of a grid may be, other than row by row.

    They may be mirrored; column by column; window by window; or in the order of Hiera's mask units,
    which are divided into 2 x 2 parts several times.
    """
    rows, columns = grid
    indices = torch.arange(rows * columns)
    for axes in ((0,), (1,), (0, 1)):
        yield tuple(indices.view(rows, columns).flip(axes).flatten().tolist())
    yield tuple(indices.view(columns, rows).t().flatten().tolist())
    divisions: list[list[Grid]] = [
        [(down, across)]
        for down in range(1, rows + 1)
        for across in range(1, columns + 1)
        if rows % down == columns % across == 0 and 1 < down * across < rows * columns
    ]
    levels = [(2, 2), (2, 2)]
    while rows % 2 ** len(levels) == columns % 2 ** len(levels) == 0 and len(levels) < 5:
        divisions.append(list(levels))
        levels.append((2, 2))
    for parts in divisions:
        whole = (
            rows // math.prod(down for down, _ in parts),
            columns // math.prod(across for _, across in parts),
        )
        sides = [whole, *parts]  # from the coarsest division to the finest
        for places in permutations(range(len(sides))):
            ordered = [sides[place] for place in places]
            places_of = [places.index(level) for level in range(len(sides))]
            sides_first = [2 * place + side for side in (0, 1) for place in places_of]
            tokens = indices.view([side for pair in ordered for side in pair])
            yield tuple(tokens.permute(sides_first).flatten().tolist())
