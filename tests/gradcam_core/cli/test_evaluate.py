"""`gradcam evaluate`."""

from pathlib import Path

import transformers
from typer.testing import CliRunner

from gradcam_core.cli import app


def test_metrics_and_sanity_check(cat_file: Path, tmp_path: Path) -> None:
    # A small network: it makes some two hundred forward passes.
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 8])
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(tmp_path)
    arguments = ["evaluate", str(cat_file), "--sanity", "--model", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "Deletion, area under the curve: 0." in result.output
    assert "  resnet.encoder.stages.3" in result.output


def test_a_missing_photo() -> None:
    result = CliRunner().invoke(app, ["evaluate", "nowhere.jpg"])
    assert result.exit_code == 1
    assert "nowhere.jpg" in result.output
