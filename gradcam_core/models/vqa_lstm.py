"""The embedded question answering model: CNN + LSTM, as the paper's section 8.2 explains it.

The baseline "deeper LSTM Q + norm I" (Antol et al., "VQA: Visual Question Answering", ICCV
2015): a two-layer LSTM reads the question, the pooled and normalised feature map is the
picture, the two are multiplied, and a linear layer scores the answers. For a given question
the product is linear in the normalised picture, so its gradient does not fade.

To it is added what the CNN's own classifier knows, its 1000 classes summed into everyday words
("dog" is 121 of them). How much that counts is read from the question: for the words as answers
("what is this?"), and for "yes" and "no" where the question has such a word ("is there a dog?").
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import LabelModel, Target
from gradcam_core.models.labels import check_length, indices
from gradcam_core.models.lite import lite_backbone, lite_classifier_layer

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


class VqaHead(nn.Module):
    """Scores every answer from the pooled feature map and the question."""

    def __init__(
        self,
        words: Sequence[str],
        answers: Sequence[str],
        everyday: Mapping[str, Sequence[int]],
        classifier: nn.Linear,
        width: int = 512,
        hidden: int = 160,
        embedding: int = 128,
    ) -> None:
        """Build the head with random weights.

        Args:
            words: The words of questions in order, the one for unknown words included.
            answers: The answers in order; "yes" and "no" among them.
            everyday: Word -> ImageNet classes, as from `everyday_words`.
            classifier: The backbone's own layer 1280 -> 1000; kept frozen, not saved.
            width: Of the product of question and picture.
            hidden: Of each of the two LSTM layers.
            embedding: Of a word.
        """
        super().__init__()
        self.embedding = nn.Embedding(len(words), embedding)
        self.lstm = nn.LSTM(embedding, hidden, num_layers=2, batch_first=True)
        self.question = nn.Linear(4 * hidden, width)
        self.picture = nn.Linear(classifier.in_features, width)
        self.answer = nn.Linear(width, len(answers))
        self.prior = nn.Linear(width, len(answers), bias=False)
        self.naming = nn.Linear(width, 1)
        self.asking = nn.Linear(width, 1)
        # Not among the parameters: it is the backbone's, shared and frozen.
        self._classifier = (classifier,)
        self._yes_no = [answers.index("yes"), answers.index("no")]
        place = {word: i for i, word in enumerate(everyday)}
        place_of_class = {c: place[word] for word, classes in everyday.items() for c in classes}
        named = [(i, place[answer]) for i, answer in enumerate(answers) if answer in place]
        asked = torch.zeros(len(words), len(place))
        for i, word in enumerate(words):
            for name in (word, *_also_typed(word)):
                if name in place:
                    asked[i, place[name]] = 1
        classes = torch.tensor([place_of_class[c] for c in range(classifier.out_features)])
        for name, table in (
            ("_classes", classes),
            ("_named", torch.tensor(named)),
            ("_asked", asked),
        ):
            self.register_buffer(name, table, persistent=False)

    def forward(self, pooled: Tensor, questions: Sequence[Tensor], which: Tensor) -> Tensor:
        """Score the answers.

        Args:
            pooled: (n, 1280), means over the map after ReLU6.
            questions: Word indices of each question, (length,) int64, length >= 1.
            which: (n,) int64, the question of each row.

        Returns:
            (n, answers) logits, differentiable in `pooled`.
        """
        read = self.read(questions)[which]
        normed = F.normalize(pooled, dim=1) * pooled.shape[1] ** 0.5
        seen = self.picture(F.dropout(normed, 0.4, self.training))
        fused = F.dropout(read * seen, 0.5, self.training)
        logits = self.answer(fused) + self.prior(F.dropout(read, 0.5, self.training))
        known, odds = self.everyday(pooled, questions, which)
        answers, words = self._named.T
        logits = logits.index_add(1, answers, self.naming(read) * known[:, words])
        sides = self.asking(read) * odds[:, None] * torch.tensor([1.0, -1.0])
        return logits.index_add(1, torch.tensor(self._yes_no), sides)

    def read(self, questions: Sequence[Tensor]) -> Tensor:
        """Encode questions as (n, width), values in -1..1: the last states of both layers."""
        lengths = torch.tensor([len(question) for question in questions])
        embedded = self.embedding(pad_sequence(list(questions), batch_first=True))
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        _, (output, cell) = self.lstm(packed)
        states = torch.cat([*output, *cell], dim=1)
        return self.question(states).tanh()

    def everyday(
        self, pooled: Tensor, questions: Sequence[Tensor], which: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the backbone's classifier knows of everyday words.

        Args:
            pooled, questions, which: As `forward` takes them.

        Returns:
            The log-probability of each word, (n, words), and the log odds of the question's own
            everyday words, (n,), within +-14; 0 where it has none.
        """
        classes = self._classifier[0](pooled).softmax(1)
        words = classes.new_zeros(len(pooled), self._asked.shape[1])
        words = words.index_add(1, self._classes, classes)
        asked = torch.stack([self._asked[question].amax(0) for question in questions])[which]
        among = (words * asked).sum(1)
        odds = (among + 1e-6).log() - (1 - among + 1e-6).log()
        # The smallest number keeps the logarithm finite where float32 rounds to zero.
        return (words + 1e-30).log(), odds * asked.amax(1)


class VqaLstm(LabelModel):
    """CNN + LSTM question answering; its score y^c is the logit of an answer."""

    task = "vqa"
    kind = "answer"

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        head: VqaHead,
        words: Sequence[str],
        answers: Sequence[str],
    ) -> None:
        """Join a backbone and its head.

        Args:
            name: Name in the registry.
            backbone: The CNN; its last map has 1280 channels.
            head: With trained weights.
            words: The words of questions by index; the one at `UNKNOWN` stands for all others.
            answers: The answers by index.
        """
        super().__init__(name, backbone, [(answer, *_also_typed(answer)) for answer in answers])
        self._head = head.eval().requires_grad_(False)
        self._indices = {word: i for i, word in enumerate(words)}

    def logits(self, features: Tensor, question: str | None) -> Tensor:
        indices = [self._indices.get(word, UNKNOWN) for word in read_question(question)]
        pooled = features.mean(dim=(2, 3)).cpu()  # the head stays on the CPU
        return self._head(pooled, [torch.tensor(indices)], torch.zeros(1, dtype=torch.long))[0]

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


def _also_typed(answer: str) -> list[str]:
    """Other words for an answer, its plural, and of a plural its singular."""
    names = [other for group in _SAME if answer in group for other in group if other != answer]
    if answer.isalpha() or " " in answer:
        names += [answer + "s", answer + "es"]
    if len(answer) > 3 and answer.endswith("s"):
        names.append(answer[:-1])
    return names


def load_lite_vqa(number: int, path: Path | None = None) -> VqaLstm:
    """Return the embedded question answerer on Lite0 or Lite2; training/vqa.py made its weights.

    Args:
        number: 0 or 2.
        path: Other weights; beside them the vocabulary, a JSON file of the same name.
    """
    name = f"lite{number}-vqa"
    path = path or WEIGHTS / f"{name}.safetensors"
    vocabulary = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    words, answers = vocabulary["words"], vocabulary["answers"]
    head = VqaHead(words, answers, everyday_words(), lite_classifier_layer(number))
    head.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return VqaLstm(name, lite_backbone(number), head, words, answers)
