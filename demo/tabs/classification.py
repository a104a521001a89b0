"""The classification tab: a picture and a class -> why the network says so."""

from typing import Any

import gradio as gr

import gradcam_core as gc
from demo import panels, service
from gradcam_core import render

TASK = "classification"


def build(page: gr.Blocks) -> None:
    """Build the tab inside the current `gr.Tab` of `page`."""
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            inputs = panels.inputs(TASK)
            with inputs.fields:
                target = gr.Dropdown(
                    label="Class (optional)",
                    info="Any of 1000, by name or index. Empty: the network's first choice.",
                    allow_custom_value=True,
                )
        with gr.Column(scale=9, min_width=320):
            results = panels.results("classify")
            with results.own:
                classes = gr.Label(
                    label="Five best classes (click one)",
                    num_top_classes=5,
                    show_heading=False,
                    elem_id="classify-classes",
                )
    explain = panels.connect(
        inputs, results, endpoint=classify, fields=[target], cleared=[target], own=[classes]
    )
    target.input(**explain)
    classes.select(_clicked, None, target, api_visibility="private").then(**explain)
    # The names need the model, which takes seconds to import: the page opens without them.
    page.load(_class_names, None, target, api_visibility="private", show_progress="hidden").then(
        panels.first_example, None, inputs.picture, api_visibility="private"
    )


def classify(
    picture: str | None,
    target: str | None = None,
    layer: str | None = None,
    colour_map: str = render.DEFAULT_COLOUR_MAP,
    opacity: float = render.DEFAULT_OPACITY,
) -> list[Any]:
    """Explain why the network says `target` of a picture, or what it says itself if empty."""
    shown = service.explain(picture, TASK, target=target, layer=layer)
    probabilities = {p.text: p.probability for p in shown.explanation.predictions}
    return [*panels.show(shown, colour_map, opacity), probabilities]


def _clicked(event: gr.SelectData) -> str:
    return event.value


def _class_names() -> dict[str, Any]:
    return gr.update(choices=list(gc.load(gc.models(TASK)[0].name).labels))
