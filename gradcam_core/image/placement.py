"""Where a network's input lies in the picture: found by running the preprocessing on test pictures.

Two pictures with random texture, A and B, go through the preprocessing, and then pictures that are
A in some stripes and B in the others. An output pixel that equals A's comes from a stripe of A,
whatever the preprocessing does with colours. The stripes form a Gray code, as in structured-light
scanning: four pictures per axis give the position of each pixel to 1/16, and the borders of the
stripes give it to a fraction of a pixel. A and B have the same histogram, so that a normalization
by the picture's own statistics is the same for all of them.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gradcam_core.image.geometry import WHOLE, Box

_MAX_RATIO = 50  # of the longer to the shorter side
_BITS = 4
_CELLS = 2**_BITS  # of the Gray code
_NUMBERS = np.arange(_CELLS)
_GRAY_CODE = (_NUMBERS ^ _NUMBERS >> 1) >> np.arange(_BITS)[::-1, None] & 1 == 1
# A de Bruijn sequence, in which no part of four stripes repeats.
_SEQUENCE = np.array([[digit == "1" for digit in "0000100110101111"]])
_TEXTURE = {10: 0.5, 32: 0.3, 96: 0.2}  # cells per side of each layer -> its share of the colours
_SIDES = (64, 448)  # of test pictures: least shorter side, largest longer side
_MAX_ZOOMS = 2  # each takes `_BITS` more pictures
_MIN_CELLS = 5  # in view, else the next pictures have finer stripes
_MOVES = np.array([(0, 0), *((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b)])
_MAX_MOVES = 100
_MAX_TILT = 0.02  # of the extent, between a side of the output and the whole
_MAX_ERROR = 0.15  # mean difference from the predicted stripes, where 0.5 is chance
_MIN_CORRELATION = 0.5  # of the middle of a picture, with and without other margins
_REPEATS = 8  # calls that must agree where randomness is suspected
_SNAP = (2e-3, 0.2)  # an edge closer to the picture's own, in shares or in output pixels, is it

GivenBox = Box | Callable[[tuple[int, int]], Box]
Preprocess = Callable[[Image.Image], Tensor]
Array = np.ndarray
Shares = tuple[Array, Array]  # shares (H_in, W_in) times their weights, and the weights


class Placement(NamedTuple):
    """Where a network's input lies in the picture.

    A map of the input becomes upright when its axes are swapped if `transposed`, and then its
    columns and rows reversed if `mirrored` and `upside_down`.

    Attributes:
        box: The part of the picture that the input shows; None if it is unknown.
        transposed: Whether the input's rows are the picture's columns.
        mirrored: Whether left and right are swapped.
        upside_down: Whether top and bottom are swapped.
    """

    box: Box | None = WHOLE
    transposed: bool = False
    mirrored: bool = False
    upside_down: bool = False

    def upright(self, values: Array) -> Array:
        """Turn a map (h, w) or (h, w, c) of the network's input as the picture is."""
        if self.transposed:
            values = values.swapaxes(0, 1)
        return np.ascontiguousarray(self._flipped(values))

    def as_input(self, values: Array) -> Array:
        """Undo `upright`."""
        values = self._flipped(values)
        return np.ascontiguousarray(values.swapaxes(0, 1) if self.transposed else values)

    def _flipped(self, values: Array) -> Array:
        return values[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


WHOLE_PICTURE = Placement()


def with_placement(
    preprocess: Preprocess, box: GivenBox | None = None
) -> Callable[[Image.Image], tuple[Tensor, Placement]]:
    """Let a preprocessing also return where its output lies in the picture.

    It is found out once per size of pictures, see `locate`.

    Args:
        preprocess: Picture (RGB) -> (1, C, H_in, W_in) float32.
        box: The part of the picture that it shows, where that is known: (left, top, right, bottom)
            as shares of the picture's sides, or a function of its size (width, height) that returns
            them. left > right if it is mirrored, top > bottom if it is upside down.

    Returns:
        A function that raises ValueError for pictures longer than 50 times their width, and for a
        random preprocessing.
    """

    known: Known = {}

    @lru_cache(256)
    def placement_of(size: tuple[int, int]) -> Placement:
        if box is None:
            return locate(preprocess, size, known)
        return _given(box(size) if callable(box) else box)

    def both(image: Image.Image) -> tuple[Tensor, Placement]:
        size = image.size
        # Those that scale the shorter side would make gigabytes of a very narrow picture.
        if max(size) > _MAX_RATIO * min(size):
            raise ValueError(
                f"The picture is too narrow for this model ({size[0]} x {size[1]}): its longer "
                f"side may be at most {_MAX_RATIO} times its shorter one."
            )
        return preprocess(image.copy()), placement_of(size)  # it may change the picture in place

    return both


def _given(box: Box) -> Placement:
    left, top, right, bottom = map(float, box)
    if left == right or top == bottom:
        raise ValueError(f"The box {box} is empty: give (left, top, right, bottom), as shares.")
    sides = min(left, right), min(top, bottom), max(left, right), max(top, bottom)
    return Placement(sides, mirrored=left > right, upside_down=top > bottom)


def locate(
    preprocess: Preprocess, size: tuple[int, int], known: "Known | None" = None
) -> Placement:
    """Find out where the output of a preprocessing lies in pictures of a size.

    Args:
        preprocess: Picture (RGB) -> (1, C, H_in, W_in) float32.
        size: (width, height) of the picture, in pixels.
        known: What was found for other sizes, which makes it faster; it is added to.

    Returns:
        The placement; its box is None if the output is not a part of the picture, scaled along its
        axes, flipped or transposed; or if which part depends on what is in the picture.

    Raises:
        ValueError: The output differs from call to call for the same picture.
    """
    known = {} if known is None else known
    with _random_state_kept() as random_state:
        before = random_state()
        guesses = [guess for other in list(known.items())[-1:] for guess in _guesses(*other, size)]
        found = _confirmed(preprocess, size, guesses) if guesses else None
        if found is None:
            small = _test_size(size)
            found = _locate(preprocess, small)
            if small != size:
                # Some preprocessings crop or pad by a number of pixels.
                confirmed = _confirmed(preprocess, size, [found]) if found else None
                found = confirmed or _locate(preprocess, size)
            if found is None or random_state() != before:
                _check_repeatable(preprocess, small)
    if found is None:
        return Placement(None)
    known[size] = found
    return found.placement()


class _NoPictureError(Exception):
    """The output of a preprocessing is not a picture, or has another shape for each picture."""


class _Extent(NamedTuple):
    """What the output shows along one axis of the picture.

    Attributes:
        axis: Of the output: 0 for its rows, 1 for its columns.
        start: The position of the first row's (column's) outer edge, as a share of the picture.
        end: That of the last one's.
        length: The number of rows (columns).
    """

    axis: int
    start: float
    end: float
    length: int

    def places(self) -> Array:
        """Return the position of each row's (column's) middle, as a share of the picture."""
        return self.start + (self.end - self.start) * (np.arange(self.length) + 0.5) / self.length

    def differs(self, other: "_Extent") -> float:
        """Return the larger of the distances between both starts and both ends."""
        return max(abs(self.start - other.start), abs(self.end - other.end))

    def sides(self) -> tuple[float, float]:
        """Return both ends, the smaller one first; the picture's own edges are exact."""
        tolerance = max(_SNAP[0], _SNAP[1] * abs(self.end - self.start) / self.length)
        first, last = sorted(
            float(round(end)) if abs(end - round(end)) < tolerance and 0 <= round(end) <= 1 else end
            for end in (self.start, self.end)
        )
        return first, last


class _Found(NamedTuple):
    """The extents across and down the picture, on different axes of the output."""

    across: _Extent
    down: _Extent

    def placement(self) -> Placement:
        (left, right), (top, bottom) = self.across.sides(), self.down.sides()
        return Placement(
            (left, top, right, bottom),
            self.across.axis == 0,
            self.across.start > self.across.end,
            self.down.start > self.down.end,
        )


Known = dict[tuple[int, int], _Found]  # by size of pictures


class _TestPictures:
    """The test pictures of one size, and what a preprocessing makes of them.

    Raises:
        _NoPictureError: Something that has no positions.
    """

    def __init__(self, preprocess: Preprocess, size: tuple[int, int]) -> None:
        self.size = size
        self._preprocess = preprocess
        self._textures = [_texture(size, seed) for seed in (0, 1)]
        self._outputs = [self._output(_picture(texture, size)) for texture in self._textures]
        self._difference = self._outputs[0] - self._outputs[1]
        self.seen = self._seen(0), self._seen(1)
        # Some values, such as those of a logarithm, are far larger than others.
        magnitude = np.abs(self._difference) * (self.seen[0][:, None] & self.seen[1])
        if not magnitude.any():
            raise _NoPictureError
        usual = np.median(magnitude[magnitude > 1e-3 * magnitude.max()])
        self._weights = (magnitude / usual).clip(max=1) ** 2
        self._density = self._weights.sum(0)

    def _seen(self, axis: int) -> Array:
        """Return which rows (axis 0) or columns of the output are not those of a margin."""
        spread = np.stack([each.std(2 - axis).mean(0) for each in self._outputs]).mean(0)
        usual = np.median(spread[spread > 1e-3 * spread.max()]) if spread.any() else 1
        return spread > 0.1 * usual

    def shares(self, direction: int, stripes: Array) -> Shares:
        """Show A where the stripes are 1, else B; return A's share of each output pixel.

        Args:
            direction: 0 for stripes across the picture, 1 for stripes down.
            stripes: (width,) or (height,) bool.
        """
        output = self._output(_striped(self._textures, self.size, direction, stripes))
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = ((output - self._outputs[1]) / self._difference).clip(-0.5, 1.5)
        return np.where(self._weights > 0, shares * self._weights, 0).sum(0), self._density

    def changes_from_call_to_call(self) -> bool:
        """Whether the first test picture looks different now."""
        again = self._output(_picture(self._textures[0], self.size))
        largest = np.abs(self._difference).max()
        return bool(np.abs(again - self._outputs[0]).max() > 0.01 * largest)

    def stays_with_margins(self, found: _Found) -> bool:
        """Whether the middle of the picture stays in its place if the rest is black or white."""
        values = np.array(_picture(self._textures[0], self.size))
        middles = []
        for direction, extent in enumerate(found):
            first, last = (min(1.0, max(0.0, side)) for side in extent.sides())
            centre, quarter = (first + last) / 2, (last - first) / 4
            middles.append(np.abs(extent.places() - centre) < 0.8 * quarter)
            sides = [round(self.size[direction] * (centre + sign * quarter)) for sign in (-1, 1)]
            lines = values.swapaxes(0, 1) if direction == 0 else values
            lines[: sides[0]], lines[sides[1] :] = 0, 255
        rows, columns = middles if found.across.axis == 0 else middles[::-1]
        if rows.sum() < 2 or columns.sum() < 2:
            return True
        output = self._output(Image.fromarray(values))
        middle, usual = (
            each[:, rows][:, :, columns].reshape(len(each), -1)
            for each in (output, self._outputs[0])
        )
        middle, usual = (each - each.mean(1, keepdims=True) for each in (middle, usual))
        scale = np.sqrt((middle**2).sum() * (usual**2).sum())
        correlation = (middle * usual).sum() / scale if scale else 0.0
        return bool(abs(correlation) > _MIN_CORRELATION)

    def _output(self, picture: Image.Image) -> Array:
        try:
            pixels = self._preprocess(picture).detach().float().cpu().numpy()
        except Exception as error:  # one that looks for a face may raise anything
            raise _NoPictureError from error
        if pixels.ndim != 4 or len(pixels) != 1 or not np.isfinite(pixels).all():
            raise _NoPictureError
        pixels = pixels[0]
        if pixels.shape[2] <= 4 < pixels.shape[0]:  # channels last
            pixels = pixels.transpose(2, 0, 1)
        if hasattr(self, "_outputs") and pixels.shape != self._outputs[0].shape:
            raise _NoPictureError
        return pixels


def _texture(size: tuple[int, int], seed: int) -> Array:
    """Return a random picture, rough and fine, as (rows, width, 3) uint8; see `_picture`."""
    draw = np.random.default_rng(seed)
    width, height = size
    finest = min(max(_TEXTURE), height)
    texture = np.zeros((finest, width, 3))
    for cells, share in _TEXTURE.items():
        rows, columns = min(cells, height), min(cells, width)
        grid = draw.permutation(np.linspace(0, 255 * share, 3 * rows * columns))
        down, across = (
            np.arange(side) * n // side for side, n in ((finest, rows), (width, columns))
        )
        texture += grid.reshape(rows, columns, 3)[down][:, across]
    return np.rint(texture).astype(np.uint8)


def _picture(texture: Array, size: tuple[int, int]) -> Image.Image:
    return _striped([texture, texture], size, 1, np.zeros(size[1], bool))


def _striped(
    textures: list[Array], size: tuple[int, int], direction: int, stripes: Array
) -> Image.Image:
    """Return the picture that is the first texture where the stripes are 1, else the second."""
    rows = np.arange(size[1]) * len(textures[0]) // size[1]
    if direction == 0:
        return Image.fromarray(np.where(stripes[:, None], *textures)[rows])
    both = np.concatenate(textures[::-1])
    return Image.fromarray(both[rows + len(textures[0]) * stripes])


def _test_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return a size of the same shape that is large enough to find positions, but no larger."""
    least, most = _SIDES
    scale = max(most / max(size), least / min(size))
    if scale >= 1 and min(size) >= _CELLS:
        return size
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _locate(preprocess: Preprocess, size: tuple[int, int]) -> _Found | None:
    try:
        pictures = _TestPictures(preprocess, size)
        if pictures.changes_from_call_to_call():
            return None
        across = _extent(pictures, 0)
        down = across and _extent(pictures, 1)
        if across is None or down is None or across.axis == down.axis:
            return None
        found = _Found(across, down)
        return found if pictures.stays_with_margins(found) else None
    except _NoPictureError:
        return None


def _confirmed(
    preprocess: Preprocess, size: tuple[int, int], guesses: Sequence[_Found]
) -> _Found | None:
    """Return the guess that agrees with test pictures, corrected by them; None if none does.

    Pictures of a few pixels confirm a guess, but do not correct it.
    """
    try:
        pictures = _TestPictures(preprocess, size)
        shown = []
        for direction, side in enumerate(size):
            ends = [guess[direction].sides() for guess in guesses]
            window = max(0.0, min(ends)[0]), min(1.0, max(last for _, last in ends))
            stripes = _numbered(side, window, _SEQUENCE)
            shown.append((stripes, [pictures.shares(direction, each) for each in stripes]))
    except _NoPictureError:
        return None
    for guess in guesses:
        corrected = []
        for extent, (stripes, shares), side in zip(guess, shown, size, strict=True):
            tolerance = max(_MAX_TILT * abs(extent.end - extent.start), 0.6 / side)
            after = _fit(pictures, stripes, shares, extent, tolerance)
            if after is not None and extent.differs(after) <= tolerance:
                corrected.append(after)
        if len(corrected) == 2:
            # Pixels may be so large that their blurred edges are less exact than the guess.
            return guess if min(size) < _CELLS else _Found(*corrected)
    return None


def _guesses(known_size: tuple[int, int], known: _Found, size: tuple[int, int]) -> list[_Found]:
    """Guess what is shown of pictures of another size.

    The same shares; or the middle, scaled with the shorter side, with the longer side, or not.
    """
    guesses = [known]
    for scale in (min(size) / min(known_size), max(size) / max(known_size), 1.0):
        extents = []
        for extent, before, side in zip(known, known_size, size, strict=True):
            half = (extent.end - extent.start) / 2 * before * scale / side
            extents.append(extent._replace(start=0.5 - half, end=0.5 + half))
        guesses.append(_Found(*extents))
    return guesses


def _numbered(side: int, window: tuple[float, float], code: Array) -> Array:
    """Return the stripes (bits, side) bool that show a code (bits, _CELLS) in a window."""
    places = ((np.arange(side) + 0.5) / side - window[0]) / (window[1] - window[0])
    return code[:, np.floor(places * _CELLS).clip(0, _CELLS - 1).astype(int)]


def _extent(pictures: _TestPictures, direction: int) -> _Extent | None:
    """Find what the output shows along one axis of the picture."""
    side = pictures.size[direction]
    window = (0.0, 1.0)
    for zoom in range(_MAX_ZOOMS + 1):
        stripes = _numbered(side, window, _GRAY_CODE)
        shares = [pictures.shares(direction, each) for each in stripes]
        profiles = [np.stack([_profile(each, axis) for each in shares]) for axis in (0, 1)]
        changes = [
            values[:, seen].var(1).sum()
            for values, seen in zip(profiles, pictures.seen, strict=True)
        ]
        axis = int(changes[1] >= changes[0])
        cells, seen = _decoded(profiles[axis]), pictures.seen[axis]
        first, last = np.percentile(cells[seen], [2, 98])
        width = (window[1] - window[0]) / _CELLS
        if last - first + 1 >= _MIN_CELLS or zoom == _MAX_ZOOMS or width * side < 2:
            break
        edges = window[0] + width * (first - 0.25), window[0] + width * (last + 1.25)
        window = max(0.0, edges[0]), min(1.0, edges[1])
    positions = (np.flatnonzero(seen) + 0.5) / len(seen)
    line = _line(positions, window[0] + width * (cells[seen] + 0.5))
    if line is None:
        return None
    start = _Extent(axis, line[0], line[0] + line[1], len(seen))
    return _fit(pictures, stripes, shares, start, width)


def _profile(shares: Shares, axis: int) -> Array:
    """Return the mean share of each row (axis 0) or column (axis 1) of the output."""
    values, weights = (each.sum(1 - axis) for each in shares)
    return np.divide(values, weights, out=np.full(len(values), 0.5), where=weights > 0)


def _decoded(profile: Array) -> Array:
    """Return the numbers of the cells that a Gray code (_BITS, n) shows."""
    bits = np.bitwise_xor.accumulate(profile > 0.5, axis=0)
    return (bits * (1 << np.arange(_BITS)[::-1, None])).sum(0)


def _line(x: Array, y: Array) -> tuple[float, float] | None:
    """Return the start and slope of a line through most of the points; None if it is level."""
    half = len(x) // 2
    if not half:
        return None
    slope = float(np.median((y[half:] - y[: len(y) - half]) / (x[half:] - x[: len(x) - half])))
    return (float(np.median(y - slope * x)), slope) if slope else None


def _fit(
    pictures: _TestPictures,
    stripes: Array,
    shares: list[Shares],
    start: _Extent,
    reach: float,
) -> _Extent | None:
    """Return the extent at which the stripes look as they do; None if there is none.

    Args:
        pictures: The test pictures.
        stripes: (bits, side) bool, what was shown.
        shares: What was seen of each.
        start: An estimate.
        reach: Its error.
    """
    axis, side = start.axis, stripes.shape[1]
    seen = pictures.seen[axis]
    profiles = np.stack([_profile(each, axis) for each in shares])
    ends, predicted = _best_ends(stripes, profiles, seen, (start.start, start.end), reach)
    places = ends[0] + (ends[1] - ends[0]) * (np.arange(len(seen)) + 0.5) / len(seen)
    inside = seen & (places > 0) & (places < 1)
    if inside.sum() < max(2, seen.sum() / 4) or np.ptp(predicted[:, inside]) < 0.5:
        return None
    # A padding may repeat the outermost pixels or mirror the picture.
    mirrored = side * (1 - np.abs(places % 2 - 1))
    reflected = stripes[:, np.minimum(mirrored.astype(int), side - 1)]
    error = min(
        np.abs(profiles - expected)[:, seen].mean(1).max()
        for expected in (predicted, np.where(inside, predicted, reflected))
    )
    if error > _MAX_ERROR:
        return None
    # The same must be seen at both sides: else the picture is rotated or in perspective.
    tolerance = abs(ends[1] - ends[0]) * max(_MAX_TILT, 0.5 / len(seen))
    thirds = np.array_split(np.flatnonzero(pictures.seen[1 - axis]), 3)
    for third in (thirds[0], thirds[2]):
        if not third.size:
            continue
        part = np.stack(
            [_profile((v.take(third, 1 - axis), w.take(third, 1 - axis)), axis) for v, w in shares]
        )
        there, _ = _best_ends(stripes, part, inside, (ends[0], ends[1]), 2 * tolerance)
        if np.abs(there - ends).max() > tolerance:
            return None
    return _Extent(axis, float(ends[0]), float(ends[1]), len(seen))


def _best_ends(
    stripes: Array, profiles: Array, seen: Array, start: tuple[float, float], reach: float
) -> tuple[Array, Array]:
    """Search for the extent whose predicted profiles are closest to the observed ones.

    Returns:
        Its start and end, (2,), and the predicted profiles (bits, n).
    """
    side = stripes.shape[1]
    # The sum of the stripes up to each position; beyond the picture its outermost stripes go on.
    far = 1e3 * side
    ticks = np.concatenate([[-far], np.arange(side + 1), [side + far]])
    inner = np.pad(np.cumsum(stripes, 1), ((0, 0), (1, 0)))
    before, after = -far * stripes[:, :1], inner[:, -1:] + far * stripes[:, -1:]
    sums = np.concatenate([before, inner, after], 1)
    edges = np.arange(len(seen) + 1) / len(seen)

    def predict(ends: Array) -> Array:
        """Return the profiles (m, bits, n) for extents (m, 2)."""
        places = side * (ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * edges)
        upto = np.stack([np.interp(places, ticks, each) for each in sums], 1)
        return np.diff(upto, axis=2) / np.diff(places, axis=1)[:, None]

    best, accuracy = np.array(start), 1e-4 * abs(start[1] - start[0])
    for _ in range(_MAX_MOVES):
        if reach <= accuracy:
            break
        candidates = best + reach * _MOVES
        candidates = candidates[np.abs(candidates[:, 1] - candidates[:, 0]) > accuracy]
        errors = ((predict(candidates) - profiles)[:, :, seen] ** 2).mean((1, 2))
        closest = candidates[errors.argmin()]
        if np.array_equal(closest, best):
            reach /= 2
        best = closest
    return best, predict(best[None])[0]


@contextmanager
def _random_state_kept() -> Iterator[Callable[[], object]]:
    """Leave the random numbers of the caller as they are; yields a function for their state."""

    def state() -> object:
        numpy_state = np.random.get_state(legacy=False)
        return random.getstate(), repr(numpy_state["state"]), torch.get_rng_state().tolist()

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield state
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _check_repeatable(preprocess: Preprocess, size: tuple[int, int]) -> None:
    """Raise a ValueError if the output differs from call to call for the same picture."""
    picture = _picture(_texture(size, 0), size)
    outputs = []
    for _ in range(_REPEATS):
        try:
            outputs.append(preprocess(picture.copy()))
        except Exception:  # see `_TestPictures`
            return
    first = outputs[0]
    for again in outputs[1:]:
        if again.shape != first.shape or not torch.allclose(again, first, 1e-3, 1e-3, True):
            raise ValueError(
                "The preprocessing is random: it returns something else for the same picture at "
                "each call. Use the one of evaluation, without random crops, flips or noise."
            )
