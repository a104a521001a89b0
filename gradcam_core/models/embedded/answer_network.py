"""The networks of the embedded answerers: question and feature map -> the logit of each answer.

`VqaNetwork` is the baseline "deeper LSTM Q + norm I" (Antol et al., "VQA: Visual Question
Answering", ICCV 2015): a two-layer LSTM reads the question; the pooled, normalised feature map is
the picture; the two are multiplied, and a linear layer scores the answers. For a given question
the product is linear in the normalised picture, so its gradient does not saturate.

Added to it is what the CNN's own classifier knows, its 1000 classes summed into everyday words
("dog" has 121 of them). The question decides how much that counts: for the words as answers
("what is this?"), and for "yes" and "no" where the question has such a word ("is there a dog?").
The question alone decides the kind of answer (yes or no, a number, a colour, another).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from gradcam_core.models.embedded.everyday import synonyms
from gradcam_core.models.embedded.question import UNKNOWN


class AnswerLayer(nn.Module):
    """Scores every answer, given the encoded question and what it selects from the picture.

    The sum of five terms: the product of question and picture; the question alone; the
    log-probability of the answer's kind given the question (nobody answers "is it raining?" with a
    colour); what the CNN's classifier knows of everyday words; and whether the question contains
    the answer ("a cat or a dog?"). The question decides the weights of the last two.

    Attributes:
        answer_kinds: (answers,) int64, the kind of each answer.
    """

    answer_kinds: Tensor
    _word_of_class: Tensor  # (classes,), the everyday word of each class
    _everyday_answers: Tensor  # (answers that are everyday words, 2), the answer and the word
    _question_words: Tensor  # (answers,), the question word that each answer is, or `UNKNOWN`
    _everyday: Tensor  # (question words, everyday words), 1 where the two are the same

    def __init__(
        self,
        words: Sequence[str],
        answers: Mapping[str, Sequence[str]],
        everyday: Mapping[str, Sequence[int]],
        classifier: nn.Linear,
        width: int,
    ) -> None:
        """Build the layer with random weights; see `VqaNetwork`."""
        super().__init__()
        listed = [answer for group in answers.values() for answer in group]
        self.answer = nn.Linear(width, len(listed))
        self.prior = nn.Linear(width, len(listed), bias=False)
        self.kind = nn.Linear(width, len(answers))
        self.naming = nn.Linear(width, 1)
        self.asking = nn.Linear(width, 1)
        self.repeating = nn.Linear(width, 1)
        # In a tuple, so that it is not among the parameters: the CNN shares it.
        self._classifier = (classifier,)
        self._yes_no = [listed.index("yes"), listed.index("no")]
        column = {word: i for i, word in enumerate(everyday)}
        word_of_class = {c: column[word] for word, classes in everyday.items() for c in classes}
        same = torch.zeros(len(words), len(column))
        for i, word in enumerate(words):
            for name in (word, *synonyms(word)):
                if name in column:
                    same[i, column[name]] = 1
        index = {word: i for i, word in enumerate(words)}
        for name, table in (
            ("_word_of_class", [word_of_class[c] for c in range(classifier.out_features)]),
            ("_everyday_answers", [(i, column[a]) for i, a in enumerate(listed) if a in column]),
            ("answer_kinds", [i for i, group in enumerate(answers.values()) for _ in group]),
            ("_question_words", [index.get(answer, UNKNOWN) for answer in listed]),
        ):
            self.register_buffer(name, torch.tensor(table), persistent=False)
        self.register_buffer("_everyday", same, persistent=False)

    def forward(
        self,
        encoded: Tensor,
        fused: Tensor,
        pooled: Tensor,
        questions: Sequence[Tensor],
        which: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Score the answers.

        Args:
            encoded: (n, width), the question of each row, from `AnswerNetwork.read`.
            fused: (n, width), question and picture combined; zeros without a picture.
            pooled, questions, which: See `VqaNetwork.forward`.

        Returns:
            (n, answers) logits; and (n, kinds), the log-probability of each kind of answer, which
            is one term of them.
        """
        logits = self.answer(fused) + self.prior(F.dropout(encoded, 0.5, self.training))
        known, odds = self._classified(pooled, questions, which)
        answers, words = self._everyday_answers.mT
        logits = logits.index_add(1, answers, self.naming(encoded) * known[:, words])
        sides = self.asking(encoded) * odds[:, None] * torch.tensor([1.0, -1.0])
        logits = logits.index_add(1, torch.tensor(self._yes_no), sides)
        logits = logits + self.repeating(encoded) * self.repeated(questions)[which]
        kinds = self.kind(encoded).log_softmax(1)
        return logits + kinds[:, self.answer_kinds], kinds

    def repeated(self, questions: Sequence[Tensor]) -> Tensor:
        """Return whether each question contains each answer: (questions, answers), 0 or 1."""
        contained = torch.zeros(len(questions), len(self._everyday))
        for row, question in zip(contained, questions, strict=True):
            row[question] = 1
        contained[:, UNKNOWN] = 0
        return contained[:, self._question_words]

    def _classified(
        self, pooled: Tensor, questions: Sequence[Tensor], which: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what the CNN's classifier knows of everyday words.

        Returns:
            The log-probability of each word, (n, words); and the log odds of the everyday words in
            the question, (n,), within +-14. Both are 0 without a picture, and the log odds where
            the question has no such word.
        """
        classes = self._classifier[0](pooled).softmax(1)
        words = classes.new_zeros(len(pooled), self._everyday.shape[1])
        words = words.index_add(1, self._word_of_class, classes)
        known = torch.stack([self._everyday[question].amax(0) for question in questions])[which]
        probability = (words * known).sum(1)
        odds = (probability + 1e-6).log() - (1 - probability + 1e-6).log()
        sighted = pooled.detach().any(1)
        # The small number keeps the logarithm finite where float32 rounds to zero.
        return (words + 1e-30).log() * sighted[:, None], odds * known.amax(1) * sighted


class Reading(NamedTuple):
    """n questions after the LSTM, the longest of `length` words.

    Attributes:
        whole: (n, width) in -1..1, each question as a whole, from the last LSTM states.
        words: (n, length, embedding), the vector of each word.
        so_far: (n, length, hidden), the LSTM's output after each word.
        present: (n, length) bool, False where a question is padded.
    """

    whole: Tensor
    words: Tensor
    so_far: Tensor
    present: Tensor


class AnswerNetwork(nn.Module, ABC):
    """Reads questions with a two-layer LSTM; the base of both answer networks."""

    def __init__(self, words: Sequence[str], width: int, hidden: int, embedding: int) -> None:
        """Build the reader with random weights.

        Args:
            words: The words of questions in order; the one at `UNKNOWN` stands for all others.
            width: Size of the vector of a whole question.
            hidden: Size of each LSTM layer.
            embedding: Size of a word's vector.
        """
        super().__init__()
        self.embedding = nn.Embedding(len(words), embedding)
        self.lstm = nn.LSTM(embedding, hidden, num_layers=2, batch_first=True)
        self.question = nn.Linear(4 * hidden, width)

    def read(self, questions: Sequence[Tensor]) -> Reading:
        """Read questions, each as its words' indices (length,) int64, length >= 1."""
        lengths = torch.tensor([len(question) for question in questions])
        words = self.embedding(pad_sequence(list(questions), batch_first=True))
        packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
        states, (output, cell) = self.lstm(packed)
        so_far, _ = pad_packed_sequence(states, batch_first=True)
        whole = self.question(torch.cat([*output, *cell], dim=1)).tanh()
        return Reading(whole, words, so_far, torch.arange(words.shape[1]) < lengths[:, None])

    @abstractmethod
    def picture_vectors(self, maps: Tensor) -> Tensor:
        """Return feature maps (n, C, h, w) as vectors for `forward`; the pooled map comes first."""


class VqaNetwork(AnswerNetwork):
    """Scores every answer from the pooled feature map and the question."""

    def __init__(
        self,
        words: Sequence[str],
        answers: Mapping[str, Sequence[str]],
        everyday: Mapping[str, Sequence[int]],
        classifier: nn.Linear,
        width: int = 512,
        hidden: int = 160,
        embedding: int = 128,
    ) -> None:
        """Build the network with random weights.

        Args:
            words, width, hidden, embedding: See `AnswerNetwork`; `width` is also the size of the
                product of question and picture.
            answers: Kind -> its answers, all in order; "yes" and "no" among them.
            everyday: Word -> ImageNet classes, as from `everyday_words`.
            classifier: The CNN's own layer 1280 -> 1000; frozen and not saved.
        """
        super().__init__(words, width, hidden, embedding)
        self.picture = nn.Linear(classifier.in_features, width, bias=False)
        self.answers = AnswerLayer(words, answers, everyday, classifier, width)

    def picture_vectors(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3))

    def forward(
        self, pooled: Tensor, questions: Sequence[Tensor], which: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score the answers.

        Args:
            pooled: (n, 1280), means over the map after ReLU6; zeros for no picture.
            questions: Word indices of each question, (length,) int64, length >= 1.
            which: (n,) int64, the question of each row.

        Returns:
            (n, answers) logits, differentiable in `pooled`; and (n, kinds), the log-probability
            of each kind of answer, which depends on the question only.
        """
        encoded = self.read(questions).whole[which]
        normalised = F.normalize(pooled, dim=1) * pooled.shape[1] ** 0.5
        seen = self.picture(F.dropout(normalised, 0.4, self.training))
        fused = F.dropout(encoded * seen, 0.5, self.training)
        return self.answers(encoded, fused, pooled, questions, which)
