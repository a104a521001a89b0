"""Synthetic features: for captions without a picture, and for classes without a photo.

The pooled features of a picture are modelled as a mean, plus a direction for each word, scaled by
the share of captions with that word, plus a residual. The directions are fitted to pictures with
captions by ridge regression. For words that stand for ImageNet classes, the regression starts from
the classifier's weights. The features for some captions are then the sum of their words' directions
and the residual of a random real picture, which makes them as noisy as real ones.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

RIDGE = 15.0
LEAST = 15  # pictures whose captions must have a word
# Ranges of uniform random factors:
PUSH = (0.7, 2.2)  # of the direction of a picture's class
SHOWN = (0.0, 2.2)  # of the direction of a word in the captions
DISTRACTION = (0.0, 0.5)  # of the direction of something that no caption mentions
BESIDE = (-1.0, 1.5)  # of the direction of a word for the surroundings; negative ones become 0
REACH = 4.0  # length of the direction of a class


def shares(captions: Sequence[Sequence[Sequence[str]]], words: Mapping[str, int]) -> Tensor:
    """Return the share of each picture's captions with each word, (pictures, words)."""
    found = torch.zeros(len(captions), len(words))
    for row, written in enumerate(captions):
        for word, n in Counter(w for caption in written for w in set(caption)).items():
            if word in words:
                found[row, words[word]] = n / len(written)
    return found


class FeatureSynthesizer:
    """Fitted to real pictures with captions; synthesizes the features of others."""

    def __init__(
        self,
        pooled: Tensor,
        captions: Sequence[Sequence[Sequence[str]]],
        others: Sequence[Sequence[Sequence[str]]],
        directions: Mapping[str, Tensor],
        distractions: Tensor,
    ) -> None:
        """Fit the words' directions.

        Args:
            pooled: (n, 1280), features of real pictures.
            captions: Of these, split into words.
            others: Captions of pictures to be synthesized; their words get directions too.
            directions: Everyday word -> (1280,), where the regression starts.
            distractions: (m, 1280), directions of classes that real pictures resemble by mistake.
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
        self.mean = pooled.mean(0)
        used = shares(captions, self.words)
        self.used_mean = used.mean(0)
        used = used - self.used_mean
        residual = pooled - self.mean - used @ start
        gram = used.T @ used
        gram.diagonal().add_(RIDGE)
        self.directions = start + torch.linalg.solve(gram, used.T @ residual)
        self.residuals = pooled - self.mean - used @ self.directions

    def __call__(self, captions: Sequence[Sequence[Sequence[str]]]) -> Tensor:
        """Synthesize features (n, 1280), >= 0, of a picture for each group of captions."""
        used = shares(captions, self.words)
        used = used * torch.empty_like(used).uniform_(*SHOWN) - self.used_mean
        factor = torch.empty(len(used), 1).uniform_(*DISTRACTION)
        chosen = torch.randint(len(self.distractions), (len(used),))
        seen = self.mean + used @ self.directions + factor * self.distractions[chosen]
        return (seen + self._random_residuals(len(used))).relu()

    def push(self, directions: Tensor, beside: Sequence[Sequence[str]]) -> Tensor:
        """Synthesize features (n, 1280) of pictures of given classes.

        Args:
            directions: (n, 1280), of each picture's class.
            beside: Words for each picture's surroundings, such as "grass"; each counts with a
                random factor that may be 0.
        """
        nothing = self.mean - self.used_mean @ self.directions
        factor = torch.empty(len(directions), 1).uniform_(*PUSH)
        used = shares([[words] for words in beside], self.words)
        used = used * torch.empty_like(used).uniform_(*BESIDE).clamp(min=0)
        around = used @ self.directions
        residuals = self._random_residuals(len(directions))
        return (nothing + factor * directions + around + residuals).relu()

    def _random_residuals(self, n: int) -> Tensor:
        return self.residuals[torch.randint(len(self.residuals), (n,))]


def class_directions(weights: Tensor) -> Tensor:
    """Return the direction of each class from the mean picture, (1000, 1280), length `REACH`."""
    return REACH * F.normalize(weights - weights.mean(0), dim=1)
