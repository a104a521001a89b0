"""Searches for captions: beam search, and drawing sentences at random.

A search knows neither picture nor network. It receives the logits of the next words and requests
those that follow, so that `caption_network.run_searches` can run several side by side.
"""

import math
from collections.abc import Generator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

END = 0  # index of the word that ends a sentence
MAX_WORDS = 20
LENGTH_POWER = 0.9  # a caption's log-probability is divided by its length to this power


class Candidate(NamedTuple):
    """A caption found by beam search.

    Attributes:
        likelihood: Log-probability of its words and end, divided by its length (with the end) to
            the power `LENGTH_POWER`.
        log_prob: Sum of the log-probabilities of its words.
        ids: Its words' indices.
    """

    likelihood: float
    log_prob: float
    ids: list[int]


# A generator that receives the logits (n, n_words) of the next words of its n sentences, and
# yields the sentences to continue, (m,) int64, and their next words, (m,) int64.
Search = Generator[tuple[Tensor, Tensor], Tensor, T]


def draw(logits: Tensor, uniform: Tensor, excluded: Sequence[int]) -> Search[Tensor]:
    """Draw sentences word by word.

    Args:
        logits: Of the first words, (n, n_words), or (1, n_words) where all describe one picture.
        uniform: (n, limit) float32 in [0, 1), one number for each word; evenly spread numbers
            draw each word in proportion to its probability.
        excluded: Words that are not drawn.

    Returns:
        (n, length) int64, padded with `END`; `length` is at most `limit`.
    """
    words = torch.full(uniform.shape, END)
    unfinished = torch.arange(len(uniform))
    # Sentences of one picture with the same beginning share a state; this is its row.
    rows = unfinished if len(logits) > 1 else torch.zeros_like(unfinished)
    for position in range(uniform.shape[1]):
        barred = torch.tensor([*excluded, END] if position == 0 else excluded)
        cumulative = logits.index_fill(1, barred, -math.inf).softmax(-1).cumsum(-1)[rows]
        # The last sum is 1 except for rounding.
        threshold = uniform[unfinished, position, None] * cumulative[:, -1:]
        drawn = torch.searchsorted(cumulative, threshold, right=True)[:, 0]
        drawn = drawn.clamp(max=logits.shape[1] - 1)
        words[unfinished, position] = drawn
        kept = drawn != END
        if not kept.any() or position + 1 == uniform.shape[1]:
            break
        unfinished = unfinished[kept]
        grown, rows = (rows[kept] * logits.shape[1] + drawn[kept]).unique(return_inverse=True)
        logits = yield grown // logits.shape[1], grown % logits.shape[1]
    return words[:, : position + 1]


def beam(
    logits: Tensor, width: int, number: int, excluded: Sequence[int]
) -> Search[list[Candidate]]:
    """Search for likely captions, keeping `width` unfinished ones at a time.

    Args:
        logits: Of the first word, (1, n_words).
        width: Of the beam.
        number: How many captions to return.
        excluded: Words that are not written.

    Returns:
        The likeliest captions found, best first.
    """
    finished: list[Candidate] = []
    captions, sums = torch.empty(1, 0, dtype=torch.int64), torch.zeros(1)
    for length in range(MAX_WORDS):
        log_probs = logits.log_softmax(-1)
        ended = sums + log_probs[:, END]
        for ids, log_prob, total in zip(
            captions.tolist(), sums.tolist(), ended.tolist(), strict=True
        ):
            if length:
                likelihood = total / (length + 1) ** LENGTH_POWER
                finished.append(Candidate(likelihood, log_prob, ids))
        log_probs[:, [END, *excluded]] = -math.inf
        sums, best = (sums[:, None] + log_probs).flatten().topk(width)
        # Every word lowers the sum, so no unfinished caption is likely to enter the list any more.
        bound = sums[0].item() / (length + 3) ** LENGTH_POWER
        if len(finished) > number and bound < sorted(finished)[-number].likelihood:
            break
        parent, word = best // logits.shape[1], best % logits.shape[1]
        captions = torch.cat([captions[parent], word[:, None]], 1)
        if length + 1 < MAX_WORDS:
            logits = yield parent, word
    return sorted(finished, reverse=True)[:number]
