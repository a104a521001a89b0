"""Captioners and question answerers from `transformers`: networks that write token by token.

Each family has a small adapter that says where its picture network ends, and how its text decoder
goes on from there. What they look at is rarely a CNN; `ModelInfo.convolutional` tells.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.image.geometry import WHOLE, Box, seen_through
from gradcam_core.models.backbone import Backbone, Encoded, device
from gradcam_core.models.base import Model, Prediction, Score, Target
from gradcam_core.models.hub.download import cached_hub_folder, first_line, hub_folder
from gradcam_core.models.info import ModelInfo

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

_MAX_WORDS = 40
_MAX_QUESTION = 200  # characters
_SEARCH: dict[str, dict[str, float]] = {
    "captioning": {"max_new_tokens": 30},
    # Of answers the likeliest; the usual division by the length would favour long ones.
    "vqa": {"max_new_tokens": 10, "length_penalty": 0.0},
}


class TextGenerator(Model):
    """A network that writes; its score y^c is the sum of the tokens' log-probabilities.

    As for the embedded captioner, the end of a caption counts for neither score nor probability.
    The end of an answer does: else "black" would never be less likely than "black and white".
    """

    def __init__(
        self,
        name: str,
        task: str,
        backbone: Backbone,
        network: PreTrainedModel,
        processor: ProcessorMixin,
        *,
        convolutional: bool,
    ) -> None:
        """Join a picture network and what writes about it.

        Args:
            name: Name in the registry.
            task: "captioning" or "vqa".
            backbone: The picture network.
            network: All of it.
            processor: Its own.
            convolutional: Whether the picture network is.
        """
        super().__init__(name, backbone)
        self.task = task
        self.convolutional = convolutional
        self._network = network
        self._processor = processor
        self._tokenizer = processor.tokenizer

    @property
    @abstractmethod
    def end(self) -> int:
        """The token that ends what it writes."""

    @abstractmethod
    def context(self, features: Tensor, question: str | None) -> Tensor:
        """Return what the decoder is given of picture and question, (1, m, d) float32.

        Args:
            features: As `Encoded.features`; the result is differentiable in them.
            question: What is asked; None for a caption.
        """

    @abstractmethod
    def logits(self, context: Tensor, ids: Tensor) -> Tensor:
        """Return the logits (n, vocabulary) of each of n tokens after those before it.

        Args:
            context: From `context`.
            ids: (1, n) int64.
        """

    @abstractmethod
    def generate(self, context: Tensor, **settings: Any) -> Tensor:
        """Search for likely texts by `transformers`' own beam search.

        Returns:
            (k, length) int64: what was written, filled up with special tokens.
        """

    def predict(
        self, encoded: Encoded, question: str | None = None, k: int = 5
    ) -> list[Prediction]:
        """Return `k` answers, likeliest first; or captions, in the order of the beam search."""
        self._check(question)
        with torch.no_grad():
            context = self.context(encoded.features, question)
            found = self.generate(
                context,
                num_beams=k,
                num_return_sequences=k,
                do_sample=False,
                **_SEARCH[self.task],
            )
            special = set(self._tokenizer.all_special_ids)
            predictions = {}
            for row in found.tolist():
                ids = list(takewhile(lambda token: token not in special, row))
                text = " ".join(self._tokenizer.decode(ids).split())
                if text and text not in predictions:
                    probability = self._terms(context, self._ended(ids)).sum().exp().item()
                    predictions[text] = Prediction(text, probability)
        if not predictions:
            raise ValueError(f"{self.name} has nothing to say about this picture.")
        ranked = list(predictions.values())
        if self.task == "vqa":
            ranked.sort(key=lambda answer: answer.probability, reverse=True)
        return ranked

    def target(
        self, text: str, question: str | None = None, encoded: Encoded | None = None
    ) -> Target:
        self._check(question)
        noun = "caption" if self.task == "captioning" else "answer"
        words = text.split()
        if not words:
            raise ValueError(f"The {noun} is empty: type some English words, or leave it out.")
        if len(words) > _MAX_WORDS:
            raise ValueError(
                f"This {noun} has {len(words)} words; please use at most {_MAX_WORDS}."
            )
        text = " ".join(words)
        self._refuse_control(text)
        tokens = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        lengths = [0] * len(words)
        unknown = []
        for token, (_, end) in zip(tokens["input_ids"], tokens["offset_mapping"], strict=True):
            word = text[: end - 1].count(" ")  # some tokens begin with the space before the word
            lengths[word] += 1
            if token == self._tokenizer.unk_token_id:
                unknown.append(words[word])
        unknown += [word for word, length in zip(words, lengths, strict=True) if not length]
        if unknown:
            raise ValueError(f"{self.name} cannot write {', '.join(dict.fromkeys(unknown))}.")
        if self.task == "vqa":
            return Target(text, tuple(self._ended(tokens["input_ids"])), question=question)
        return Target(text, tuple(tokens["input_ids"]), tuple(words), tuple(lengths))

    def score_features(self, features: Tensor, target: Target) -> Score:
        terms = self._terms(self.context(features, target.question), target.ids)
        lengths = target.lengths or (len(target.ids),)
        words = torch.split(terms, list(lengths))
        terms = torch.stack([word.sum() for word in words])
        return Score(terms, terms.detach().sum().exp().item())

    def _terms(self, context: Tensor, tokens: Sequence[int]) -> Tensor:
        """Return the log-probability of each token, (n,) float32."""
        ids = torch.tensor([tokens], device=context.device)
        return self.logits(context, ids).log_softmax(-1).gather(1, ids.t())[:, 0]

    def _ended(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens that are scored."""
        return [*tokens, self.end] if self.task == "vqa" else list(tokens)

    def _embed(self, ids: Tensor) -> Tensor:
        return self._network.get_input_embeddings()(ids)

    def _ids(self, text: str, **settings: Any) -> Tensor:
        found = self._tokenizer(text, return_tensors="pt", **settings)["input_ids"]
        return found.to(device())

    def _check(self, question: str | None) -> None:
        if self.task != "vqa":
            return
        if question is None or not question.strip():
            raise ValueError("Please ask a question about the picture.")
        if len(question) > _MAX_QUESTION:
            raise ValueError(f"Please ask in at most {_MAX_QUESTION} characters.")
        self._refuse_control(question)

    def _refuse_control(self, text: str) -> None:
        """Raise an error for a text that would be read as more than words."""
        for token in self._tokenizer.all_special_tokens:
            if token in text:
                raise ValueError(f"'{token}' means something else to {self.name}: leave it out.")


class Blip(TextGenerator):
    """BLIP (Li et al. 2022): a vision transformer whose tokens the text decoder attends to."""

    @property
    def end(self) -> int:
        return self._network.config.text_config.sep_token_id

    def features(self, encoded: Encoded) -> Tensor:
        # The first token belongs to no place: it is in no map, and stays as it is.
        tokens = encoded.activations.flatten(2).transpose(1, 2)
        return torch.cat([encoded.features[:, :1], tokens], 1)

    def context(self, features: Tensor, question: str | None) -> Tensor:
        if question is None:
            return features
        return self._network.text_encoder(
            self._ids(question),
            encoder_hidden_states=features,
            encoder_attention_mask=torch.ones(features.shape[:2], device=features.device),
        )[0]

    def logits(self, context: Tensor, ids: Tensor) -> Tensor:
        return self._network.text_decoder(
            torch.cat([self._start(), ids[:, :-1]], 1), **self._attending(context)
        ).logits[0]

    def generate(self, context: Tensor, **settings: Any) -> Tensor:
        found = self._network.text_decoder.generate(
            self._start(),
            eos_token_id=self.end,
            pad_token_id=self._network.config.text_config.pad_token_id,
            **self._attending(context),
            **settings,
        )
        return found[:, 1:]

    def _start(self) -> Tensor:
        return torch.tensor([[self._network.config.text_config.bos_token_id]], device=device())

    @staticmethod
    def _attending(context: Tensor) -> dict[str, Tensor]:
        seen = torch.ones(context.shape[:2], dtype=torch.long, device=context.device)
        return {"encoder_hidden_states": context, "encoder_attention_mask": seen}


class Florence(TextGenerator):
    """Florence-2 (Xiao et al. 2024): DaViT, then a BART that reads picture and instruction."""

    @property
    def end(self) -> int:
        return self._network.config.text_config.eos_token_id

    def context(self, features: Tensor, question: str | None) -> Tensor:
        prompt = self._ids("<s>What does the image describe?</s>", add_special_tokens=False)
        seen = self._network.model.multi_modal_projector(features)
        read = torch.cat([seen, self._embed(prompt)], 1)
        return self._network.model.language_model.encoder(inputs_embeds=read)[0]

    def logits(self, context: Tensor, ids: Tensor) -> Tensor:
        decoded = self._network.model.language_model.decoder(
            torch.cat([self._start(), ids[:, :-1]], 1), encoder_hidden_states=context
        )[0]
        return self._network.lm_head(decoded[0, 1:])

    def generate(self, context: Tensor, **settings: Any) -> Tensor:
        from transformers.modeling_outputs import BaseModelOutput

        found = self._network.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=context),
            attention_mask=torch.ones(context.shape[:2], dtype=torch.long, device=context.device),
            decoder_input_ids=self._start(),
            **settings,
        )
        return found[:, 2:]

    def _start(self) -> Tensor:
        text = self._network.config.text_config
        return torch.tensor([[text.decoder_start_token_id, text.bos_token_id]], device=device())


class FastVlm(TextGenerator):
    """FastVLM (Vasu et al. 2025): FastViTHD before the language model Qwen2."""

    @property
    def end(self) -> int:
        return self._tokenizer.convert_tokens_to_ids("<|im_end|>")

    def context(self, features: Tensor, question: str | None) -> Tensor:
        seen = self._network.model.multi_modal_projector(features.flatten(2).transpose(1, 2))
        asked = (
            "Describe the image in one short sentence."
            if question is None
            else f"{question}\nAnswer the question using a single word or phrase."
        )
        said = [{"type": "image"}, {"type": "text", "text": asked}]
        prompt = self._processor.apply_chat_template(
            [{"role": "user", "content": said}],
            chat_template=self._processor.chat_template or self._tokenizer.chat_template,
            add_generation_prompt=True,
            tokenize=False,
        )
        before, _, after = prompt.partition(self._processor.image_token)
        parts = [self._ids(before), self._ids(after, add_special_tokens=False)]
        return torch.cat([self._embed(parts[0]), seen, self._embed(parts[1])], 1)

    def logits(self, context: Tensor, ids: Tensor) -> Tensor:
        read = torch.cat([context, self._embed(ids[:, :-1])], 1)
        hidden = self._network.model.language_model(inputs_embeds=read)[0]
        return self._network.lm_head(hidden[0, context.shape[1] - 1 :])

    def generate(self, context: Tensor, **settings: Any) -> Tensor:
        return self._network.generate(
            inputs_embeds=context,
            # The checkpoint may name only the end of a whole text.
            eos_token_id=[self.end, self._tokenizer.eos_token_id],
            pad_token_id=self._tokenizer.pad_token_id,
            **settings,
        )


class _TokenGrid(Backbone):
    """A vision transformer: its tokens but the first, laid out as a map."""

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        square = Image.new("RGB", (256, 256))
        return {
            layer: tuple(self.encode(square, layer).activations.shape[1:]) for layer in self.layers
        }

    def encode_pixels(self, pixels: Tensor, layer: str | None = None, box: Box = WHOLE) -> Encoded:
        layer = self.layers[-1] if layer is None else layer
        with torch.no_grad():
            tokens = self.to_layer(pixels, layer)
        side = round((tokens.shape[1] - 1) ** 0.5)
        grid = tokens[:, 1:].transpose(1, 2).reshape(1, -1, side, side).contiguous()
        return Encoded(layer, grid.requires_grad_(), tokens, pixels, box)


class _Last(nn.Module):
    """A network of `transformers` -> its last hidden state."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(pixels).last_hidden_state


def _blip_stages(network: PreTrainedModel) -> dict[str, nn.Module]:
    return {"vision_model": _Last(network.vision_model)}


def _florence_stages(network: PreTrainedModel) -> dict[str, nn.Module]:
    tower = network.model.vision_tower
    return {
        f"blocks.{i}": nn.Sequential(embedding, *blocks)
        for i, (embedding, blocks) in enumerate(zip(tower.convs, tower.blocks, strict=True))
    }


def _fast_vlm_stages(network: PreTrainedModel) -> dict[str, nn.Module]:
    tower = network.model.vision_tower.timm_model
    stages = {f"stages.{i}": stage for i, stage in enumerate(tower.stages)}
    return {"stem": tower.stem, **stages, "final_conv": tower.final_conv}


@dataclass(frozen=True)
class _Family:
    """What the models of a family share.

    Attributes:
        generator: Their adapter.
        stages: Network -> the stages of its picture network.
    """

    generator: type[TextGenerator]
    stages: Callable[[PreTrainedModel], dict[str, nn.Module]]


@dataclass(frozen=True)
class Checkpoint:
    """One model on the Hugging Face Hub.

    Attributes:
        info: What is known of it without loading it.
        repository: Its id on the hub.
        network: Its class in `transformers`.
        family: Its adapter and stages.
    """

    info: ModelInfo
    repository: str
    network: str
    family: _Family


_BLIP = _Family(Blip, _blip_stages)
_FLORENCE = _Family(Florence, _florence_stages)
_FAST_VLM = _Family(FastVlm, _fast_vlm_stages)
_OTHER = "GELU and attention"


_UNMEASURED = (
    "Nobody has measured here how often it is right: it may name what is not there, and never says "
    "that it guesses."
)


def _blip(name: str, task: str, title: str, download_mb: int, learned: str) -> ModelInfo:
    return ModelInfo(
        name,
        task,
        title,
        2022,
        "ViT-B/16",
        ("vision_model",),
        "768 x 24 x 24",
        "BSD-3-Clause",
        download_mb,
        _OTHER,
        convolutional=False,
        limits=f"{learned} {_UNMEASURED}",
    )


def _fast_vlm(name: str, task: str) -> Checkpoint:
    info = ModelInfo(
        name,
        task,
        "FastVLM 0.5B",
        2025,
        "FastViTHD (convolutions and attention)",
        ("stem", *(f"stages.{i}" for i in range(5)), "final_conv"),
        "3072 x 16 x 16",
        "Apple, research only",
        1250,
        _OTHER,
        limits=f"A small language model that is shown the picture: it writes freely. {_UNMEASURED}",
    )
    return Checkpoint(info, "KamilaMila/FastVLM-0.5B", "FastVlmForConditionalGeneration", _FAST_VLM)


CHECKPOINTS = {
    checkpoint.info.name: checkpoint
    for checkpoint in (
        Checkpoint(
            _blip(
                "blip-base",
                "captioning",
                "BLIP base",
                990,
                "It writes freely, as people captioned COCO’s everyday photos.",
            ),
            "Salesforce/blip-image-captioning-base",
            "BlipForConditionalGeneration",
            _BLIP,
        ),
        Checkpoint(
            ModelInfo(
                "florence-2-base",
                "captioning",
                "Florence-2 base",
                2023,
                "DaViT-B",
                tuple(f"blocks.{i}" for i in range(4)),
                "1024 x 24 x 24",
                "MIT",
                470,
                _OTHER,
                convolutional=False,
                limits=f"It writes freely, one short sentence. {_UNMEASURED}",
            ),
            "florence-community/Florence-2-base",
            "Florence2ForConditionalGeneration",
            _FLORENCE,
        ),
        _fast_vlm("fastvlm-0.5b", "captioning"),
        Checkpoint(
            _blip(
                "blip-vqa-base",
                "vqa",
                "BLIP base, for questions",
                1540,
                "It answers freely, in a word or two, as people did of everyday photos (VQA v2).",
            ),
            "Salesforce/blip-vqa-base",
            "BlipForQuestionAnswering",
            _BLIP,
        ),
        _fast_vlm("fastvlm-0.5b-vqa", "vqa"),
    )
}

# FastVLM captions and answers with the same weights: one object for both.
_networks: WeakValueDictionary[tuple[Path, torch.device], PreTrainedModel] = WeakValueDictionary()
_reading = threading.Lock()


def load_text_generator(name: str) -> TextGenerator:
    """Return one of `CHECKPOINTS`; downloads it at first use.

    Raises:
        ConnectionError: It is not on this machine, and cannot be downloaded.
    """
    return load_text_generator_from(name, hub_folder(CHECKPOINTS[name].repository))


def has_weights(name: str) -> bool:
    """Tell whether one of `CHECKPOINTS` is on this machine already."""
    return cached_hub_folder(CHECKPOINTS[name].repository) is not None


def load_text_generator_from(name: str, folder: Path) -> TextGenerator:
    """Return one of `CHECKPOINTS` from a folder that `save_pretrained` wrote.

    Raises:
        ValueError: The files in the folder are damaged, or are not those of this model.
    """
    import transformers

    checkpoint = CHECKPOINTS[name]
    with _reading:
        network = _networks.get((folder, device()))
        try:
            if network is None:
                # Attention written out: PyTorch's fused kernels have no batched backward pass.
                network, loaded = getattr(transformers, checkpoint.network).from_pretrained(
                    folder,
                    dtype=torch.float32,
                    attn_implementation="eager",
                    output_loading_info=True,
                    trust_remote_code=False,
                )
                if loaded["missing_keys"]:
                    raise ValueError("some of its weights are missing.")
                network = network.eval().requires_grad_(False).to(device())
                _networks[folder, device()] = network
            processor = transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # damaged files raise whatever the libraries trip over
            raise ValueError(f"{name} cannot be read: {first_line(error)}") from error

    def as_input(image: Image.Image) -> Tensor:
        return processor.image_processor(image, return_tensors="pt")["pixel_values"]

    family, info = checkpoint.family, checkpoint.info
    kind = Backbone if family.generator is not Blip else _TokenGrid
    backbone = kind(
        checkpoint.repository,
        family.stages(network),
        seen_through(as_input),
        other_activation=info.other_activation,
    )
    return family.generator(
        name, info.task, backbone, network, processor, convolutional=info.convolutional
    )
