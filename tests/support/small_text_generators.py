"""Small text generators of the real architectures, with random weights, saved as on the hub."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

_SENTENCES = [
    "a dog runs through the grass .",
    "What animal is this ? What does the image describe?",
    "Describe the image in one short sentence. Answer the question using a single word or phrase.",
]


def save(name: str, folder: Path) -> None:
    """Save a small network like that of `CHECKPOINTS[name]`, and its processor."""
    torch.manual_seed(0)
    network, processor = _FAMILIES[name]()
    # With its usual initialization, the text decoder hardly depends on the picture.
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.xavier_normal_(parameter.flatten(1))
    network.save_pretrained(folder)
    processor.save_pretrained(folder)


def _blip(task: str) -> tuple[transformers.PreTrainedModel, transformers.ProcessorMixin]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    words = ["a", "dog", "runs", "what", "animal", "is", "this", "?", ".", "##s", "##ing"]
    vocabulary = {word: i for i, word in enumerate([*special, *words])}
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = transformers.BlipConfig(
        text_config=size
        | {
            "vocab_size": len(vocabulary),
            "num_attention_heads": 4,
            "encoder_hidden_size": 32,
            "max_position_embeddings": 64,
            "bos_token_id": 5,
            "eos_token_id": 3,
            "sep_token_id": 3,
            "pad_token_id": 0,
        },
        vision_config=size | {"num_attention_heads": 4, "image_size": 64, "patch_size": 16},
    )
    kind = {
        "captioning": transformers.BlipForConditionalGeneration,
        "vqa": transformers.BlipForQuestionAnswering,
    }[task]
    images = transformers.BlipImageProcessor(size={"height": 64, "width": 64})
    return kind(config), transformers.BlipProcessor(
        images, transformers.BertTokenizer(vocab=vocabulary)
    )


def _florence() -> tuple[transformers.PreTrainedModel, transformers.ProcessorMixin]:
    tokenizer = _bpe(["<s>", "<pad>", "</s>", "<unk>", "<image>"], "<s>", "</s>", "<image>")
    config = transformers.Florence2Config(
        vision_config={
            "depths": (1, 1, 1, 1),
            "embed_dim": (16, 16, 32, 32),
            "num_heads": (2, 2, 2, 2),
            "num_groups": (2, 2, 2, 2),
            "window_size": 4,
            "projection_dim": 32,
        },
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 2,
        },
        image_token_id=tokenizer.image_token_id,
    )
    images = transformers.CLIPImageProcessor(
        size={"height": 128, "width": 128}, do_center_crop=False, image_seq_length=17
    )
    network = transformers.Florence2ForConditionalGeneration(config)
    return network, transformers.Florence2Processor(images, tokenizer)


_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _fast_vlm() -> tuple[transformers.PreTrainedModel, transformers.ProcessorMixin]:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"]
    tokenizer = _bpe(special, None, "<|endoftext|>", "<image>")
    config = transformers.FastVlmConfig(
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": "fastvit_mci3",
            "do_pooling": True,
            "global_pool": "avg",
            "hidden_size": 64,
            "model_args": {
                "inference_mode": True,
                "layers": (1, 1, 1, 1, 1),
                "embed_dims": (16, 16, 16, 32, 32),
            },
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "bos_token_id": None,
            "eos_token_id": 0,
            "pad_token_id": 0,
        },
        image_token_index=tokenizer.image_token_id,
    )
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": 256}, crop_size={"height": 256, "width": 256}
    )
    network = transformers.FastVlmForConditionalGeneration(config)
    return network, transformers.LlavaProcessor(
        images,
        tokenizer,
        patch_size=64,
        vision_feature_select_strategy="full",
        chat_template=_CHAT,
    )


def _bpe(
    special: list[str], start: str | None, end: str, image: str
) -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, special_tokens=special)
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=start,
        eos_token=end,
        pad_token=special[1] if start else special[0],
        extra_special_tokens={"image_token": image},
    )


_FAMILIES = {
    "blip-base": lambda: _blip("captioning"),
    "blip-vqa-base": lambda: _blip("vqa"),
    "florence-2-base": _florence,
    "fastvlm-0.5b": _fast_vlm,
    "fastvlm-0.5b-vqa": _fast_vlm,
}
