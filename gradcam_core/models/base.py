"""The contract that every model keeps, whatever its task (Figure 2 of the paper).

A picture goes through the CNN once (`Model.encode`) and becomes a feature map. A head, bound to
the picture and for visual question answering to a question (`Model.bind`), turns the feature map
into predictions and into the score y^c of a target, differentiable in the feature map. That is all
Grad-CAM needs to know of a model.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.labels import Labels

_PREDICTIONS = 5  # how many predictions a head returns by default


@dataclass(frozen=True)
class Prediction:
    """One thing the model might say: a class, a caption or an answer.

    Attributes:
        text: As shown to the user; `Head.target(text)` finds it again.
        probability: In [0, 1]; of a caption, the product of its words' probabilities.

    Examples:
        >>> best = explain("cat.jpg").predictions[0]
        >>> best.text, round(best.probability, 2)
        ('Egyptian cat', 0.76)
    """

    text: str
    probability: float


@dataclass(frozen=True)
class ResolvedTarget:
    """What is to be explained, in the model's own terms.

    Attributes:
        text: The class, caption or answer, as shown to the user.
        ids: The label's index, or the indices of a caption's tokens in order.
        words: A caption's words; empty for a label.
        lengths: The number of `ids` of each word, where a word may have several.
        function: Maps the network's output to the score; None unless the target is a function.

    Examples:
        >>> head.target("tabby").ids
        (281,)
    """

    text: str
    ids: tuple[int, ...]
    words: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    function: Callable[[Any], Tensor] | None = None


@dataclass(frozen=True)
class Score:
    """The score of a target, before any softmax or length normalization.

    Attributes:
        terms: (n,) float32, whose sum is y^c: the logit of a label, or the log-probability of
            each word of a caption.
        probability: Of the target, in [0, 1]; None where it is a function of the output.

    Examples:
        >>> head.own_score(head.target("tabby"))
        Score(terms=tensor([8.3229]), probability=0.0784)
    """

    terms: Tensor
    probability: float | None


class Model(ABC):
    """A CNN backbone with a task head. It holds no state between calls: threads may share it.

    Examples:
        >>> model = load("lite0")
        >>> encoded = model.encode(open_image("cat.jpg"))
        >>> model.bind(encoded).predictions(1)[0].text
        'Egyptian cat'
    """

    task: str
    unsure_below = 0.0  # predictions below this probability are guesses; 0: not measured
    convolutional = True  # whether the feature maps come from a convolutional network
    attends = False  # whether the model has an attention map of its own

    def __init__(self, name: str, backbone: Backbone) -> None:
        self.name = name
        self.backbone = backbone

    def __repr__(self) -> str:
        return f"<{self.name}: {self.task} on {self.backbone.name}, {len(self.layers)} layers>"

    @property
    def layers(self) -> dict[str, tuple[int, ...]]:
        """The possible target layers from input to output, each with its map's shape (C, h, w).

        The shapes are those for a square picture. The default is the last layer, except for
        networks from `wrap`.
        """
        return self.backbone.shapes

    def encode(
        self, image: Image.Image, layer: str | nn.Module | None = None, detail: float = 1.0
    ) -> Encoded:
        """Run the CNN once; see `Backbone.encode`."""
        return self.backbone.encode(image, layer, detail)

    @abstractmethod
    def bind(self, encoded: Encoded, question: str | None = None) -> "Head":
        """Return the head for one picture, and for VQA one question.

        Args:
            encoded: From `encode`.
            question: For VQA only.

        Raises:
            ValueError: The question is missing, unusable, or not for this model.
        """

    @property
    def repertoire(self) -> str:
        """How much the model can say, "1,000 classes"; "" for one that writes freely."""
        return ""

    def head_input(self, encoded: Encoded) -> Any:
        """Return what the head reads (see `Encoded`), differentiable in `encoded.activations`."""
        if encoded.has_graph:
            return encoded.head_input
        return self.backbone.from_layer(encoded.activations, encoded.layer, encoded.pixels)


class Head(ABC):
    """A model looking at one picture, and for VQA at one question.

    A head serves one thread. It owns the logits and their graph, so that the task network runs
    once for predictions and scores.

    Attributes:
        model: The model.
        encoded: The picture.
        question: The question; None except for VQA.
        unknown_words: Words of the question that the model does not know.

    Examples:
        >>> head = model.bind(model.encode(open_image("cat.jpg")))
        >>> [prediction.text for prediction in head.predictions(2)]
        ['Egyptian cat', 'tiger cat']
    """

    def __init__(
        self,
        model: Model,
        encoded: Encoded,
        question: str | None = None,
        unknown_words: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.encoded = encoded
        self.question = question
        self.unknown_words = list(unknown_words)
        self._predictions: list[Prediction] = []
        self._searched = 0  # how many predictions were requested so far

    def predictions(self, k: int = _PREDICTIONS) -> list[Prediction]:
        """Return the `k` likeliest things the model would say, best first; may be fewer."""
        if self._searched < k:  # a search that found fewer than k need not be repeated
            self._predictions, self._searched = self.predict(k), k
        return self._predictions[:k]

    def remember(self, predictions: Sequence[Prediction]) -> None:
        """Take `predictions` that are known already, for the same picture and question."""
        self._predictions = list(predictions)
        self._searched = max(len(self._predictions), _PREDICTIONS)

    @abstractmethod
    def predict(self, k: int) -> list[Prediction]:
        """Compute `predictions`."""

    def target(self, wanted: str | int | Callable[[Any], Any] | None = None) -> ResolvedTarget:
        """Return a target in the model's own terms.

        Args:
            wanted: A class (name or index), caption or answer; a function of the output; None for
                the model's own prediction.

        Raises:
            ValueError: The model cannot say it; the message names close matches (for labels, an
                `UnknownLabelError`).
        """
        if callable(wanted):
            return self.function_target(wanted)
        if wanted is None:
            best = self.predictions()
            wanted = best[0].text if best else ""
        return self.find_target(wanted)

    @abstractmethod
    def find_target(self, wanted: str | int) -> ResolvedTarget:
        """Find a typed text among what the model can say; see `target`.

        Where the text fits several things, the likeliest in the picture is meant.
        """

    def function_target(self, function: Callable[[Any], Any]) -> ResolvedTarget:
        """Return a function of the network's output as target; it returns a scalar.

        Raises:
            ValueError: The model has no such output.
        """
        raise ValueError(
            f"{self.model.name} is explained by {self.model.task} targets only. Functions of the "
            "output are for networks of your own, see `wrap`."
        )

    @abstractmethod
    def score(self, head_input: Any, target: ResolvedTarget) -> Score:
        """Score `target` for any `Encoded.head_input`, with this head's question."""

    def scores(self, targets: Sequence[ResolvedTarget]) -> list[Score]:
        """Score targets of this picture, differentiable in `encoded.activations`.

        All scores share one graph.
        """
        with torch.enable_grad():
            head_input = self.model.head_input(self.encoded)
            return [self.score(head_input, target) for target in targets]

    def own_score(self, target: ResolvedTarget) -> Score:
        """Score a target of this picture without a graph."""
        with torch.no_grad():
            return self.score(self.encoded.head_input, target)

    def rank(self, target: ResolvedTarget) -> int | None:
        """Return the target's place among all labels, 1 for the first choice.

        None where there is no list of labels: for captions and functions of the output.
        """
        return None

    def attention(self) -> Tensor:
        """Return the model's own attention over the last map's cells, (h, w) float32, sum 1.

        Raises:
            ValueError: The model has no attention map; see `Model.attends`.
        """
        raise ValueError(f"{self.model.name} has no attention map of its own.")

    def is_guess(self, prediction: Prediction) -> bool:
        """Whether such a prediction was measured to be wrong more often than right."""
        return prediction.probability < self.model.unsure_below


def check_no_question(question: str | None, name: str) -> None:
    """Raise an error for a question to a model that takes none."""
    if question is not None:
        raise ValueError(f"{name} answers no questions: leave the question out.")


class LabelModel(Model):
    """A model that chooses one of a fixed list of labels: classes, or answers to a question.

    Examples:
        >>> model = load("lite0")
        >>> model.labels[281], model.find("tabby")
        ('tabby', (281,))
    """

    kind: ClassVar[str]  # what its labels are called in messages

    def __init__(self, name: str, backbone: Backbone, names: Sequence[Sequence[str]]) -> None:
        """Join a backbone and its labels.

        Args:
            name: Name in the registry.
            backbone: The CNN.
            names: For each label, its shown name and then its synonyms.
        """
        super().__init__(name, backbone)
        self.names = Labels(names, self.kind)
        self.labels = self.names.shown
        self.positions = {label: i for i, label in enumerate(self.labels)}

    @property
    def repertoire(self) -> str:
        return f"{len(self.labels):,} {'classes' if self.kind == 'class' else f'{self.kind}s'}"

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities (len(labels),) of logits; they sum to 1."""
        return logits.softmax(0)

    def find(self, text: str) -> tuple[int, ...]:
        """Return the indices of all labels that a typed text fits best; none if it fits none.

        Raises:
            ValueError: There is no text, or it is too long.
        """
        return self.names.find(text)

    def label_at(self, index: int) -> ResolvedTarget:
        """Return the label of an index.

        Raises:
            ValueError: The index is out of range.
        """
        if not 0 <= index < len(self.labels):
            raise ValueError(
                f"There is no {self.kind} {index}: they are numbered 0 to {len(self.labels) - 1}."
            )
        return ResolvedTarget(self.labels[index], (index,))


class LabelHead(Head):
    """The head of a `LabelModel`."""

    model: LabelModel

    @abstractmethod
    def compute_logits(self, head_input: Any) -> Tensor:
        """Return the logits (len(labels),), differentiable in what the head reads."""

    @cached_property
    def graph(self) -> Tensor:
        """The picture's logits, (len(labels),) float32, differentiable in `encoded.activations`."""
        with torch.enable_grad():
            return self.compute_logits(self.model.head_input(self.encoded))

    @property
    def logits(self) -> Tensor:
        """The picture's logits, (len(labels),) float32 without a graph."""
        return self.graph.detach()

    @property
    def probabilities(self) -> Tensor:
        """The picture's probabilities, (len(labels),) float32."""
        return self.model.probabilities(self.logits)

    def predict(self, k: int) -> list[Prediction]:
        best = self.probabilities.topk(min(k, len(self.model.labels)))
        return [
            Prediction(self.model.labels[i], p)
            for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def find_target(self, wanted: str | int) -> ResolvedTarget:
        if isinstance(wanted, int):
            return self.model.label_at(wanted)
        typed, positions = wanted.strip(), self.model.positions
        # What the model itself predicted needs no search.
        found = (positions[typed],) if typed in positions else self.model.find(typed)
        if not found:
            raise self.model.names.unknown(typed, self._likelihood)
        return self.model.label_at(
            found[0] if len(found) == 1 else max(found, key=self._likelihood)
        )

    def suggestions(self, text: str, k: int = 10) -> list[str]:
        """Return up to `k` labels that an unfinished text may mean, the best fits first.

        Labels that fit equally well come in the order of their likelihood in the picture. An
        empty text fits every label.

        Raises:
            ValueError: The text is too long.
        """
        return [self.model.labels[i] for i in self.model.names.suggest(text, self._likelihood, k)]

    def rank(self, target: ResolvedTarget) -> int | None:
        if target.function:
            return None
        (index,) = target.ids
        return 1 + int((self.logits > self.logits[index]).sum())

    def score(self, head_input: Any, target: ResolvedTarget) -> Score:
        return self._score_logits(self.compute_logits(head_input), target)

    def scores(self, targets: Sequence[ResolvedTarget]) -> list[Score]:
        return [self._score_logits(self.graph, target) for target in targets]

    def _score_logits(self, logits: Tensor, target: ResolvedTarget) -> Score:
        (index,) = target.ids
        probability = self.model.probabilities(logits.detach())[index].item()
        return Score(logits[index : index + 1], probability)

    def _likelihood(self, label: int) -> float:
        return self.logits[label].item()
