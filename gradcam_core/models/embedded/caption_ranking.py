"""Which of the captions found by beam search is the best one.

Not the likeliest, but the one that agrees best with sentences drawn from the network (minimum
Bayes risk, Kumar and Byrne 2004). Captions that fit every picture lose (Li et al., NAACL 2016), and
captions that name what the classifier sees win.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor

from gradcam_core.models.embedded.caption_network import CaptionNetwork
from gradcam_core.models.embedded.caption_search import END, LENGTH_POWER, Candidate

# Chosen on the dev photos. The agreement is in 0..1.
LIKELIHOOD_WEIGHT = 0.05
UNCONDITIONAL_WEIGHT = 0.05  # of the likelihood without a picture; more of it rewards odd wording
NAMING_WEIGHT = 0.15  # of the mean probability of the things that a caption names,
NOTHING_NAMED = 0.3  # and this value for a caption that names none
# A word may be repeated only if at least e^-1.9 of the pictures have it: no "bowl of bowl".
COMMON = 1.9
LEAST_ENDING = 0.1  # the least probability of a caption's end


class CaptionRanker:
    """Ranks captions of one picture.

    Attributes:
        rarity: (n_words,) float32 >= 0, minus the logarithm of the share of training pictures
            with each word.
    """

    def __init__(self, network: CaptionNetwork, words: Mapping[str, int]) -> None:
        """Prepare the ranking.

        Args:
            network: The trained network.
            words: As for `captioner.ShowAndTell`.
        """
        counts = torch.tensor([*words.values()])
        self.rarity = (counts[END] / counts).log()
        self._words = tuple(words)
        self._network = network

    def rank(
        self,
        candidates: Sequence[Candidate],
        sentences: Sequence[Sequence[int]],
        probabilities: Mapping[int, float],
    ) -> list[Candidate]:
        """Return the candidates, best first.

        Args:
            candidates: From `beam`.
            sentences: Drawn from the network for the same picture, as word indices.
            probabilities: The classifier's probability of each thing, by its word's index.
        """
        agreements = agreement([c.ids for c in candidates], sentences, self.rarity).tolist()
        merits = [
            agreed
            + LIKELIHOOD_WEIGHT * candidate.likelihood
            + NAMING_WEIGHT * _naming(candidate, probabilities)
            - UNCONDITIONAL_WEIGHT * unconditional
            - self.is_flawed(candidate)
            for agreed, candidate, unconditional in zip(
                agreements, candidates, self.unconditional(candidates), strict=True
            )
        ]
        ranked = sorted(zip(merits, candidates, strict=True), reverse=True)
        return [candidate for _, candidate in ranked]

    @torch.no_grad()
    def unconditional(self, candidates: Sequence[Candidate]) -> list[float]:
        """Return the `Candidate.likelihood` of captions when all attributes are zero."""
        network = self._network
        captions = [[*candidate.ids, END] for candidate in candidates]
        state = network.begin(torch.zeros(1, network.plan.in_features))
        state = network.step(state, network.inputs(state, None)[:, 0])
        # Each beginning is read once: its number, and the LSTM's states in the order of numbers.
        number: dict[tuple[int, ...], int] = {(): 0}
        hidden = [state.hidden]
        for length in range(1, max(map(len, captions))):
            shorter, read = len(number), {tuple(c[:length]): 0 for c in captions if len(c) > length}
            before = torch.tensor([number[each[:-1]] for each in read]) - shorter
            words = torch.tensor([each[-1:] for each in read])
            state = state.rows(before + len(state.hidden))
            state = network.step(state, network.inputs(state, words)[:, 0])
            number |= {each: shorter + i for i, each in enumerate(read)}
            hidden.append(state.hidden)
        log_probs = network.logits(torch.cat(hidden)[None], state.prior)[0].log_softmax(-1)
        beginnings = [number[tuple(c[:i])] for c in captions for i in range(len(c))]
        terms = log_probs[beginnings, [*chain(*captions)]].split([*map(len, captions)])
        return [each.sum().item() / len(each) ** LENGTH_POWER for each in terms]

    def is_flawed(self, candidate: Candidate) -> bool:
        """Whether a caption breaks off, or repeats a word that is not common.

        "A car next to another car" does not count as one.
        """
        ids, length = candidate.ids, len(candidate.ids)
        ending = candidate.likelihood * (length + 1) ** LENGTH_POWER - candidate.log_prob
        return ending < math.log(LEAST_ENDING) or any(
            word == ids[i - 1]
            or (
                word in ids[:i]
                and self.rarity[word] > COMMON
                and self._words[ids[i - 1]] != "another"
            )
            for i, word in enumerate(ids)
            if i
        )


def _naming(candidate: Candidate, probabilities: Mapping[int, float]) -> float:
    """Return the mean of the classifier's probabilities of the things that a caption names."""
    named = [probabilities[i] for i in candidate.ids if i in probabilities]
    return sum(named) / len(named) if named else NOTHING_NAMED


def agreement(
    captions: Sequence[Sequence[int]], references: Sequence[Sequence[int]], rarity: Tensor
) -> Tensor:
    """Return how well captions agree with reference sentences, in 0..1.

    One half is the share of words in common, as in BLEU. The other half is the similarity of
    words and word pairs, weighted by rarity, and of lengths, as in CIDEr-D.

    Args:
        captions: As word indices.
        references: As word indices.
        rarity: (n_words,) float32 >= 0.

    Returns:
        (len(captions),) float32, the mean over `references`.
    """
    sentences, n, similarity = [*captions, *references], len(captions), torch.zeros(())
    lengths = torch.tensor([*map(len, sentences)])
    ours, theirs = lengths[:n, None], lengths[n:]
    for size in (2, 1):
        uses = [
            (row, gram)
            for row, ids in enumerate(sentences)
            for gram in zip(*(ids[i:] for i in range(size)), strict=False)
        ]
        columns = {gram: i for i, gram in enumerate(dict.fromkeys(gram for _, gram in uses))}
        counts = torch.zeros(len(sentences), len(columns))
        where = torch.tensor([(row, columns[gram]) for row, gram in uses]).view(-1, 2)
        counts.index_put_(where.unbind(1), torch.ones(len(where)), accumulate=True)
        weights = rarity[torch.tensor([*columns]).view(-1, size)].sum(1)
        norms = (counts * weights).norm(dim=1).clamp(min=1e-6)
        used = counts[:n].any(0).nonzero()[:, 0]  # no other can be in common
        our_uses, their_uses = counts[:n, used], counts[n:, used]
        common = our_uses[:, None].minimum(their_uses)  # (captions, references, used)
        dot = (common * their_uses) @ weights[used].square()
        similarity = similarity + dot / (norms[:n, None] * norms[n:]) / 2
    shared = 2 * common.sum(-1) / (ours + theirs)  # single words, from the last iteration
    similarity *= ((ours - theirs).square() / -72).exp()
    return ((shared + similarity) / 2).mean(1)
