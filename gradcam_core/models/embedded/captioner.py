"""The embedded captioners, lite0-caption and lite2-caption: Show and Tell on EfficientNet-Lite."""

import difflib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.quasirandom import SobolEngine

from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import (
    Head,
    Model,
    Prediction,
    ResolvedTarget,
    Score,
    check_no_question,
)
from gradcam_core.models.embedded import WEIGHTS
from gradcam_core.models.embedded.caption_network import UNKNOWN, CaptionNetwork, run_searches
from gradcam_core.models.embedded.caption_ranking import CaptionRanker
from gradcam_core.models.embedded.caption_search import (
    END,
    MAX_WORDS,
    Candidate,
    Search,
    beam,
    draw,
)
from gradcam_core.models.embedded.caption_text import join_names, split_words, with_articles
from gradcam_core.models.embedded.lite import lite_backbone, lite_classifier_layer
from gradcam_core.models.labels import check_length

MAX_CHARACTERS = 1000
# Chosen on the dev photos:
BEAM = 16
CANDIDATES = 32
DRAWN = 64  # sentences that represent everything the network might write
# These words fit every picture, so they are left out: "a picture of a cup", "a cup on display",
# "a cat looking at something", "a cup seen from above".
EMPTY_WORDS = ("picture", "display", "something", "above")
ANIMALS = 398  # the first classes of ImageNet, which the classifier knows best
# An animal is left out if the probability of its classes is below this multiple of their share
# of all classes; by backbone. "dog" passes on 98.7 % of Flickr8k's dev photos with a dog for either
# backbone, and on 5.1 % and 3.4 % of ImageNet's photos without one.
ABSENT = {0: 0.4, 2: 0.68}
# A caption is a guess if no thing that it names is this probable. Of such captions of ImageNet's
# dev photos 1 of 15 names the thing in the photo, of the others 156 of 185.
UNSURE = 0.2
_PEOPLE = "person people man men woman women boy boys girl girls child children"
PEOPLE = frozenset(_PEOPLE.split())


class ShowAndTell(Model):
    """A captioner; its score y^c is the sum of the log-probabilities of the caption's words.

    The probability of ending the sentence after them counts neither for the score nor for the
    probability of a caption.
    """

    task = "captioning"

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        network: CaptionNetwork,
        words: Mapping[str, int],
        absent_below: float,
    ) -> None:
        """Join a backbone and its caption network.

        Args:
            name: Name in the registry.
            backbone: The CNN.
            network: Trained.
            words: The vocabulary in the order of the network's outputs, with the number of
                training pictures whose captions have each word. The first, `END`, has them all.
            absent_below: See `ABSENT`.
        """
        super().__init__(name, backbone)
        self.words = tuple(words)
        self.index = {word: i for i, word in enumerate(self.words) if i not in (END, UNKNOWN)}
        self.network = network.freeze()
        self.ranker = CaptionRanker(network, words)
        # Spread more evenly than random numbers, so that fewer sentences suffice.
        self.uniform = SobolEngine(MAX_WORDS, scramble=True, seed=0).draw(DRAWN)
        self._absent_below = absent_below
        self._never_written = [UNKNOWN, *(self.index[word] for word in EMPTY_WORDS)]
        classes = network.class_words.tolist()
        self._animals = {i: n / len(classes) for i, n in Counter(classes[:ANIMALS]).items()}

    @property
    def repertoire(self) -> str:
        return f"{len(self.index):,} words"

    def bind(self, encoded: Encoded, question: str | None = None) -> "CaptionHead":
        check_no_question(question, self.name)
        return CaptionHead(self, encoded)

    def resolve(self, text: str) -> ResolvedTarget:
        """Return a typed caption as target; no picture is needed.

        Raises:
            ValueError: It is empty or too long, or has unknown words; the message names them.
        """
        check_length(text, "caption", MAX_CHARACTERS)
        words = split_words(text)
        if not words:
            raise ValueError("Please type a caption: a few English words about the picture.")
        if len(words) > MAX_WORDS:
            raise ValueError(
                f"This caption has {len(words)} words; please use at most {MAX_WORDS}."
            )
        words = join_names(words, self.index)
        unknown = [word for word in dict.fromkeys(words) if word not in self.index]
        if unknown:
            raise ValueError(self._unknown_words_message(unknown))
        ids = tuple(self.index[word] for word in words)
        return ResolvedTarget(" ".join(words), ids, tuple(words))

    def score_attributes(self, attributes: Tensor, target: ResolvedTarget) -> Score:
        """Score a caption for the attributes (1, n_attributes) of a picture."""
        ids = torch.tensor(target.ids)
        log_probs = self.network(attributes, ids[None])[0].log_softmax(-1)
        terms = log_probs.gather(1, ids[:, None])[:, 0]
        return Score(terms, math.exp(terms.sum().item()))

    def excluded(self, probabilities: Mapping[int, float]) -> list[int]:
        """Return the words to leave out for a picture, animals that are not seen among them.

        Args:
            probabilities: The classifier's probability of each thing, by its word's index.
        """
        absent = [
            self.index[form]
            for thing, share in self._animals.items()
            if probabilities[thing] < self._absent_below * share
            for form in (self.words[thing], f"{self.words[thing]}s")
            if form in self.index
        ]
        return [*self._never_written, *absent]

    def _unknown_words_message(self, unknown: Sequence[str]) -> str:
        close = {
            word: difflib.get_close_matches(word, self.index, n=2, cutoff=0.75) for word in unknown
        }
        listed = ", ".join(
            f"'{word}' (perhaps {' or '.join(matches)}?)" if matches else f"'{word}'"
            for word, matches in close.items()
        )
        return (
            f"The captioner does not know the word{'s' * (len(unknown) > 1)} {listed}. It knows "
            f"{len(self.index):,} English words from captions of everyday photos."
        )


class CaptionHead(Head):
    """A captioner looking at one picture."""

    model: ShowAndTell

    @cached_property
    def pooled(self) -> Tensor:
        """The picture's mean features, (1, 1280) float32 without a graph."""
        return _pooled(self.encoded.head_input.detach())

    @cached_property
    def attributes(self) -> Tensor:
        """See `CaptionNetwork.attributes`; without a graph."""
        return self.model.network.attributes(self.pooled)

    @cached_property
    def probabilities(self) -> dict[int, float]:
        """The classifier's probability of each thing, by its word's index."""
        network = self.model.network
        probabilities = network.odds(self.pooled)[0].sigmoid().tolist()
        return dict(zip(network.things.tolist(), probabilities, strict=True))

    def predict(self, k: int) -> list[Prediction]:
        """Return the `k` best captions of a beam search; the same map gives the same captions.

        They are in the order of `CaptionRanker`, not of their probabilities.
        """
        model, excluded = self.model, self.model.excluded(self.probabilities)
        searches: list[Callable[[Tensor], Search[Any]]] = [
            lambda logits: beam(logits, max(k, BEAM), max(k, CANDIDATES), excluded),
            lambda logits: draw(logits, model.uniform, excluded),
        ]
        candidates, drawn = run_searches(model.network, self.attributes, searches)
        sentences = [list(takewhile(lambda i: i != END, ids)) for ids in drawn.tolist()]
        found: dict[str, Prediction] = {}
        for candidate in model.ranker.rank(candidates, sentences, self.probabilities):
            text = " ".join(with_articles([model.words[i] for i in candidate.ids]))
            if text not in found:
                found[text] = self._prediction(text, candidate)
            if len(found) == k:
                break
        return list(found.values())

    def find_target(self, wanted: str | int) -> ResolvedTarget:
        if isinstance(wanted, int):
            raise ValueError("A caption is a text, not a number.")
        return self.model.resolve(wanted)

    def score(self, head_input: Any, target: ResolvedTarget) -> Score:
        attributes = self.model.network.attributes(_pooled(head_input))
        return self.model.score_attributes(attributes, target)

    def is_guess(self, prediction: Prediction) -> bool:
        """Whether the classifier sees none of the things that a caption names.

        The classifier knows no people, so captions that name some are never a guess.
        """
        target = self.model.resolve(prediction.text)
        named = [self.probabilities[i] for i in target.ids if i in self.probabilities]
        return bool(named) and max(named) < UNSURE and not PEOPLE & set(target.words)

    def _prediction(self, text: str, candidate: Candidate) -> Prediction:
        target, log_prob = self.model.resolve(text), candidate.log_prob
        if [*target.ids] != candidate.ids:  # its articles were corrected
            log_prob = self.model.score_attributes(self.attributes, target).terms.sum().item()
        return Prediction(text, math.exp(log_prob))


def _pooled(head_input: Tensor) -> Tensor:
    # The caption network stays on the CPU: a GPU gains nothing word by word.
    return head_input.mean((2, 3)).cpu()


def weights_file(number: int) -> Path:
    """Return the weights of the captioner on EfficientNet-Lite0 or Lite2.

    The vocabulary is a JSON file in the same folder.
    """
    return WEIGHTS / f"lite{number}-caption.safetensors"


def load_lite_caption(number: int) -> ShowAndTell:
    """Load the captioner on EfficientNet-Lite0 or Lite2 (see `weights/lite0-caption.md`)."""
    path = weights_file(number)
    words = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    tensors = load_file(path)
    network = CaptionNetwork(
        len(words),
        tensors["attribute_words"],
        tensors["class_words"],
        lite_classifier_layer(number),
        len(tensors["start"]),
    )
    network.load_state_dict(tensors)  # float16 in the file, to keep it small
    return ShowAndTell(
        f"lite{number}-caption", lite_backbone(number), network, words, ABSENT[number]
    )
