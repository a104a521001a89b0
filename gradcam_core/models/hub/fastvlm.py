"""FastVLM (Vasu et al. 2025): the vision network FastViTHD and the language model Qwen2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gradcam_core.models.hub.text_generator import (
    ACTIVATION,
    NOT_MEASURED,
    Checkpoint,
    TextGenerator,
)
from gradcam_core.models.info import ModelInfo

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class FastVlm(TextGenerator):
    """FastVLM, for captions or for questions: the same network with another instruction."""

    @staticmethod
    def stages(network: PreTrainedModel) -> dict[str, nn.Module]:
        tower = network.model.vision_tower.timm_model
        stages = {f"stages.{i}": stage for i, stage in enumerate(tower.stages)}
        return {"stem": tower.stem, **stages, "final_conv": tower.final_conv}

    @property
    def end_token(self) -> int:
        return self.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def prompt(self, question: str | None) -> list[Tensor]:
        instruction = (
            "Describe the image in one short sentence."
            if question is None
            else f"{question}\nAnswer the question using a single word or phrase."
        )
        content = [{"type": "image"}, {"type": "text", "text": instruction}]
        chat = self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=self.processor.chat_template or self.tokenizer.chat_template,
            add_generation_prompt=True,
            tokenize=False,
        )
        before, _, after = chat.partition(self.processor.image_token)
        return [self.token_ids(before), self.token_ids(after, add_special_tokens=False)]

    def context(self, head_input: Tensor, prompt: Sequence[Tensor]) -> Tensor:
        before, after = map(self.embed, prompt)
        patches = head_input.flatten(2).transpose(1, 2)
        return torch.cat([before, self.network.model.multi_modal_projector(patches), after], 1)

    def logits(self, context: Tensor, ids: Tensor) -> Tensor:
        embeddings = torch.cat([context, self.embed(ids[:, :-1])], 1)
        hidden = self.network.model.language_model(inputs_embeds=embeddings)[0]
        return self.network.lm_head(hidden[0, context.shape[1] - 1 :])

    def generate(self, context: Tensor, **settings: Any) -> Tensor:
        return self.network.generate(
            inputs_embeds=context,
            # Some checkpoints name only the token that ends a whole chat.
            eos_token_id=[self.end_token, self.tokenizer.eos_token_id],
            pad_token_id=self.tokenizer.pad_token_id,
            **settings,
        )


def _checkpoint(name: str, task: str) -> Checkpoint:
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
        ACTIVATION,
        limits=f"A small language model that sees the picture and writes freely. {NOT_MEASURED}",
    )
    return Checkpoint(info, "KamilaMila/FastVLM-0.5B", "FastVlmForConditionalGeneration", FastVlm)


CAPTIONING = _checkpoint("fastvlm-0.5b", "captioning")
VQA = _checkpoint("fastvlm-0.5b-vqa", "vqa")
