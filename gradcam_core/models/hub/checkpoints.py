"""The text generators on the Hugging Face Hub: which there are, and loading them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import torch

from gradcam_core.models.backbone import device
from gradcam_core.models.hub import blip, fastvlm, florence
from gradcam_core.models.hub.download import cached_hub_folder, first_line, hub_folder
from gradcam_core.models.hub.text_generator import Checkpoint, TextGenerator

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHECKPOINTS = {
    checkpoint.info.name: checkpoint
    for checkpoint in (
        blip.CAPTIONING,
        florence.CAPTIONING,
        fastvlm.CAPTIONING,
        blip.VQA,
        fastvlm.VQA,
    )
}

# FastVLM has the same weights for captions and answers: both models share one network.
_networks: WeakValueDictionary[tuple[Path, torch.device], PreTrainedModel] = WeakValueDictionary()
_lock = threading.Lock()


def load_text_generator(name: str) -> TextGenerator:
    """Return one of `CHECKPOINTS`; downloads it at first use.

    Raises:
        ConnectionError: It is not on this machine, and cannot be downloaded.
        ValueError: See `load_text_generator_from`.
    """
    return load_text_generator_from(name, hub_folder(CHECKPOINTS[name].repository))


def has_weights(name: str) -> bool:
    """Return whether one of `CHECKPOINTS` is on this machine already."""
    return cached_hub_folder(CHECKPOINTS[name].repository) is not None


def load_text_generator_from(name: str, folder: Path) -> TextGenerator:
    """Return one of `CHECKPOINTS` from a folder that `save_pretrained` wrote.

    Raises:
        ValueError: The files in the folder are damaged, or belong to another model.
    """
    from transformers import AutoProcessor

    checkpoint = CHECKPOINTS[name]
    try:
        with _lock:
            network = _networks.get((folder, device()))
            if network is None:
                network = _networks[folder, device()] = _load_network(checkpoint, folder)
            processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # damaged files raise errors of many types
        raise ValueError(f"{name} cannot be read: {first_line(error)}") from error
    return checkpoint.family(checkpoint, network, processor)


def _load_network(checkpoint: Checkpoint, folder: Path) -> PreTrainedModel:
    import transformers

    # "eager": PyTorch's fused attention kernels have no batched backward pass.
    network, loaded = getattr(transformers, checkpoint.network).from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
        trust_remote_code=False,
    )
    if loaded["missing_keys"]:
        raise ValueError("some of its weights are missing.")
    return network.eval().requires_grad_(False).to(device())
