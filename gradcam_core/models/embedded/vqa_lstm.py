"""The embedded question answering model: CNN + LSTM, as the paper's section 8.2 explains it.

The baseline "deeper LSTM Q + norm I" (Antol et al., "VQA: Visual Question Answering", ICCV
2015): a two-layer LSTM reads the question, the pooled and normalised feature map is the
picture, the two are multiplied, and a linear layer scores the answers. For a given question
the product is linear in the normalised picture, so its gradient does not fade.

To it is added what the CNN's own classifier knows, its 1000 classes summed into everyday words
("dog" is 121 of them). How much that counts is read from the question: for the words as answers
("what is this?"), and for "yes" and "no" where the question has such a word ("is there a dog?").
What kind of answer is meant (yes or no, a number, a colour, another) the question decides alone.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import LabelModel, Target
from gradcam_core.models.embedded.lite import lite_backbone, lite_classifier_layer
from gradcam_core.models.labels import check_length, indices

MAX_WORDS = 40
MAX_CHARACTERS = 1000
UNKNOWN = 0

WEIGHTS = Path(__file__).parent / "weights"


def read_question(question: str | None) -> list[str]:
    """Split a question into the words that the model reads: lower case, no punctuation.

    Raises:
        ValueError: There is no question, or it has more than `MAX_WORDS` words or
            `MAX_CHARACTERS` characters.
    """
    check_length(question or "", "question", MAX_CHARACTERS)
    text = (question or "").casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words = re.findall(r"[^\W_]+", re.sub(r"'s\b", " is", text))
    if not words:
        raise ValueError("Ask a question about the picture, such as 'What animal is this?'.")
    if len(words) > MAX_WORDS:
        raise ValueError(
            f"The question has {len(words)} words; the model reads at most {MAX_WORDS}."
        )
    return words


def everyday_words() -> dict[str, list[int]]:
    """Everyday words and the ImageNet classes each stands for; every class has exactly one."""
    table = json.loads((WEIGHTS / "lite0-vqa-everyday.json").read_text(encoding="utf-8"))
    return {word: indices(ranges) for word, ranges in table.items()}


class Vocabulary(NamedTuple):
    """What a head reads and says, and how sure it may be.

    Attributes:
        words: The words of questions by index; the one at `UNKNOWN` stands for all others.
        answers: Kind -> its answers, all by index.
        temperature: What logits are divided by to become probabilities; measured.
        unsure_below: An answer with a smaller probability is more often wrong than right.
    """

    words: Sequence[str]
    answers: Mapping[str, Sequence[str]]
    temperature: float = 1.0
    unsure_below: float = 0.0


class AnswerLayer(nn.Module):
    """Scores every answer, given what was read of the question and seen in the picture.

    Five things add up: the product of the two; the question alone; how sure the question is of
    the kind of its answer (nobody answers "is it raining?" with a colour); what the backbone's own
    classifier knows of everyday words; and whether the question itself says the answer ("a cat or
    a dog?"). The last two count as much as the question asks for.
    """

    _classes: Tensor  # (classes,), the everyday word of each
    _named: Tensor  # (answers that are everyday words, 2), the answer and the word
    _kinds: Tensor  # (answers,), the kind of each
    _spoken: Tensor  # (answers,), the word of questions that it is, or `UNKNOWN`
    _asked: Tensor  # (words, everyday words), 1 where a word of questions is an everyday word

    def __init__(
        self,
        words: Sequence[str],
        answers: Mapping[str, Sequence[str]],
        everyday: Mapping[str, Sequence[int]],
        classifier: nn.Linear,
        width: int,
    ) -> None:
        """Build the layer with random weights; see `VqaHead`."""
        super().__init__()
        named = [answer for group in answers.values() for answer in group]
        self.answer = nn.Linear(width, len(named))
        self.prior = nn.Linear(width, len(named), bias=False)
        self.kind = nn.Linear(width, len(answers))
        self.naming = nn.Linear(width, 1)
        self.asking = nn.Linear(width, 1)
        self.repeating = nn.Linear(width, 1)
        # Not among the parameters: it is the backbone's, shared and frozen.
        self._classifier = (classifier,)
        self._yes_no = [named.index("yes"), named.index("no")]
        place = {word: i for i, word in enumerate(everyday)}
        place_of_class = {c: place[word] for word, classes in everyday.items() for c in classes}
        asked = torch.zeros(len(words), len(place))
        for i, word in enumerate(words):
            for name in (word, *also_typed(word)):
                if name in place:
                    asked[i, place[name]] = 1
        index = {word: i for i, word in enumerate(words)}
        for name, table in (
            ("_classes", [place_of_class[c] for c in range(classifier.out_features)]),
            ("_named", [(i, place[answer]) for i, answer in enumerate(named) if answer in place]),
            ("_kinds", [i for i, group in enumerate(answers.values()) for _ in group]),
            ("_spoken", [index.get(answer, UNKNOWN) for answer in named]),
        ):
            self.register_buffer(name, torch.tensor(table), persistent=False)
        self.register_buffer("_asked", asked, persistent=False)

    def forward(
        self,
        read: Tensor,
        fused: Tensor,
        pooled: Tensor,
        questions: Sequence[Tensor],
        which: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Score the answers.

        Args:
            read: (n, width), what was read of the questions.
            fused: (n, width), what was seen in the light of it; zeros without a picture.
            pooled, questions, which: As `VqaHead.forward` takes them.

        Returns:
            (n, answers) logits, and (n, kinds), the log-probability of each kind of answer, which
            is a part of them.
        """
        logits = self.answer(fused) + self.prior(F.dropout(read, 0.5, self.training))
        known, odds = self.everyday(pooled, questions, which)
        answers, words = self._named.mT
        logits = logits.index_add(1, answers, self.naming(read) * known[:, words])
        sides = self.asking(read) * odds[:, None] * torch.tensor([1.0, -1.0])
        logits = logits.index_add(1, torch.tensor(self._yes_no), sides)
        logits = logits + self.repeating(read) * self.repeated(questions)[which]
        kinds = self.kind(read).log_softmax(1)
        return logits + kinds[:, self._kinds], kinds

    def everyday(
        self, pooled: Tensor, questions: Sequence[Tensor], which: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the backbone's classifier knows of everyday words.

        Args:
            pooled, questions, which: As `VqaHead.forward` takes them.

        Returns:
            The log-probability of each word, (n, words), and the log odds of the question's own
            everyday words, (n,), within +-14; 0 where it has none, and without a picture.
        """
        classes = self._classifier[0](pooled).softmax(1)
        words = classes.new_zeros(len(pooled), self._asked.shape[1])
        words = words.index_add(1, self._classes, classes)
        asked = torch.stack([self._asked[question].amax(0) for question in questions])[which]
        among = (words * asked).sum(1)
        odds = (among + 1e-6).log() - (1 - among + 1e-6).log()
        sighted = pooled.detach().any(1)
        # The smallest number keeps the logarithm finite where float32 rounds to zero.
        return (words + 1e-30).log() * sighted[:, None], odds * asked.amax(1) * sighted

    def repeated(self, questions: Sequence[Tensor]) -> Tensor:
        """Which answers are a word of each question: (questions, answers), 0 or 1."""
        said = torch.zeros(len(questions), len(self._asked))
        for row, question in zip(said, questions, strict=True):
            row[question] = 1
        said[:, UNKNOWN] = 0
        return said[:, self._spoken]


class Reading(NamedTuple):
    """What was read of n questions, the longest of `length` words.

    Attributes:
        whole: (n, width), values in -1..1: the last states of both LSTM layers.
        words: (n, length, embedding), each word alone.
        so_far: (n, length, hidden), each with all words before it.
        there: (n, length) bool, where a question has a word.
    """

    whole: Tensor
    words: Tensor
    so_far: Tensor
    there: Tensor


class QuestionReader(nn.Module, ABC):
    """A head reads questions with a two-layer LSTM over the vectors of their words."""

    def __init__(self, words: Sequence[str], width: int, hidden: int, embedding: int) -> None:
        """Build it with random weights.

        Args:
            words: The words of questions in order, the one for unknown words included.
            width: Of what is read of a question as a whole.
            hidden: Of each of the two LSTM layers.
            embedding: Of a word.
        """
        super().__init__()
        self.embedding = nn.Embedding(len(words), embedding)
        self.lstm = nn.LSTM(embedding, hidden, num_layers=2, batch_first=True)
        self.question = nn.Linear(4 * hidden, width)

    def read(self, questions: Sequence[Tensor]) -> Reading:
        """Read questions, of each the word indices (length,) int64, length >= 1."""
        lengths = torch.tensor([len(question) for question in questions])
        words = self.embedding(pad_sequence(list(questions), batch_first=True))
        packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
        states, (output, cell) = self.lstm(packed)
        so_far, _ = pad_packed_sequence(states, batch_first=True)
        whole = self.question(torch.cat([*output, *cell], dim=1)).tanh()
        return Reading(whole, words, so_far, torch.arange(words.shape[1]) < lengths[:, None])

    @abstractmethod
    def look(self, features: Tensor) -> Tensor:
        """Return what the head looks at in maps (n, C, h, w), as its `forward` takes it."""


class VqaHead(QuestionReader):
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
        """Build the head with random weights.

        Args:
            words, width, hidden, embedding: As `QuestionReader` takes them; `width` is also that
                of the product of question and picture.
            answers: Kind -> its answers, all in order; "yes" and "no" among them.
            everyday: Word -> ImageNet classes, as from `everyday_words`.
            classifier: The backbone's own layer 1280 -> 1000; kept frozen, not saved.
        """
        super().__init__(words, width, hidden, embedding)
        self.picture = nn.Linear(classifier.in_features, width, bias=False)
        self.answers = AnswerLayer(words, answers, everyday, classifier, width)

    def look(self, features: Tensor) -> Tensor:
        """The map (n, C, h, w) as `forward` takes it: its mean."""
        return features.mean(dim=(2, 3))

    def forward(
        self, pooled: Tensor, questions: Sequence[Tensor], which: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score the answers.

        Args:
            pooled: (n, 1280), means over the map after ReLU6; zeros for no picture.
            questions: Word indices of each question, (length,) int64, length >= 1.
            which: (n,) int64, the question of each row.

        Returns:
            (n, answers) logits, differentiable in `pooled`, and (n, kinds), the log-probability
            that the answer is of each kind, which only the question decides.
        """
        read = self.read(questions).whole[which]
        normed = F.normalize(pooled, dim=1) * pooled.shape[1] ** 0.5
        seen = self.picture(F.dropout(normed, 0.4, self.training))
        fused = F.dropout(read * seen, 0.5, self.training)
        return self.answers(read, fused, pooled, questions, which)


class VqaLstm(LabelModel):
    """CNN + LSTM question answering; its score y^c is the logit of an answer."""

    task = "vqa"
    kind = "answer"

    def __init__(
        self, name: str, backbone: Backbone, head: QuestionReader, vocabulary: Vocabulary
    ) -> None:
        """Join a backbone and its head.

        Args:
            name: Name in the registry.
            backbone: The CNN; its last map has 1280 channels.
            head: With trained weights.
            vocabulary: Of the head.
        """
        answers = [answer for group in vocabulary.answers.values() for answer in group]
        super().__init__(name, backbone, [(answer, *also_typed(answer)) for answer in answers])
        self.head = head.eval().requires_grad_(False)
        self._indices = {word: i for i, word in enumerate(vocabulary.words)}
        self.temperature = vocabulary.temperature
        self.unsure_below = vocabulary.unsure_below

    def logits(self, features: Tensor, question: str | None) -> Tensor:
        looked = self.head.look(features.cpu())  # the head stays on the CPU
        which = torch.zeros(1, dtype=torch.long)
        logits, _ = self.head(looked, [self.encode_question(question)], which)
        return logits[0]

    def encode_question(self, question: str | None) -> Tensor:
        """Return the indices (length,) int64 of a question's words; `UNKNOWN` for a new one.

        Raises:
            ValueError: See `read_question`.
        """
        return torch.tensor([self._indices.get(word, UNKNOWN) for word in read_question(question)])

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities (len(self.labels),) of logits: measured, see `Vocabulary`."""
        return (logits / self.temperature).softmax(0)

    def target(
        self, text: str, question: str | None = None, encoded: Encoded | None = None
    ) -> Target:
        read_question(question)
        return super().target(text, question, encoded)

    def find(self, text: str) -> tuple[int, ...]:
        """Return the answers that a typed one fits best; see `LabelModel.find`."""
        return super().find(
            re.sub(r"^\s*(an?|the|some)[\s_]+(?=\S)", "", text, flags=re.IGNORECASE)
        )

    def unknown_words(self, question: str | None) -> list[str]:
        """Return the words of `question` that the model does not know, in order, each once.

        Raises:
            ValueError: See `read_question`.
        """
        words = dict.fromkeys(read_question(question))
        return [word for word in words if word not in self._indices]


_SAME = (
    ("gray", "grey"),
    ("sofa", "couch"),
    ("bicycle", "bike", "cycle"),
    ("motorcycle", "motorbike"),
    ("television", "tv"),
    ("refridgerator", "refrigerator", "fridge"),
    ("phone", "telephone", "mobile"),
    ("plane", "airplane", "aeroplane"),
    ("person", "people", "human"),
    ("child", "children", "kid"),
    ("man", "men", "guy"),
    ("woman", "women", "lady"),
    *zip(
        "0123456789",
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
        strict=True,
    ),
)


def also_typed(answer: str) -> list[str]:
    """Other words for an answer, its plural, and of a plural its singular."""
    names = [other for group in _SAME if answer in group for other in group if other != answer]
    if answer.isalpha() or " " in answer:
        names += [answer + "s", answer + "es"]
    if len(answer) > 3 and answer.endswith("s"):
        names.append(answer[:-1])
    return names


def read_weights(name: str, path: Path | None = None) -> tuple[dict[str, Tensor], Vocabulary]:
    """Read a head's weights, float32, and the vocabulary that lies beside them as JSON.

    Args:
        name: Of the model.
        path: Weights of another place than the package.
    """
    path = path or WEIGHTS / f"{name}.safetensors"
    vocabulary = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    weights = {key: tensor.float() for key, tensor in load_file(path).items()}
    return weights, Vocabulary(**vocabulary)


def load_lite_vqa(number: int, path: Path | None = None) -> VqaLstm:
    """Return the embedded question answerer on Lite0 or Lite2; training/vqa.py made its weights.

    Args:
        number: 0 or 2.
        path: Other weights; see `read_weights`.
    """
    name = f"lite{number}-vqa"
    weights, vocabulary = read_weights(name, path)
    everyday, classifier = everyday_words(), lite_classifier_layer(number)
    head = VqaHead(vocabulary.words, vocabulary.answers, everyday, classifier)
    head.load_state_dict(weights)
    return VqaLstm(name, lite_backbone(number), head, vocabulary)
