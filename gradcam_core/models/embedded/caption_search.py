"""What a captioner might say: searches that are told, word after word, what may come next.

They know no picture and no network, so `show_and_tell.read_together` lets several read at once.
"""

import math
from collections.abc import Generator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

END = 0  # the index that ends a sentence
MAX_WORDS = 20
LENGTH_POWER = 0.9  # a caption's log-probability is divided by its length to this power


class Candidate(NamedTuple):
    """A caption found by beam search.

    Attributes:
        likelihood: Its log-probability with its end, divided by its length to `LENGTH_POWER`.
        log_prob: The sum of its words' log-probabilities.
        ids: Its words.
    """

    likelihood: float
    log_prob: float
    ids: list[int]


# A search hears the logits (n, n_words) of what may follow its n sentences. It tells which of them
# go on, (m,), and with which words, (m,), until it returns what it has found.
Search = Generator[tuple[Tensor, Tensor], Tensor, T]


def drawn(logits: Tensor, chances: Tensor, never: Sequence[int]) -> Search[Tensor]:
    """Draw sentences.

    Args:
        logits: Of the first words, (n, n_words), or (1, n_words) where all are of one picture.
        chances: (n, limit) float32 in [0, 1): what decides each word, so that each has its
            probability where these numbers are evenly spread.
        never: Words that are not drawn.

    Returns:
        (n, length) int64, filled up with `END`; `length` is `limit` or less.
    """
    words = torch.full(chances.shape, END)
    going = torch.arange(len(chances))  # the rows that have not ended
    # Sentences of one picture that begin alike share their state, of which this is the row.
    begun = going if len(logits) > 1 else torch.zeros_like(going)
    for position in range(chances.shape[1]):
        barred = torch.tensor([*never, END] if position == 0 else never)
        cumulative = logits.index_fill(1, barred, -math.inf).softmax(-1).cumsum(-1)[begun]
        # The sum of all is 1 but for rounding.
        chance = chances[going, position, None] * cumulative[:, -1:]
        last = torch.searchsorted(cumulative, chance, right=True)[:, 0]
        last = last.clamp(max=logits.shape[1] - 1)
        words[going, position] = last
        kept = last != END
        if not kept.any() or position + 1 == chances.shape[1]:
            break
        going = going[kept]
        grown, begun = (begun[kept] * logits.shape[1] + last[kept]).unique(return_inverse=True)
        logits = yield grown // logits.shape[1], grown % logits.shape[1]
    return words[:, : position + 1]


def beam(logits: Tensor, width: int, wanted: int, never: Sequence[int]) -> Search[list[Candidate]]:
    """Search for likely captions, with `width` unfinished ones at a time.

    Args:
        logits: Of the first word, (1, n_words).
        width: Of the beam.
        wanted: How many captions are.
        never: Words that are not written.

    Returns:
        The `wanted` likeliest, likeliest first.
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
        log_probs[:, [END, *never]] = -math.inf
        sums, best = (sums[:, None] + log_probs).flatten().topk(width)
        # A sentence loses with every word: no unfinished one is likely to come in any more.
        hope = sums[0].item() / (length + 3) ** LENGTH_POWER
        if len(finished) > wanted and hope < sorted(finished)[-wanted].likelihood:
            break
        parent, word = best // logits.shape[1], best % logits.shape[1]
        captions = torch.cat([captions[parent], word[:, None]], 1)
        if length + 1 < MAX_WORDS:
            logits = yield parent, word
    return sorted(finished, reverse=True)[:wanted]


def agreement(
    said: Sequence[Sequence[int]], expected: Sequence[Sequence[int]], rarity: Tensor
) -> Tensor:
    """How far captions say what is expected, in 0..1.

    Half of it is the share of words in common, as in BLEU; half the likeness of words and pairs
    of words, the rarer the weightier, and of lengths, as in CIDEr-D.

    Args:
        said: Captions, as word indices.
        expected: Other captions.
        rarity: (n_words,) float32 >= 0.

    Returns:
        (len(said),) float32, each the mean over `expected`.
    """
    captions, n_said, likeness = [*said, *expected], len(said), torch.zeros(())
    lengths = torch.tensor([*map(len, captions)])
    mine, theirs = lengths[:n_said, None], lengths[n_said:]
    for n in (2, 1):
        uses = [
            (row, gram)
            for row, ids in enumerate(captions)
            for gram in zip(*(ids[i:] for i in range(n)), strict=False)
        ]
        columns = {gram: i for i, gram in enumerate(dict.fromkeys(gram for _, gram in uses))}
        counts = torch.zeros(len(captions), len(columns))
        where = torch.tensor([(row, columns[gram]) for row, gram in uses]).view(-1, 2)
        counts.index_put_(where.unbind(1), torch.ones(len(where)), accumulate=True)
        weights = rarity[torch.tensor([*columns]).view(-1, n)].sum(1)
        norms = (counts * weights).norm(dim=1).clamp(min=1e-6)
        used = counts[:n_said].any(0).nonzero()[:, 0]  # the others are not in common
        uses_said, uses_expected = counts[:n_said, used], counts[n_said:, used]
        common = uses_said[:, None].minimum(uses_expected)  # (said, expected, used)
        dot = (common * uses_expected) @ weights[used].square()
        likeness = likeness + dot / (norms[:n_said, None] * norms[n_said:]) / 2
    shared = 2 * common.sum(-1) / (mine + theirs)  # of single words, the last round
    likeness *= ((mine - theirs).square() / -72).exp()
    return ((shared + likeness) / 2).mean(1)
