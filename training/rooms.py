"""A teacher for the questions about DAQUAR's rooms, which are few.

A head trained on 6,795 answers learns them by heart, what it makes of the rooms included. Kernel
ridge regression on the same answers does not: it has one solution, and overfits less. It answers
any of the questions about any of the rooms, so a head that is to agree with it on random pairs
of the two has 5 million examples.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import svds
from torch import Tensor
from torch.nn import functional as F

from gradcam_core.models.embedded.question import split_question

RIDGE = 2.0  # chosen on the dev pictures, as are the kernels
ROOM_ALONE = 0.1  # what rooms alike tell whatever is asked
LEAST = 0.005  # share of an answer; what is below is the regression's noise
SENSES = 100  # dimensions of a word's vector


class Teacher:
    """Kernel ridge regression from pairs of a question and a room to the shares of answers.

    Two pairs are as alike as their questions, times one plus the likeness of their rooms.
    """

    def __init__(
        self,
        questions: Sequence[str],
        rooms: Tensor,
        of_question: Sequence[int],
        shares: Tensor,
        texts: Sequence[str],
    ) -> None:
        """Fit it.

        Args:
            questions: As people asked them.
            rooms: (rooms, 1280), the pooled features of each room.
            of_question: The room of each question.
            shares: (questions, answers), what people answered.
            texts: English with the words of the questions, to learn which are used alike.
        """
        unit = F.normalize(rooms, dim=1)
        unit = F.normalize(unit - unit.mean(0), dim=1)
        # (rooms, questions), how alike a room is to that of a question.
        self.near = unit @ unit[list(of_question)].mT
        # (questions, questions), 1 + 1 on the diagonal.
        self.alike = _same_phrases(questions) + _same_senses(questions, texts)
        self.known = shares.any(0).nonzero()[:, 0]
        self.answers = shares.shape[1]
        kernel = self._kernel(torch.arange(len(questions)), torch.tensor(of_question))
        kernel.diagonal().add_(RIDGE)
        factor = torch.linalg.cholesky(kernel)
        self.weights = torch.cholesky_solve(shares[:, self.known], factor)

    def __call__(self, questions: Tensor, rooms: Tensor) -> Tensor:
        """Answer some of the questions about any rooms.

        Args:
            questions: (n,) int64, places in the list that it was fitted to.
            rooms: (n,) int64, places in the rooms that it was fitted to.

        Returns:
            (n, answers), the share of each answer.
        """
        found = (self._kernel(questions, rooms) @ self.weights - LEAST).relu()
        shares = found.new_zeros(len(found), self.answers)
        shares[:, self.known] = found / found.sum(1, keepdim=True)
        return shares

    def _kernel(self, questions: Tensor, rooms: Tensor) -> Tensor:
        near = self.near[rooms]
        return self.alike[questions] * (1 + near) + ROOM_ALONE * near


def stems(text: str) -> list[str]:
    """The words of a question without the plural's "s"."""
    return [stem(word) for word in split_question(text)]


def stem(word: str) -> str:
    """A word without the plural's "s"."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word


def _phrases(text: str) -> Counter[Hashable]:
    """Words, neighbours, three in a row and two with a gap; the ends of the question count."""
    words = stems(text)
    ends = ["<", *words, ">"]
    threes = list(zip(ends[:-2], words, ends[2:], strict=True))
    gaps = [(first, None, third) for first, _, third in threes]
    return Counter([*words, *pairwise(ends), *threes, *gaps])


def _same_phrases(questions: Sequence[str]) -> Tensor:
    """Cosine of what phrases the questions have, the rare ones counting more: (n, n)."""
    found = [_phrases(text) for text in questions]
    common = Counter(phrase for phrases in found for phrase in phrases)
    place = {phrase: i for i, phrase in enumerate(common)}
    rows, columns, counts = zip(
        *(
            (i, place[phrase], math.sqrt(count * _rarity(common[phrase], len(found))))
            for i, phrases in enumerate(found)
            for phrase, count in phrases.items()
        ),
        strict=True,
    )
    table = sparse.csr_matrix((counts, (rows, columns)), dtype=np.float32)
    return _cosines(torch.from_numpy((table @ table.T).toarray()))


def _same_senses(questions: Sequence[str], texts: Sequence[str]) -> Tensor:
    """Cosine of the questions' mean word vectors: (n, n)."""
    words = [split_question(text) for text in questions]
    common = Counter(word for found in words for word in set(found))
    senses = _senses([split_question(text) for text in texts])
    means = np.stack(
        [
            sum(math.sqrt(_rarity(common[word] + 1, len(words))) * senses[word] for word in found)
            for found in words
        ]
    ).astype(np.float32)
    means -= means.mean(0)
    return _cosines(torch.from_numpy(means @ means.T))


def _rarity(count: int, total: int) -> float:
    return math.log(1 + total / count)


def _cosines(products: Tensor) -> Tensor:
    size = products.diagonal().sqrt()
    return products / size / size[:, None]


def _senses(texts: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """A vector of each word by the words near it: positive mutual information, then its SVD.

    Words that come once get zeros.
    """
    common = Counter(word for words in texts for word in words)
    place = {word: i for i, word in enumerate(w for w, count in common.items() if count > 1)}
    near: Counter[tuple[int, int]] = Counter()
    for words in texts:
        known = [place[word] for word in words if word in place]
        for i, word in enumerate(known):
            for distance, other in enumerate(known[i + 1 : i + 6], 1):
                near[word, other] += 1 / distance
    rows, columns = np.array(list(near)).T
    shape = (len(place), len(place))
    table = sparse.csr_matrix((list(near.values()), (rows, columns)), shape=shape)
    table = (table + table.T).tocoo()
    each = np.asarray(table.sum(1)).ravel() + 1
    # To the power of 0.75: rare neighbours would count too much (as in word2vec).
    context = each**0.75 / (each**0.75).sum()
    table.data = np.log(table.data / each[table.row] / context[table.col]).clip(0)
    left, strength, _ = svds(table, SENSES, v0=np.ones(len(place)))
    vectors = left * np.sqrt(strength)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6
    return {word: vectors[place[word]] if word in place else np.zeros(SENSES) for word in common}
