"""What the text generators from `transformers` have in common: models that write token by token.

A file per family (`blip.py`, `florence.py`, `fastvlm.py`) says where the vision network ends and
how the text decoder continues from there. `ModelInfo.convolutional` says whether the vision
network is a CNN; most are not.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from gradcam_core.image.placement import with_placement
from gradcam_core.models.backbone import Backbone, Encoded, device
from gradcam_core.models.base import (
    Head,
    Model,
    Prediction,
    ResolvedTarget,
    Score,
    check_no_question,
)
from gradcam_core.models.info import ModelInfo

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

# Facts that the families share.
ACTIVATION = "GELU and attention"
NOT_MEASURED = (
    "Its accuracy was not measured here: it may name things that are not in the photo, and it "
    "gives no sign when it guesses."
)

_MAX_WORDS = 40
_MAX_QUESTION = 200  # characters
_SEARCH: dict[str, dict[str, float]] = {
    "captioning": {"max_new_tokens": 30},
    # Answers are ranked by probability alone: a division by the length would favour long ones.
    "vqa": {"max_new_tokens": 10, "length_penalty": 0.0},
}


@dataclass(frozen=True)
class Checkpoint:
    """A text generator on the Hugging Face Hub.

    Attributes:
        info: What is known of it without loading it.
        repository: Its id on the hub.
        network: The name of its class in `transformers`.
        family: Its class here.
    """

    info: ModelInfo
    repository: str
    network: str
    family: type[TextGenerator]


class TextGenerator(Model):
    """A model that writes text; its score y^c is the sum of the tokens' log-probabilities.

    As in the embedded captioner, the end token of a caption counts neither for the score nor for
    the probability. That of an answer does: without it, "black" could never be less likely than
    "black and white".

    Attributes:
        network: The network from `transformers`.
        processor: Its preprocessing, with the tokenizer.
    """

    backbone_type: ClassVar[type[Backbone]] = Backbone

    def __init__(
        self, checkpoint: Checkpoint, network: PreTrainedModel, processor: ProcessorMixin
    ) -> None:
        def preprocess(image: Image.Image) -> Tensor:
            return processor.image_processor(image, return_tensors="pt")["pixel_values"]

        info = checkpoint.info
        backbone = self.backbone_type(
            checkpoint.repository,
            self.stages(network),
            with_placement(preprocess),
            other_activation=info.other_activation,
        )
        super().__init__(info.name, backbone)
        self.task = info.task
        self.convolutional = info.convolutional
        self.network = network
        self.processor = processor
        self.tokenizer = processor.tokenizer

    @staticmethod
    @abstractmethod
    def stages(network: PreTrainedModel) -> dict[str, nn.Module]:
        """Return the stages of the vision network, see `Backbone`."""

    @property
    @abstractmethod
    def end_token(self) -> int:
        """The token that ends a text."""

    @abstractmethod
    def prompt(self, question: str | None) -> list[Tensor]:
        """Return the token ids, each (1, n) int64, that the decoder reads besides the picture.

        Args:
            question: None for a caption.
        """

    @abstractmethod
    def context(self, head_input: Tensor, prompt: Sequence[Tensor]) -> Tensor:
        """Return what the decoder reads of picture and prompt, (1, m, d) float32.

        Args:
            head_input: See `Encoded`; the result is differentiable in it.
            prompt: From `prompt`.
        """

    @abstractmethod
    def logits(self, context: Tensor, ids: Tensor) -> Tensor:
        """Return the logits (n, vocabulary) of each of n tokens, given the tokens before it.

        Args:
            context: From `context`.
            ids: (1, n) int64.
        """

    @abstractmethod
    def generate(self, context: Tensor, **settings: Any) -> Tensor:
        """Search for likely texts with the beam search of `transformers`.

        Returns:
            (k, length) int64: the texts, padded with special tokens.
        """

    def bind(self, encoded: Encoded, question: str | None = None) -> Head:
        if self.task != "vqa":
            check_no_question(question, self.name)
        elif question is None or not question.strip():
            raise ValueError("Please ask a question about the picture.")
        elif len(question) > _MAX_QUESTION:
            raise ValueError(f"Please ask in at most {_MAX_QUESTION} characters.")
        else:
            self.check_plain(question)
        return TextHead(self, encoded, question)

    def check_plain(self, text: str) -> None:
        """Raise a ValueError for a text that contains special tokens."""
        for token in self.tokenizer.all_special_tokens:
            if token in text:
                raise ValueError(f"'{token}' is a control token of {self.name}: leave it out.")

    def token_ids(self, text: str, **settings: Any) -> Tensor:
        """Return the token ids of a text, (1, n) int64."""
        ids = self.tokenizer(text, return_tensors="pt", **settings)["input_ids"]
        return ids.to(device())

    def embed(self, ids: Tensor) -> Tensor:
        """Return the input embeddings of token ids."""
        return self.network.get_input_embeddings()(ids)

    def log_probabilities(self, context: Tensor, tokens: Sequence[int]) -> Tensor:
        """Return the log-probability of each token, given those before it, (n,) float32."""
        ids = torch.tensor([tokens], device=context.device)
        return self.logits(context, ids).log_softmax(-1).gather(1, ids.t())[:, 0]

    def scored_tokens(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens of a text that count for its score."""
        return [*tokens, self.end_token] if self.task == "vqa" else list(tokens)


class TextHead(Head):
    """A text generator looking at one picture, and for VQA at one question."""

    model: TextGenerator

    def __init__(self, model: TextGenerator, encoded: Encoded, question: str | None) -> None:
        super().__init__(model, encoded, question)
        self._prompt = model.prompt(question)

    @torch.no_grad()
    def predict(self, k: int) -> list[Prediction]:
        """Return answers by probability, or captions in the order of the beam search.

        Raises:
            ValueError: The model writes nothing.
        """
        model = self.model
        context = model.context(self.encoded.head_input, self._prompt)
        search = _SEARCH[model.task]
        total = search["max_new_tokens"]
        with tqdm(total=total, desc="writing", leave=False, disable=None) as bar:

            def count(*_: Any, **__: Any) -> bool:
                bar.update()
                return False

            found = model.generate(
                context,
                num_beams=k,
                num_return_sequences=k,
                do_sample=False,
                stopping_criteria=[count],
                **search,
            )
        special = set(model.tokenizer.all_special_ids)
        predictions = {}
        for row in found.tolist():
            ids = list(takewhile(lambda token: token not in special, row))
            text = " ".join(model.tokenizer.decode(ids).split())
            if text and text not in predictions:
                terms = model.log_probabilities(context, model.scored_tokens(ids))
                predictions[text] = Prediction(text, terms.sum().exp().item())
        if not predictions:
            raise ValueError(f"{model.name} finds no words for this picture.")
        ranked = list(predictions.values())
        if model.task == "vqa":
            ranked.sort(key=lambda answer: answer.probability, reverse=True)
        return ranked

    def find_target(self, wanted: str | int) -> ResolvedTarget:
        model = self.model
        noun = "caption" if model.task == "captioning" else "answer"
        words = str(wanted).split()
        if not words:
            raise ValueError(f"The {noun} is empty: type some English words, or leave it out.")
        if len(words) > _MAX_WORDS:
            raise ValueError(
                f"This {noun} has {len(words)} words; please use at most {_MAX_WORDS}."
            )
        text = " ".join(words)
        model.check_plain(text)
        tokens = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = tokens["input_ids"]
        lengths = [0] * len(words)
        unknown = []
        for token, (_, end) in zip(ids, tokens["offset_mapping"], strict=True):
            word = text[: end - 1].count(" ")  # some tokens begin with the space before the word
            lengths[word] += 1
            if token == model.tokenizer.unk_token_id:
                unknown.append(words[word])
        unknown += [word for word, length in zip(words, lengths, strict=True) if not length]
        if unknown:
            raise ValueError(f"{model.name} cannot write {', '.join(dict.fromkeys(unknown))}.")
        if model.task == "vqa":
            return ResolvedTarget(text, tuple(model.scored_tokens(ids)))
        return ResolvedTarget(text, tuple(ids), tuple(words), tuple(lengths))

    def score(self, head_input: Any, target: ResolvedTarget) -> Score:
        context = self.model.context(head_input, self._prompt)
        tokens = self.model.log_probabilities(context, target.ids)
        words = torch.split(tokens, list(target.lengths or (len(target.ids),)))
        terms = torch.stack([word.sum() for word in words])
        return Score(terms, terms.detach().sum().exp().item())
