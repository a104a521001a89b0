"""How a map was made, as the page gets it: the channels of the feature map and their weights."""

import zlib
from typing import Any

import numpy as np

from gradcam_core import ChannelContributions
from gradcam_core.serialize import as_text

# Of all channels that are sent, at most: 1,280 channels of 7 x 7 cells are half as many.
_MAX_VALUES = 2**17
_STEPS = 2**15 - 1


def packed(channels: ChannelContributions) -> dict[str, Any]:
    """Return the channels that contribute most, and the sum of all others.

    The channels have 16 bits a value. `rest` is what is missing to the exact sum of all channels,
    those that are not sent and the rounding of those that are.

    Returns:
        target, word: See `ChannelContributions`.
        count: How many channels the feature map has.
        active: How many of them contribute something.
        h, w: The size of a channel.
        numbers: The channels that are sent, that which contributes most first.
        weights, strengths, peaks: Of these, the weight, `strengths`, and the largest absolute
            value: float32, base64.
        total: The strengths of all channels together.
        data: (channels, h, w) int16 in shares of the peaks, compressed, base64.
        rest: (h, w) float32, base64.
        rounding: Sums up to this count as zero.
    """
    count, height, width = channels.activations.shape
    active = int(np.count_nonzero(channels.strengths))
    numbers = channels.order[: min(active, _MAX_VALUES // (height * width))]
    sent, weights = channels.activations[numbers], channels.weights[numbers]
    peaks = np.abs(sent).max((1, 2), initial=0)
    scale = np.where(peaks > 0, peaks, 1)[:, None, None] / _STEPS
    steps = np.rint(sent / scale).astype("<i2")
    # In double precision, as in the browser.
    of_sent = np.tensordot(weights.astype(np.float64), steps * scale.astype(np.float64), 1)
    largest = np.tensordot(np.abs(channels.weights), np.abs(channels.activations), 1).max()
    return {
        "target": channels.target,
        "word": channels.word,
        "count": count,
        "active": active,
        "h": height,
        "w": width,
        "numbers": numbers.tolist(),
        "weights": _floats(weights),
        "strengths": _floats(channels.strengths[numbers]),
        "peaks": _floats(peaks),
        "total": float(channels.strengths.sum()),
        "data": as_text(zlib.compress(steps.tobytes())),
        "rest": _floats(channels.sum() - of_sent),
        "rounding": float(np.finfo(np.float32).eps * largest),
    }


def _floats(values: np.ndarray) -> str:
    return as_text(values.astype("<f4").tobytes())
