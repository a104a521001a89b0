"""A fixed sample of docs/architectures.md, and the page itself."""

from pathlib import Path

import pytest

from benchmarks.architectures import Row, networks, page, read_rows, tried


@pytest.mark.parametrize(
    ("library", "network", "layer", "size"),
    [
        ("torchvision", "shufflenet_v2_x0_5", "conv5", "7 × 7"),
        ("timm", "pit_ti_224", "transformers.2.blocks.2", "7 × 7"),
        ("transformers", "ViTForImageClassification", "vit.layers.1", "14 × 14"),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in [
                ("torchvision", "mobilenet_v3_small", "features", "7 × 7"),
                ("torchvision", "squeezenet1_1", "features", "13 × 13"),
                ("torchvision", "swin_t", "permute", "7 × 7"),
                ("torchvision", "vit_b_32", "encoder.layers.encoder_layer_10", "7 × 7"),
                ("timm", "coat_tiny", "parallel_blocks.5.norm14", "7 × 7"),
                ("timm", "efficientvim_m1", "stages.2", "4 × 4"),
                ("timm", "hiera_tiny_224", "blocks.11", "7 × 7"),
                ("timm", "mixer_s16_224", "norm", "14 × 14"),
                ("timm", "nest_tiny", "norm", "14 × 14"),
                ("transformers", "HieraForImageClassification", "hiera.encoder.stages.3", "7 × 7"),
                ("transformers", "LevitForImageClassification", "levit.encoder.stages.2", "4 × 4"),
                ("transformers", "SwinForImageClassification", "swin.layernorm", "7 × 7"),
            ]
        ),
    ],
)
def test_a_network_is_explained(library: str, network: str, layer: str, size: str) -> None:
    assert tried(library, network) == Row(library, network, layer, size)


def test_what_takes_no_picture_is_refused() -> None:
    row = tried("transformers", "Siglip2ForImageClassification")
    assert "cannot be run" in row.problem
    assert not row.layer


def test_the_page_has_a_line_for_each_network(tmp_path: Path) -> None:
    assert len({library for library, _ in networks()}) == 3
    rows = [Row("timm", "one", "stage.1", "7 × 7"), Row("torchvision", "two", problem="a | b")]
    text = page(rows)
    assert text.index("two") < text.index("one")
    assert "| one | `stage.1` | 7 × 7 |" in text
    assert "1 of 2" in text
    assert read_rows(tmp_path / "none.jsonl") == []
