"""A vision transformer of the hub in the page: its methods are offered, and those of CNNs not."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from huggingface_hub import constants
from playwright.sync_api import Page, expect
from torch import nn

import gradcam_core
from demo.examples import example_pictures
from tests.support import hub_cache
from tests.support.page import shows

PATIENCE = 120_000  # milliseconds


@pytest.fixture
def vit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a small one, in the folders that huggingface_hub keeps what it downloaded in."""
    torch.manual_seed(0)
    small = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 64}
    labels = {0: "boxer", 1: "tabby", 2: "moped"}
    network = transformers.ViTForImageClassification(
        transformers.ViTConfig(id2label=labels, **small)
    )
    for parameter in network.parameters():  # else attention is nearly the same everywhere
        nn.init.normal_(parameter, std=0.3)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = hub_cache.snapshot(tmp_path, "small/vit")
    network.save_pretrained(snapshot)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(snapshot)
    return "small/vit"


def test_its_methods_are_offered_and_compared(visit: Callable[..., Page], vit: str) -> None:
    page = visit(390)
    page.locator(".options summary").click()
    offered = page.locator(".method option")
    made_for_it = ["Attention times gradient", "Attention rollout"]
    assert not {*made_for_it, "Own attention"} & {*offered.all_inner_texts()}  # of a CNN
    page.locator(".hub").fill(vit)
    page.locator(".hub").press("Enter")
    details = page.locator(".technical")
    expect(details).to_contain_text("a transformer's tokens", timeout=PATIENCE)
    assert {*made_for_it} < {*offered.all_inner_texts()}
    assert not {"Deconv Grad-CAM", "c-MWP"} & {*offered.all_inner_texts()}  # of ReLU networks
    page.locator(".method").select_option("attention-gradient")
    first = page.locator(".views button").first
    expect(first).to_have_text("Attention times gradient")
    expected = gradcam_core.explain(
        example_pictures()["cat and motorcycle"], model=vit, method="attention-gradient"
    )
    shows(page, expected.target)
    expect(page.locator(".scale .high")).to_have_text(f"{expected.raw.max():.2g}")

    page.locator(".analysis summary", has_text="Compare methods").click()
    methods = page.get_by_role("region", name="Methods")
    methods.get_by_role("button", name="Draw the quick ones").click()
    refused = methods.locator(".skipped summary")
    expect(refused).to_contain_text("CAM", timeout=PATIENCE)  # known only when it is tried
    expect(methods.get_by_role("button", name="Measure each")).to_be_enabled(timeout=PATIENCE)
    for title in made_for_it:
        expect(methods.get_by_role("img", name=f"{title} for")).to_be_visible()
    refused.click()
    expect(methods.locator(".skipped li").first).to_be_visible()
    layers = page.get_by_role("region", name="Layers")
    layers.get_by_role("button", name="Draw all layers").click()
    expect(layers.locator(".same")).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
