"""BLIP (Li et al. 2022): a vision transformer, and a text decoder that attends to its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.image.placement import WHOLE_PICTURE, Placement
from gradcam_core.models.backbone import Backbone, Encoded, device
from gradcam_core.models.hub.text_generator import (
    ACTIVATION,
    NOT_MEASURED,
    Checkpoint,
    TextGenerator,
)
from gradcam_core.models.info import ModelInfo

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TokenGrid(Backbone):
    """A vision transformer whose tokens, except the first, are laid out as a map."""

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        square = Image.new("RGB", (256, 256))
        return {
            layer: tuple(self.encode(square, layer).activations.shape[1:]) for layer in self.layers
        }

    def encode_pixels(
        self, pixels: Tensor, layer: str | None = None, placement: Placement = WHOLE_PICTURE
    ) -> Encoded:
        layer = self.layer_named(layer)
        with torch.no_grad():
            tokens = self.to_layer(pixels, layer)
        side = round((tokens.shape[1] - 1) ** 0.5)
        grid = tokens[:, 1:].transpose(1, 2).reshape(1, -1, side, side).contiguous()
        return Encoded(layer, grid.requires_grad_(), tokens, pixels, placement)


class Blip(TextGenerator):
    """BLIP, for captions or for questions."""

    backbone_type = TokenGrid

    @staticmethod
    def stages(network: PreTrainedModel) -> dict[str, nn.Module]:
        return {"vision_model": _LastHiddenState(network.vision_model)}

    @property
    def end_token(self) -> int:
        return self.network.config.text_config.sep_token_id

    def head_input(self, encoded: Encoded) -> Tensor:
        # The first token has no position in the picture: it is in no map and stays unchanged.
        tokens = encoded.activations.flatten(2).transpose(1, 2)
        return torch.cat([encoded.head_input[:, :1], tokens], 1)

    def prompt(self, question: str | None) -> list[Tensor]:
        return [] if question is None else [self.token_ids(question)]

    def context(self, head_input: Tensor, prompt: Sequence[Tensor]) -> Tensor:
        if not prompt:
            return head_input
        return self.network.text_encoder(
            prompt[0],
            encoder_hidden_states=head_input,
            encoder_attention_mask=torch.ones(head_input.shape[:2], device=head_input.device),
        )[0]

    def logits(self, context: Tensor, ids: Tensor) -> Tensor:
        return self.network.text_decoder(
            torch.cat([self._start(), ids[:, :-1]], 1), **_attention_to(context)
        ).logits[0]

    def generate(self, context: Tensor, **settings: Any) -> Tensor:
        found = self.network.text_decoder.generate(
            self._start(),
            eos_token_id=self.end_token,
            pad_token_id=self.network.config.text_config.pad_token_id,
            **_attention_to(context),
            **settings,
        )
        return found[:, 1:]

    def _start(self) -> Tensor:
        return torch.tensor([[self.network.config.text_config.bos_token_id]], device=device())


class _LastHiddenState(nn.Module):
    """A network from `transformers`, reduced to its last hidden state."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(pixels).last_hidden_state


def _attention_to(context: Tensor) -> dict[str, Tensor]:
    mask = torch.ones(context.shape[:2], dtype=torch.long, device=context.device)
    return {"encoder_hidden_states": context, "encoder_attention_mask": mask}


def _info(name: str, task: str, title: str, download_mb: int, training: str) -> ModelInfo:
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
        ACTIVATION,
        convolutional=False,
        limits=f"{training} {NOT_MEASURED}",
    )


CAPTIONING = Checkpoint(
    _info(
        "blip-base",
        "captioning",
        "BLIP base",
        990,
        "It writes freely; it learned from people’s captions of everyday photos (COCO).",
    ),
    "Salesforce/blip-image-captioning-base",
    "BlipForConditionalGeneration",
    Blip,
)
VQA = Checkpoint(
    _info(
        "blip-vqa-base",
        "vqa",
        "BLIP base, for questions",
        1540,
        "It answers freely in a word or two; it learned from people’s answers about everyday "
        "photos (VQA v2).",
    ),
    "Salesforce/blip-vqa-base",
    "BlipForQuestionAnswering",
    Blip,
)
