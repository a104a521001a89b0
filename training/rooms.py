"""A teacher for the questions about DAQUAR's rooms.

A network trained on only 6,795 answers memorizes them. Kernel ridge regression on the same answers
has a unique solution and overfits less. It can answer each question about each room, so a network
trained to agree with it has 5 million examples.
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

RIDGE = 2.0  # chosen on the dev pictures, like the kernels
ROOM_ALONE = 0.1  # weight of the similarity of rooms, whatever the question
LEAST = 0.005  # smaller shares of an answer are noise of the regression
DIMENSIONS = 100  # of a word vector


class Teacher:
    """Kernel ridge regression from pairs of a question and a room to the shares of answers.

    The kernel is the similarity of the questions, times one plus the similarity of the rooms.
    """

    def __init__(
        self,
        questions: Sequence[str],
        rooms: Tensor,
        room_of_question: Sequence[int],
        shares: Tensor,
        texts: Sequence[str],
    ) -> None:
        """Fit the regression.

        Args:
            questions: As people asked them.
            rooms: (rooms, 1280), the pooled features of each room.
            room_of_question: The room of each question.
            shares: (questions, answers), the distribution of people's answers.
            texts: English texts for the word vectors.
        """
        unit = F.normalize(rooms, dim=1)
        unit = F.normalize(unit - unit.mean(0), dim=1)
        # (rooms, questions), the similarity of a room and a question's own room.
        self.room_similarity = unit @ unit[list(room_of_question)].mT
        # (questions, questions), 2 on the diagonal.
        self.question_similarity = _phrase_similarity(questions)
        self.question_similarity += _meaning_similarity(questions, texts)
        self.known = shares.any(0).nonzero()[:, 0]
        self.answers = shares.shape[1]
        kernel = self._kernel(torch.arange(len(questions)), torch.tensor(room_of_question))
        kernel.diagonal().add_(RIDGE)
        factor = torch.linalg.cholesky(kernel)
        self.weights = torch.cholesky_solve(shares[:, self.known], factor)

    def __call__(self, questions: Tensor, rooms: Tensor) -> Tensor:
        """Answer questions about rooms.

        Args:
            questions: (n,) int64, indices of the questions in `__init__`.
            rooms: (n,) int64, indices of the rooms in `__init__`.

        Returns:
            (n, answers), the share of each answer.
        """
        found = (self._kernel(questions, rooms) @ self.weights - LEAST).relu()
        shares = found.new_zeros(len(found), self.answers)
        shares[:, self.known] = found / found.sum(1, keepdim=True)
        return shares

    def _kernel(self, questions: Tensor, rooms: Tensor) -> Tensor:
        by_room = self.room_similarity[rooms]
        return self.question_similarity[questions] * (1 + by_room) + ROOM_ALONE * by_room


def stems(text: str) -> list[str]:
    """Return the words of a question without the plural's "s"."""
    return [stem(word) for word in split_question(text)]


def stem(word: str) -> str:
    """Return a word without the plural's "s"."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word


def _phrases(text: str) -> Counter[Hashable]:
    """Count words, pairs, triples, and pairs with a gap; with marks for start and end."""
    words = stems(text)
    ends = ["<", *words, ">"]
    threes = list(zip(ends[:-2], words, ends[2:], strict=True))
    gaps = [(first, None, third) for first, _, third in threes]
    return Counter([*words, *pairwise(ends), *threes, *gaps])


def _phrase_similarity(questions: Sequence[str]) -> Tensor:
    """Return the cosine of the questions' phrases, weighted by rarity, (n, n)."""
    found = [_phrases(text) for text in questions]
    frequency = Counter(phrase for phrases in found for phrase in phrases)
    index = {phrase: i for i, phrase in enumerate(frequency)}
    rows, columns, counts = zip(
        *(
            (i, index[phrase], math.sqrt(count * _rarity(frequency[phrase], len(found))))
            for i, phrases in enumerate(found)
            for phrase, count in phrases.items()
        ),
        strict=True,
    )
    table = sparse.csr_matrix((counts, (rows, columns)), dtype=np.float32)
    return _cosines(torch.from_numpy((table @ table.T).toarray()))


def _meaning_similarity(questions: Sequence[str], texts: Sequence[str]) -> Tensor:
    """Return the cosine of the questions' mean word vectors, (n, n)."""
    words = [split_question(text) for text in questions]
    frequency = Counter(word for found in words for word in set(found))
    vectors = {
        word: math.sqrt(_rarity(frequency[word] + 1, len(words))) * vector
        for word, vector in _word_vectors([split_question(text) for text in texts]).items()
    }
    means = np.stack([sum(vectors[word] for word in found) for found in words]).astype(np.float32)
    means -= means.mean(0)
    return _cosines(torch.from_numpy(means @ means.T))


def _rarity(count: int, total: int) -> float:
    return math.log(1 + total / count)


def _cosines(products: Tensor) -> Tensor:
    size = products.diagonal().sqrt()
    return products / size / size[:, None]


def _word_vectors(texts: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Return word vectors: the SVD of positive pointwise mutual information with nearby words.

    Words that occur once get zeros.
    """
    frequency = Counter(word for words in texts for word in words)
    index = {word: i for i, word in enumerate(w for w, count in frequency.items() if count > 1)}
    together: Counter[tuple[int, int]] = Counter()
    for words in texts:
        known = [index[word] for word in words if word in index]
        for i, word in enumerate(known):
            for distance, other in enumerate(known[i + 1 : i + 6], 1):
                together[word, other] += 1 / distance
    rows, columns = np.array(list(together)).T
    shape = (len(index), len(index))
    table = sparse.csr_matrix((list(together.values()), (rows, columns)), shape=shape)
    table = (table + table.T).tocoo()
    each = np.asarray(table.sum(1)).ravel() + 1
    # The power 0.75 reduces the weight of rare neighbours, as in word2vec.
    context = each**0.75 / (each**0.75).sum()
    table.data = np.log(table.data / each[table.row] / context[table.col]).clip(0)
    left, strength, _ = svds(table, DIMENSIONS, v0=np.ones(len(index)))
    vectors = left * np.sqrt(strength)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6
    zeros = np.zeros(DIMENSIONS)
    return {word: vectors[index[word]] if word in index else zeros for word in frequency}
