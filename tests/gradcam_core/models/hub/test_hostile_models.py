"""Folders whose settings or weights ask for much memory or time, or for other files.

Each is refused with a sentence, and this process needs little for it.
"""

import json
import os
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save
from torch import nn

from gradcam_core.models.hub.by_id import load_by_id

pytestmark = pytest.mark.slow

_WEIGHTS = "model.safetensors"
_TIMM = {"architecture": "test_resnet", "num_classes": 10}
_RESNET = {
    "model_type": "resnet",
    "architectures": ["ResNetForImageClassification"],
    "hidden_sizes": [8, 8],
    "depths": [1, 1],
    "embedding_size": 8,
}
_VIT = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 64,
}


@pytest.fixture(scope="module")
def weights() -> bytes:
    return save(timm.create_model("test_resnet", num_classes=10).state_dict())


def _pretrained(**settings: Any) -> dict[str, Any]:
    return _TIMM | {"pretrained_cfg": {"num_classes": 10} | settings}


# The settings' files, and a part of the sentence.
_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "wide": ({"config.json": _RESNET | {"hidden_sizes": [60000] * 2}}, "memory"),
    "deep": ({"config.json": _RESNET | {"depths": [200000, 1]}}, "layers"),
    "long": ({"config.json": _VIT | {"num_hidden_layers": 10**9}}, "layers"),
    "many-patches": ({"config.json": _VIT | {"image_size": 40000}}, "a side"),
    "small-patches": (
        {"config.json": _VIT | {"image_size": 2000, "patch_size": 1}},
        "memory|weights",
    ),
    "timm-wide": ({"config.json": _pretrained() | {"model_args": {"channels": [60000]}}}, "memory"),
    "timm-deep": (
        {"config.json": _pretrained() | {"model_args": {"layers": [10**9] * 4}}},
        "memory|layers",
    ),
    "timm-input": ({"config.json": _pretrained(input_size=[3, 13000, 13000])}, "a side"),
    "timm-crop": ({"config.json": _pretrained(crop_pct=1e-4)}, "memory"),
    "processor": (
        {
            "config.json": _RESNET,
            "preprocessor_config.json": {
                "image_processor_type": "ConvNextImageProcessor",
                "size": {"shortest_edge": 50000},
            },
        },
        "a side",
    ),
    "name": ({"config.json": _TIMM | {"label_names": ["x" * 900_000] * 10}}, "characters"),
    "odd-names": ({"config.json": _TIMM | {"label_names": [None, 5, {}, []] + ["x"] * 6}}, "texts"),
    "parts": (
        {
            "config.json": _RESNET,
            "model.safetensors.index.json": {
                "metadata": {},
                "weight_map": {"a": "../../../../../../../../etc/passwd"},
            },
        },
        "outside",
    ),
}


@pytest.mark.parametrize("case", _SETTINGS)
def test_settings_that_ask_for_much_are_refused(case: str, weights: bytes, tmp_path: Path) -> None:
    files, reason = _SETTINGS[case]
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    if case != "parts":
        (tmp_path / _WEIGHTS).write_bytes(weights)
    before = _peak()
    with pytest.raises(ValueError, match=reason):
        load_by_id(str(tmp_path))
    assert _peak() - before < 400 * 2**20


def _deflated(path: Path) -> None:
    """Zeros: a thousandth of what is read."""
    plain = path.with_suffix(".plain")
    torch.save({"fc.weight": torch.zeros(50_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", 8) as target:
        for part in source.infolist():
            target.writestr(part.filename, source.read(part))
    plain.unlink()


def _bytes_from_pickle(path: Path) -> None:
    """A pickle that makes an array of zeros, which is allowed there."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", "3")
        archive.writestr("archive/byteorder", "little")
        archive.writestr(
            "archive/data.pkl", b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x02\x85R."
        )


def _long_header(path: Path) -> None:
    size = 90_000_000
    path.write_bytes(size.to_bytes(8, "little") + b'{"a":"' + b"x" * (size - 8) + b'"}')


_FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "deflated": ("pytorch_model.bin", _deflated, "compressed"),
    "bytes": ("pytorch_model.bin", _bytes_from_pickle, "memory"),
    "header": (_WEIGHTS, _long_header, "header"),
    "pipe": (_WEIGHTS, os.mkfifo, "regular"),
    "device": (_WEIGHTS, lambda path: path.symlink_to("/dev/zero"), "regular"),
    "other": (_WEIGHTS, lambda path: path.symlink_to("/etc/passwd"), "cannot be used"),
}


@pytest.mark.parametrize("case", _FILES)
def test_weights_that_take_much_are_refused(case: str, tmp_path: Path) -> None:
    name, write, reason = _FILES[case]
    (tmp_path / "config.json").write_text(json.dumps(_TIMM))
    write(tmp_path / name)
    before = _peak()
    with pytest.raises(ValueError, match=reason) as refused:
        load_by_id(str(tmp_path))
    assert "root:" not in str(refused.value)
    assert _peak() - before < 400 * 2**20


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "config.json").write_text(json.dumps(_TIMM))
    torch.save({"fc.weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=str(tmp_path)):
        load_by_id(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_good_models_load_after_hostile_ones(weights: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(_RESNET | {"hidden_sizes": [60000] * 2}))
    (tmp_path / _WEIGHTS).write_bytes(weights)
    with pytest.raises(ValueError, match="memory"):
        load_by_id(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(_TIMM))
    assert len(load_by_id(str(tmp_path)).labels) == 10
    # Here, modules are made as ever.
    nn.Sequential(*(nn.Identity() for _ in range(11_000)))


def _peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
