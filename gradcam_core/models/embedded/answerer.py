"""The embedded answerers: lite0-vqa, lite2-vqa, and lite0-vqa-coattention."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import LabelHead, LabelModel, Prediction
from gradcam_core.models.embedded import WEIGHTS
from gradcam_core.models.embedded.answer_network import AnswerNetwork, VqaNetwork
from gradcam_core.models.embedded.coattention_network import CoattentionNetwork
from gradcam_core.models.embedded.everyday import everyday_words, synonyms
from gradcam_core.models.embedded.lite import lite_backbone, lite_classifier_layer
from gradcam_core.models.embedded.question import Question, parse_question


class Vocabulary(NamedTuple):
    """The words and answers of an answerer, and how far its probabilities can be trusted.

    Attributes:
        words: The words of questions by index; the one at `question.UNKNOWN` stands for all others.
        answers: Kind -> its answers, all by index.
        temperature: Logits are divided by it before the softmax; measured.
        unsure_below: Answers with a smaller probability are more often wrong than right.
    """

    words: Sequence[str]
    answers: Mapping[str, Sequence[str]]
    temperature: float = 1.0
    unsure_below: float = 0.0


class VqaLstm(LabelModel):
    """CNN + LSTM question answering; its score y^c is the logit of an answer."""

    task = "vqa"
    kind = "answer"

    def __init__(
        self, name: str, backbone: Backbone, network: AnswerNetwork, vocabulary: Vocabulary
    ) -> None:
        """Join a backbone and its answer network.

        Args:
            name: Name in the registry.
            backbone: The CNN; its last map has 1280 channels.
            network: Trained.
            vocabulary: Of the network.
        """
        answers = [answer for group in vocabulary.answers.values() for answer in group]
        super().__init__(name, backbone, [(answer, *synonyms(answer)) for answer in answers])
        self.network = network.eval().requires_grad_(False)
        self.temperature = vocabulary.temperature
        self.unsure_below = vocabulary.unsure_below
        self._word_indices = {word: i for i, word in enumerate(vocabulary.words)}

    def bind(self, encoded: Encoded, question: str | None = None) -> "AnswerHead":
        return AnswerHead(self, encoded, question)

    def parse(self, question: str | None) -> Question:
        """Parse a question.

        Raises:
            ValueError: See `question.split_question`.
        """
        return parse_question(question, self._word_indices)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the calibrated probabilities (len(labels),) of logits; see `Vocabulary`."""
        return (logits / self.temperature).softmax(0)

    def find(self, text: str) -> tuple[int, ...]:
        """Return the answers that a typed text fits best; see `LabelModel.find`."""
        return super().find(
            re.sub(r"^\s*(an?|the|some)[\s_]+(?=\S)", "", text, flags=re.IGNORECASE)
        )


_NOT_LEARNED = re.compile(
    r"\b(how many|number of|count|where|left|right|above|below|behind|front of|next to|between)\b",
    re.IGNORECASE,
)


class AnswerHead(LabelHead):
    """An answerer looking at one picture, with one question."""

    model: VqaLstm

    def __init__(self, model: VqaLstm, encoded: Encoded, question: str | None) -> None:
        """Parse the question; see `Head`.

        Raises:
            ValueError: See `question.split_question`.
        """
        self.question_ids, unknown_words = model.parse(question)
        super().__init__(model, encoded, question, unknown_words)

    def compute_logits(self, head_input: Any) -> Tensor:
        network = self.model.network
        picture = network.picture_vectors(head_input.cpu())  # the network stays on the CPU
        logits, _ = network(picture, [self.question_ids], torch.zeros(1, dtype=torch.long))
        return logits[0]

    def is_guess(self, prediction: Prediction) -> bool:
        """It learned neither to count nor to locate: such an answer is a guess, however likely."""
        return super().is_guess(prediction) or bool(_NOT_LEARNED.search(self.question or ""))


class VqaCoattention(VqaLstm):
    """Question answering by co-attention; its score y^c is the logit of an answer."""

    attends = True
    network: CoattentionNetwork

    def bind(self, encoded: Encoded, question: str | None = None) -> "CoattentionHead":
        return CoattentionHead(self, encoded, question)


class CoattentionHead(AnswerHead):
    """A co-attention answerer looking at one picture, with one question."""

    model: VqaCoattention

    @torch.no_grad()
    def attention(self) -> Tensor:
        """Return where the network itself attends for the question, whatever the answer.

        Returns:
            (h, w) float32 of the last feature map, the mean over the three levels; sums to 1.
        """
        network, maps = self.model.network, self.encoded.head_input
        levels = network.attention(network.picture_vectors(maps.cpu()), self.question_ids)
        return levels.mean(0).view(maps.shape[2:])


def read_weights(name: str, path: Path | None = None) -> tuple[dict[str, Tensor], Vocabulary]:
    """Read the weights of an answer network, as float32, and its vocabulary.

    Args:
        name: Of the model.
        path: Other weights than those of the package; with a JSON file for the vocabulary.
    """
    path = path or WEIGHTS / f"{name}.safetensors"
    vocabulary = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    weights = {key: tensor.float() for key, tensor in load_file(path).items()}
    return weights, Vocabulary(**vocabulary)


def load_lite_vqa(number: int, path: Path | None = None) -> VqaLstm:
    """Load the answerer on EfficientNet-Lite0 or Lite2 (see `weights/lite0-vqa.md`).

    Args:
        number: 0 or 2.
        path: Other weights; see `read_weights`.
    """
    name = f"lite{number}-vqa"
    weights, vocabulary = read_weights(name, path)
    network = VqaNetwork(
        vocabulary.words, vocabulary.answers, everyday_words(), lite_classifier_layer(number)
    )
    network.load_state_dict(weights)
    return VqaLstm(name, lite_backbone(number), network, vocabulary)


def load_lite_coattention(number: int) -> VqaCoattention:
    """Load the co-attention answerer on EfficientNet-Lite0 (`weights/lite0-vqa-coattention.md`)."""
    name = f"lite{number}-vqa-coattention"
    weights, vocabulary = read_weights(name)
    network = CoattentionNetwork(
        vocabulary.words, vocabulary.answers, everyday_words(), lite_classifier_layer(number)
    )
    network.load_state_dict(weights)
    return VqaCoattention(name, lite_backbone(number), network, vocabulary)
