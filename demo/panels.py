"""What the tabs share: the picture input, the result panel, errors as sentences."""

import functools
import html
import logging
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.utils import get_upload_folder

import gradcam_core as gc
from demo.examples import example_pictures
from demo.service import Shown
from demo.uploads import UploadedPicture
from gradcam_core import render

_log = logging.getLogger(__name__)

_PROGRESS = gr.Progress()  # as a default value it tells Gradio to show a bar


class Inputs(NamedTuple):
    """The components on the left of every tab."""

    picture: UploadedPicture
    fields: gr.Column  # where a tab puts its own inputs
    run: gr.Button
    layer: gr.Dropdown
    colour_map: gr.Dropdown


class Results(NamedTuple):
    """The components on the right of every tab."""

    shared: list[gr.components.Component]  # in the order of `show`
    slider: gr.ImageSlider
    shown: gr.State
    own: gr.Column  # where a tab puts its own results
    opacity: gr.Slider
    download: gr.Button
    file: gr.DownloadButton


def inputs(task: str) -> Inputs:
    """Build the left column of a tab."""
    picture = UploadedPicture(
        label="Picture",
        type="filepath",
        sources=["upload", "clipboard"],
        height=210,
        buttons=["fullscreen"],
        placeholder="Drop a photo here, paste one, or click to upload",
        elem_classes="picture",
    )
    fields = gr.Column(min_width=0)
    run = gr.Button("Explain", variant="primary")
    _examples(picture)
    with gr.Accordion("Advanced", open=False):
        layers = gc.models(task)[0].layers
        layer = gr.Dropdown(
            list(layers),
            value=layers[-1],
            label="Target layer",
            info="Where the heat map is taken. The last layer knows most about classes.",
        )
        colour_map = gr.Dropdown(
            list(render.COLOUR_MAPS), value=render.DEFAULT_COLOUR_MAP, label="Colour map"
        )
    return Inputs(picture, fields, run, layer, colour_map)


def first_example() -> str:
    """Return the path of the picture that a new visitor sees explained."""
    return str(next(iter(example_pictures().values())))


def _examples(picture: UploadedPicture) -> None:
    paths = list(example_pictures().values())
    gallery = gr.Dataset(
        label="Examples",
        components=[gr.Image(visible=False, render=False)],
        samples=[[str(path)] for path in paths],
        type="index",
        samples_per_page=len(paths),
        layout="gallery",
        elem_classes="examples",
    )
    gallery.click(lambda index: str(paths[index]), gallery, picture, api_visibility="private")


def results(name: str) -> Results:
    """Build the right column of a tab; `name` begins the ids of its elements."""
    summary = gr.Markdown(_WELCOME, elem_classes="summary", elem_id=f"{name}-summary")
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            slider = gr.ImageSlider(
                label="Picture | Grad-CAM",
                format="png",
                height=320,
                slider_position=6,  # nearly all of the overlay, and a handle to pull it away
                buttons=["fullscreen"],
                interactive=False,
                elem_id=f"{name}-slider",
            )
        with gr.Column(scale=3, min_width=240):
            own = gr.Column()
            opacity = gr.Slider(0, 1, render.DEFAULT_OPACITY, step=0.05, label="Heat map opacity")
            download = gr.Button("Download everything (ZIP)", elem_id=f"{name}-download")
            # The browser clicks this one itself as soon as the file is written.
            file = gr.DownloadButton(visible="hidden", elem_id=f"{name}-file")
    with gr.Row(elem_classes="figure"):
        pictures = [_panel(name, title, text) for title, text in _PANELS.items()]
    numbers = gr.JSON(visible=False, label="Numbers")
    shown = gr.State(time_to_live=3600)
    shared = [summary, slider, *pictures, numbers, shown]
    return Results(shared, slider, shown, own, opacity, download, file)


def _panel(name: str, title: str, text: str) -> gr.Image:
    with gr.Column(min_width=140):
        picture = gr.Image(
            label=title,
            format="png",
            height=170,
            buttons=["fullscreen"],
            interactive=False,
            elem_id=f"{name}-{title.lower().replace(' ', '-')}",
        )
        gr.Markdown(text, elem_classes="reading")
    return picture


def connect(
    inputs: Inputs,
    results: Results,
    *,
    endpoint: Callable[..., list[Any]],
    fields: list[gr.components.Component],
    cleared: list[gr.components.Component],
    own: list[gr.components.Component],
) -> dict[str, Any]:
    """Wire a tab.

    Args:
        inputs: The left column.
        results: The right column.
        endpoint: (picture, *fields, layer, colour_map, opacity) -> values of `results.shared` and
            then of `own`; its name is that of the public endpoint.
        fields: The tab's own inputs.
        cleared: Those of them that belong to one picture, and are emptied with a new one.
        own: The tab's own results.

    Returns:
        The arguments of an event that explains the present inputs.
    """
    outputs = [*results.shared, *own]
    explain = {
        "fn": in_sentences(endpoint),
        "inputs": [inputs.picture, *fields, inputs.layer, inputs.colour_map, results.opacity],
        "outputs": outputs,
        "show_progress_on": results.slider,
    }
    private = {"api_visibility": "private"}
    inputs.run.click(**explain, api_name=endpoint.__name__, scroll_to_output=True)
    inputs.layer.input(**explain, **private)

    def new_picture(picture: str | None, *values: Any) -> list[Any]:
        empty = [None] * len(cleared)
        if picture is None:
            return [*empty, _WELCOME, *[None] * (len(outputs) - 1)]
        kept = [
            None if field in cleared else value
            for field, value in zip(explain["inputs"][1:], values, strict=True)
        ]
        return [*empty, *endpoint(picture, *kept)]

    inputs.picture.change(
        **explain | {"fn": in_sentences(new_picture), "outputs": [*cleared, *outputs]}, **private
    )

    style = [results.shown, inputs.colour_map, results.opacity]
    results.opacity.release(
        in_sentences(blended), style, results.slider, show_progress="hidden", **private
    )
    inputs.colour_map.input(in_sentences(show), style, results.shared, **private)
    results.download.click(
        in_sentences(archive), [results.shown, inputs.colour_map], results.file, **private
    ).success(None, js=f"() => document.querySelector('#{results.file.elem_id}').click()")
    return explain | private


def show(shown: Shown, colour_map: str, opacity: float) -> list[Any]:
    """Return the values of `Results.shared`, in their order."""
    explanation = shown.explanation
    drawn = render.panels(explanation, colour_map)
    return [
        summary(shown),
        blended(shown, colour_map, opacity),
        drawn["guided_backprop"],
        drawn["grad_cam"],
        drawn["guided_grad_cam"],
        drawn["counterfactual"],
        explanation.numbers(),
        shown,
    ]


def blended(shown: Shown, colour_map: str, opacity: float) -> tuple[Any, Any]:
    """Return the picture and its overlay, for the slider."""
    explanation = shown.explanation
    picture = explanation.picture
    return picture, render.overlay(picture, explanation.heatmap, colour_map, opacity)


def summary(shown: Shown) -> str:
    """Say in words what is shown."""
    explanation = shown.explanation
    h, w = explanation.raw.shape
    best = explanation.predictions[0]
    target = html.escape(explanation.target)
    own = (
        "the model's first choice"
        if best.text == explanation.target
        else f"the model's first choice is {html.escape(best.text)} ({best.probability:.1%})"
    )
    verdict = (
        f"Nothing in this picture speaks for **{target}**, so the heat map is empty"
        if explanation.no_evidence
        else f"Why **{target}**?"
    )
    return (
        f"### {verdict}\n"
        f"Logit {explanation.score:.2f}, probability {explanation.probability:.1%}; {own}. "
        f"Layer `{explanation.layer}` ({w} × {h}) of {explanation.model}, "
        f"{shown.seconds * 1000:.0f} ms."
    )


def archive(shown: Shown | None, colour_map: str, progress: gr.Progress = _PROGRESS) -> str:
    """Write everything about an explanation, at the picture's own size, into a ZIP file."""
    if shown is None:
        raise ValueError("Explain a picture first, then download the result.")
    progress(0.1, desc="Drawing at full size")
    explanation = shown.full_size()
    name = re.sub(r"[^a-z0-9]+", "-", explanation.target.lower()).strip("-")[:40]
    folder = Path(tempfile.mkdtemp(dir=get_upload_folder()))
    with tempfile.TemporaryDirectory() as temporary:
        render.save(explanation, Path(temporary), colour_map)
        progress(0.8, desc="Packing")
        return shutil.make_archive(str(folder / f"grad-cam-{name}"), "zip", temporary)


def in_sentences(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Show whatever a handler raises as one sentence in the page, and go on."""

    @functools.wraps(handler)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except gr.Error:
            raise
        except (ValueError, FileNotFoundError, ConnectionError) as error:
            # Gradio shows the message as HTML, and it may repeat what the user typed.
            raise gr.Error(html.escape(str(error)), print_exception=False) from None
        except Exception:
            _log.exception("A request failed")
            raise gr.Error(_FAILED, print_exception=False) from None

    return wrapped


_WELCOME = """### Choose a picture, or click an example
The network says what it sees, and Grad-CAM shows where."""

_FAILED = "Something went wrong in the demo itself. It has been logged; please try another picture."

_PANELS = {
    "Guided Backprop": "Pixels that matter to the network at all: fine, but **not "
    "class-discriminative**. It looks much the same for every class.",
    "Grad-CAM": "Where the evidence **for the class** lies: coarse, but it moves when the class "
    "does.",
    "Guided Grad-CAM": "The two multiplied: fine detail, only where the evidence lies.",
    "Counterfactual": "Where the evidence **against** it lies: cover this, and the class gets "
    "likelier.",
}
