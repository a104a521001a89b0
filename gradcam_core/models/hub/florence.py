"""Florence-2 (Xiao et al. 2024): DaViT, then a BART that reads the picture and an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gradcam_core.models.backbone import device
from gradcam_core.models.hub.text_generator import (
    ACTIVATION,
    NOT_MEASURED,
    Checkpoint,
    TextGenerator,
)
from gradcam_core.models.info import ModelInfo

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Florence(TextGenerator):
    """Florence-2, for captions."""

    @staticmethod
    def stages(network: PreTrainedModel) -> dict[str, nn.Module]:
        tower = network.model.vision_tower
        return {
            f"blocks.{i}": nn.Sequential(embedding, *blocks)
            for i, (embedding, blocks) in enumerate(zip(tower.convs, tower.blocks, strict=True))
        }

    @property
    def end_token(self) -> int:
        return self.network.config.text_config.eos_token_id

    def prompt(self, question: str | None) -> list[Tensor]:
        # What the processor of `transformers` writes for "<CAPTION>".
        return [self.token_ids("<s>What does the image describe?</s>", add_special_tokens=False)]

    def context(self, head_input: Tensor, prompt: Sequence[Tensor]) -> Tensor:
        image_tokens = self.network.model.multi_modal_projector(head_input)
        embeddings = torch.cat([image_tokens, self.embed(prompt[0])], 1)
        return self.network.model.language_model.encoder(inputs_embeds=embeddings)[0]

    def logits(self, context: Tensor, ids: Tensor) -> Tensor:
        decoded = self.network.model.language_model.decoder(
            torch.cat([self._start(), ids[:, :-1]], 1), encoder_hidden_states=context
        )[0]
        return self.network.lm_head(decoded[0, 1:])

    def generate(self, context: Tensor, **settings: Any) -> Tensor:
        from transformers.modeling_outputs import BaseModelOutput

        found = self.network.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=context),
            attention_mask=torch.ones(context.shape[:2], dtype=torch.long, device=context.device),
            decoder_input_ids=self._start(),
            **settings,
        )
        return found[:, 2:]

    def _start(self) -> Tensor:
        text = self.network.config.text_config
        return torch.tensor([[text.decoder_start_token_id, text.bos_token_id]], device=device())


CAPTIONING = Checkpoint(
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
        ACTIVATION,
        convolutional=False,
        limits=f"It writes one short sentence freely. {NOT_MEASURED}",
    ),
    "florence-community/Florence-2-base",
    "Florence2ForConditionalGeneration",
    Florence,
)
