"""Features of pictures that are not there: of captions alone, and of classes without a photo.

The pooled features of a picture are taken to be a mean, plus a direction for each word, as much
of it as people use the word, plus a rest that is the picture's own. The directions are learned
from described pictures (ridge regression); where a word stands for classes of ImageNet, from those
of the classifier's weights that speak for these. A picture for some captions is then imagined as
their words' directions with the rest of a random real picture: as noisy as real ones are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

RIDGE = 15.0
LEAST = 15  # pictures that a word must be used of
PUSH = (0.7, 2.2)  # how far a picture of a class alone is, in `REACH`
SHOWN = (0.0, 2.2)  # how large a thing that is spoken of may be, beside the mean
MISTAKEN = (0.0, 0.5)  # how far a picture is from the middle towards what nobody speaks of
BESIDE = (-1.0, 1.5)  # how far a picture of a class has what is beside it; below 0 not at all
REACH = 4.0  # length of the direction of a class of which the picture is full


def shares(captions: Sequence[Sequence[Sequence[str]]], words: Mapping[str, int]) -> Tensor:
    """How many of a picture's captions use each word, as shares: (pictures, words)."""
    found = torch.zeros(len(captions), len(words))
    for row, written in enumerate(captions):
        for word, n in Counter(w for caption in written for w in set(caption)).items():
            if word in words:
                found[row, words[word]] = n / len(written)
    return found


class Imagination:
    """Fitted to real pictures; imagines the features of others."""

    def __init__(
        self,
        pooled: Tensor,
        captions: Sequence[Sequence[Sequence[str]]],
        others: Sequence[Sequence[Sequence[str]]],
        directions: Mapping[str, Tensor],
        distractions: Tensor,
    ) -> None:
        """Learn the words' directions.

        Args:
            pooled: (n, 1280), features of real pictures.
            captions: Of these, split into words.
            others: Captions of pictures to be imagined; their words are learned too.
            directions: Everyday word -> (1280,), what to start from.
            distractions: (m, 1280), what real pictures resemble by mistake.
        """
        spread = Counter(
            word
            for written in [*captions, *others]
            for word in {w for caption in written for w in caption}
        )
        names = [word for word, n in spread.items() if n >= LEAST or word in directions]
        self.words = {word: i for i, word in enumerate(names)}
        start = torch.stack([directions.get(word, torch.zeros(1280)) for word in names])
        self.distractions = distractions
        self.middle = pooled.mean(0)
        used = shares(captions, self.words)
        self.used_mean = used.mean(0)
        used = used - self.used_mean
        rest = pooled - self.middle - used @ start
        gram = used.T @ used
        gram.diagonal().add_(RIDGE)
        self.directions = start + torch.linalg.solve(gram, used.T @ rest)
        self.rests = pooled - self.middle - used @ self.directions

    def __call__(self, captions: Sequence[Sequence[Sequence[str]]]) -> Tensor:
        """Imagine the features of a picture for each group of captions: (n, 1280), 0 and more."""
        used = shares(captions, self.words)
        used = used * torch.empty_like(used).uniform_(*SHOWN) - self.used_mean
        far = torch.empty(len(used), 1).uniform_(*MISTAKEN)
        mistaken = far * self.distractions[torch.randint(len(self.distractions), (len(used),))]
        seen = self.middle + used @ self.directions + mistaken
        return (seen + self._rests(len(used))).relu()

    def push(self, directions: Tensor, beside: Sequence[Sequence[str]]) -> Tensor:
        """Imagine pictures of what directions (n, 1280) lead to, with what some words speak of.

        Args:
            directions: Of the thing that fills each picture.
            beside: For each picture words that people would use of the rest of it, such as
                "grass"; each shows as much as chance has it, or not at all.
        """
        nothing = self.middle - self.used_mean @ self.directions
        far = torch.empty(len(directions), 1).uniform_(*PUSH)
        used = shares([[words] for words in beside], self.words)
        used = used * torch.empty_like(used).uniform_(*BESIDE).clamp(min=0)
        around = used @ self.directions
        return (nothing + far * directions + around + self._rests(len(directions))).relu()

    def _rests(self, n: int) -> Tensor:
        return self.rests[torch.randint(len(self.rests), (n,))]


def class_directions(weights: Tensor) -> Tensor:
    """(1000, 1280): where pictures of a class lie from the middle of all, of length `REACH`."""
    return REACH * F.normalize(weights - weights.mean(0), dim=1)
