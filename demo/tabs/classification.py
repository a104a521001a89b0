"""The classification tab: a picture and a class -> why the network says so."""

from typing import Any

import gradio as gr

import gradcam_core
from demo import panels, service
from demo.present import PROGRESS, present, probabilities

TASK = "classification"


def build(page: gr.Blocks, tab: gr.Tab) -> None:
    """Build the tab, inside `tab`."""
    target = gr.Dropdown(
        label="Class (optional)",
        info="By name or index. Empty: the network's first choice.",
        allow_custom_value=True,
        render=False,
    )
    classes = panels.best_labels("classify", "Five best classes (click one)")
    panel = panels.layout("classify", TASK, fields=[target], beside=[classes])
    explain_on = panels.connect(
        panel, tab, TASK, endpoint=classify, fields=[target], cleared=[target], own=[classes]
    )
    panels.connect_labels(classes, target, panel, explain_on, TASK, page.load)


def classify(
    picture: str | None,
    target: str | None = None,
    layer: str | None = None,
    colour_map: str = gradcam_core.DEFAULT_COLOUR_MAP,
    opacity: float = gradcam_core.DEFAULT_OPACITY,
    model: str | None = None,
    progress: gr.Progress = PROGRESS,
) -> list[Any]:
    """Explain why the network says `target` of a picture, or what it says itself if empty."""
    shown = service.explain(picture, TASK, target=target, model=model, layer=layer)
    return [*present(shown, colour_map, opacity), probabilities(shown)]
