"""The contract that every model keeps, whatever its task (Figure 2 of the paper).

A picture goes through the CNN once (`encode`) and becomes a feature map. A task head turns
the feature map into predictions (`predict`) and into the score y^c of a target (`score_terms`),
differentiable in the feature map. That is all Grad-CAM needs to know of a model.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.labels import Labels


@dataclass(frozen=True)
class Prediction:
    """One thing the model might say: a class, a caption or an answer.

    Attributes:
        text: As shown to the user; `Model.target(text)` finds it again.
        probability: In [0, 1]; of a caption, the product of its words' probabilities.
    """

    text: str
    probability: float


@dataclass(frozen=True)
class Target:
    """What is to be explained, in the model's own terms.

    Attributes:
        text: The class, caption or answer, as shown to the user.
        ids: The label's index, or the indices of a caption's words in order.
        words: The words that `ids` stand for, for a caption; empty for a label.
        lengths: How many of `ids` each word takes, where a word may take several.
        question: The question the answer belongs to; None but for VQA.
        function: Of the network's output, returns the score; None but for a function as target.
    """

    text: str
    ids: tuple[int, ...]
    words: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    question: str | None = None
    function: Callable[[Any], Tensor] | None = None


@dataclass(frozen=True)
class Score:
    """The score of a target, before any softmax or length normalisation.

    Attributes:
        terms: (n,) float32 whose sum is y^c: one logit for a label, one log-probability a word
            for a caption.
        probability: Of the target, in [0, 1]; None where it is a function of the output.
    """

    terms: Tensor
    probability: float | None


class Model(ABC):
    """A CNN backbone with a task head. Holds no state between calls: threads may share it."""

    task: str
    unsure_below = 0.0  # what is said with a smaller probability is a guess; 0: not measured
    convolutional = True  # whether the feature maps are those of a convolutional network

    def __init__(self, name: str, backbone: Backbone) -> None:
        self.name = name
        self.backbone = backbone

    @property
    def layers(self) -> dict[str, tuple[int, ...]]:
        """The possible target layers, from input to output, each with the shape of its map.

        The shapes (C, h, w) are those for a square picture. The last layer is the default, but
        for a network of one's own, see `wrap`.
        """
        return self.backbone.shapes

    def encode(
        self, image: Image.Image, layer: str | nn.Module | None = None, detail: float = 1.0
    ) -> Encoded:
        """Run the CNN once; see `Backbone.encode`."""
        return self.backbone.encode(image, layer, detail)

    @abstractmethod
    def predict(
        self, encoded: Encoded, question: str | None = None, k: int = 5
    ) -> list[Prediction]:
        """Return the `k` likeliest things the model would say, best first.

        Raises:
            ValueError: The model needs a question and `question` is missing or unusable.
        """

    @abstractmethod
    def target(
        self, text: str, question: str | None = None, encoded: Encoded | None = None
    ) -> Target:
        """Find what the user typed among what the model can say.

        Where `text` fits several things, the one that the model finds likeliest in `encoded` is
        meant; without `encoded`, the first.

        Raises:
            ValueError: It cannot be said by this model; the message names what comes near (for
                labels an `UnknownLabelError`).
        """

    @abstractmethod
    def score_features(self, features: Any, target: Target) -> Score:
        """Score `target` from what the head reads, see `Encoded.features`."""

    def score_terms(self, encoded: Encoded, target: Target) -> Score:
        """Score `target`, differentiable in `encoded.activations`."""
        return self.score_features(self.features(encoded), target)

    def score_each(self, encoded: Encoded, targets: Sequence[Target]) -> list[Score]:
        """Do the same for several targets, of one question; what they share is computed once.

        The graph is shared, too: one backward pass is all that may be made through it.
        """
        features = self.features(encoded)
        return [self.score_features(features, target) for target in targets]

    def target_function(self, function: Callable[[Any], Tensor]) -> Target:
        """Take a function of the network's output, which returns a scalar, for a target.

        Raises:
            ValueError: The model has no such output.
        """
        raise ValueError(
            f"{self.name} is explained by {self.task} targets only: a function of the output can "
            "be explained for a network of your own, see `wrap`."
        )

    def is_guess(self, encoded: Encoded, said: Prediction) -> bool:
        """Whether what the model says first was measured to be wrong more often than right."""
        return said.probability < self.unsure_below

    @property
    def repertoire(self) -> str:
        """How much the model can say at all, "1,000 classes"; "" for one that writes freely."""
        return ""

    def unknown_words(self, question: str | None) -> list[str]:
        """Return the words of `question` that the model does not know; none but for VQA."""
        return []

    def score(self, encoded: Encoded, target: Target) -> Tensor:
        """Return y^c, a 0-d tensor differentiable in `encoded.activations`."""
        return self.score_terms(encoded, target).terms.sum()

    def features(self, encoded: Encoded) -> Any:
        """Return what the head reads (see `Encoded`), differentiable in `encoded.activations`."""
        return self.backbone.from_layer(encoded.activations, encoded.layer, encoded.pixels)


class LabelModel(Model):
    """A model that chooses one of a fixed list of labels: classes, or answers to a question."""

    kind: ClassVar[str]  # what its labels are, for messages

    def __init__(self, name: str, backbone: Backbone, names: Sequence[Sequence[str]]) -> None:
        """Join a backbone and its labels.

        Args:
            name: Name in the registry.
            backbone: The CNN.
            names: For each label, its shown name and then its synonyms.
        """
        super().__init__(name, backbone)
        self._names = Labels(names, self.kind)
        self.labels = self._names.shown
        self._position = {label: i for i, label in enumerate(self.labels)}

    @property
    def repertoire(self) -> str:
        return f"{len(self.labels):,} {'classes' if self.kind == 'class' else f'{self.kind}s'}"

    @abstractmethod
    def logits(self, features: Tensor, question: str | None) -> Tensor:
        """Return (len(labels),) logits, differentiable in the last feature map (1, C, h, w)."""

    def read(self, encoded: Encoded, question: str | None = None) -> Encoded:
        """Return the picture with its logits, for one explanation.

        So the head runs once, to predict and to score.

        Raises:
            ValueError: See `predict`.
        """
        return replace(encoded, logits=self.logits(self.features(encoded), question))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities (len(self.labels),) of logits: one label is meant."""
        return logits.softmax(0)

    def predict(
        self, encoded: Encoded, question: str | None = None, k: int = 5
    ) -> list[Prediction]:
        probabilities = self.probabilities(self._known(encoded, question))
        best = probabilities.topk(min(k, len(self.labels)))
        return [
            Prediction(self.labels[i], p)
            for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def target(
        self, text: str, question: str | None = None, encoded: Encoded | None = None
    ) -> Target:
        typed = text.strip()
        # What the model itself said needs no search.
        found = (self._position[typed],) if typed in self._position else self.find(typed)
        if not found:
            raise self._names.missing(typed, self._likelihood(encoded, question))
        index = found[0]
        if len(found) > 1:
            index = max(found, key=self._likelihood(encoded, question))
        return Target(self.labels[index], (index,), question=question)

    def find(self, text: str) -> tuple[int, ...]:
        """Return the indices of all labels that a typed text fits best; none if it fits none.

        Raises:
            ValueError: There is no text, or it is too long.
        """
        return self._names.find(text)

    def suggestions(
        self,
        text: str,
        encoded: Encoded | None = None,
        question: str | None = None,
        k: int = 10,
    ) -> list[str]:
        """Return up to `k` labels that may be meant by a text, also one that is not finished.

        Those that fit better come first; of those that fit equally well, those that are likelier
        in the picture. An empty text fits every label.

        Args:
            text: As typed so far.
            encoded: The picture; without it labels that fit equally well stay in their order.
            question: As for `target`.
            k: How many at most.

        Raises:
            ValueError: The text is too long; or the model needs a question for `encoded`.
        """
        near = self._names.near(text, self._likelihood(encoded, question), k)
        return [self.labels[i] for i in near]

    def _likelihood(self, encoded: Encoded | None, question: str | None) -> Callable[[int], float]:
        """Return what tells how likely a label is in a picture; without one, all alike."""
        if encoded is None:
            return lambda label: 0.0
        logits: list[float] = self._known(encoded, question).tolist()
        return logits.__getitem__

    def _known(self, encoded: Encoded, question: str | None) -> Tensor:
        """Return the logits without a graph."""
        if encoded.logits is not None:
            return encoded.logits.detach()
        with torch.no_grad():
            return self.logits(encoded.features, question)

    def score_each(self, encoded: Encoded, targets: Sequence[Target]) -> list[Score]:
        logits = encoded.logits
        if logits is None:
            logits = self.logits(self.features(encoded), targets[0].question)
        return [self.score_logits(logits, target) for target in targets]

    def score_features(self, features: Any, target: Target) -> Score:
        return self.score_logits(self.logits(features, target.question), target)

    def score_logits(self, logits: Tensor, target: Target) -> Score:
        """Score a label by the logits (len(labels),) of all."""
        (index,) = target.ids
        return Score(
            terms=logits[index : index + 1],
            probability=self.probabilities(logits.detach())[index].item(),
        )
