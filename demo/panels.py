"""What the tabs share: their layout, and how it is wired."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr
from cachetools import TTLCache
from gradio.components import Component

import gradcam_core
from demo import choice
from demo.errors import in_sentences
from demo.examples import example_pictures, example_thumbnails, first_example
from demo.present import archive, blended
from demo.service import model_info
from demo.uploads import UploadedPicture

PRIVATE = {"api_visibility": "private"}


class Panel(NamedTuple):
    """The components that every tab has."""

    picture: UploadedPicture
    examples: gr.Dataset
    run: gr.Button
    model: gr.Dropdown
    second: gr.Dropdown  # to compare with
    note: gr.Markdown  # on the models
    layer: gr.Dropdown
    colour_map: gr.Dropdown
    results: list[Component]  # in the order of `present`
    summary: gr.Markdown
    slider: gr.ImageSlider
    shown: gr.State
    opacity: gr.Slider
    download: gr.Button
    file: gr.DownloadButton
    side_by_side: list[Component]  # in the order of `present.compared`


def layout(
    name: str,
    task: str,
    *,
    fields: Sequence[Component],
    above: Sequence[Component] = (),
    beside: Sequence[Component] = (),
    below: Sequence[Component] = (),
) -> Panel:
    """Lay a tab out: inputs on the left, results on the right.

    Args:
        name: Begins the ids of the tab's elements.
        task: "classification", "captioning" or "vqa".
        fields: The tab's own inputs, not yet rendered.
        above: The tab's own results, not yet rendered, over the large picture.
        beside: The same, on its right.
        below: The same, under it.
    """
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            picture = UploadedPicture(
                label="Picture",
                type="filepath",
                sources=["upload", "clipboard"],
                height=210,
                buttons=["fullscreen"],
                placeholder="Drop a photo here, paste one, or click to upload",
            )
            for field in fields:
                field.render()
            model, second = choice.pickers(name, task)
            note = gr.Markdown(visible=False, elem_classes="reading", elem_id=f"{name}-note")
            run = gr.Button("Explain", variant="primary")
            examples = _examples()
            layer, colour_map = _advanced(task)
        with gr.Column(scale=9, min_width=320):
            summary = gr.Markdown(WELCOME, elem_classes="summary", elem_id=f"{name}-summary")
            for component in above:
                component.render()
            with gr.Row():
                with gr.Column(scale=5, min_width=300):
                    slider = gr.ImageSlider(
                        label="Picture | Grad-CAM",
                        format="png",
                        height=320,
                        slider_position=6,  # nearly all of the overlay, and a handle to pull
                        buttons=["fullscreen"],
                        interactive=False,
                        elem_id=f"{name}-slider",
                    )
                with gr.Column(scale=3, min_width=240):
                    for component in beside:
                        component.render()
                    opacity = gr.Slider(
                        0, 1, gradcam_core.DEFAULT_OPACITY, step=0.05, label="Heat map opacity"
                    )
                    download = gr.Button("Download everything (ZIP)")
                    # The browser clicks this one itself as soon as the file is written.
                    file = gr.DownloadButton(visible="hidden", elem_id=f"{name}-file")
            for component in below:
                component.render()
            with gr.Row():
                side_by_side = choice.sides(name)
            with gr.Row():
                pictures = [_captioned(name, title, text) for title, text in _FIGURE.items()]
            numbers = gr.JSON(visible=False, label="Numbers")
            shown = gr.State()
    return Panel(
        picture,
        examples,
        run,
        model,
        second,
        note,
        layer,
        colour_map,
        [summary, slider, *pictures, numbers, shown],
        summary,
        slider,
        shown,
        opacity,
        download,
        file,
        side_by_side,
    )


# Given what listens to an event, as `button.click`, lets the event explain the present inputs.
ExplainOn = Callable[[Callable[..., Any]], None]


def connect(
    panel: Panel,
    tab: gr.Tab,
    task: str,
    *,
    endpoint: Callable[..., list[Any]],
    fields: Sequence[Component],
    cleared: Sequence[Component],
    own: Sequence[Component],
) -> ExplainOn:
    """Wire a tab.

    Args:
        panel: From `layout`.
        tab: The tab it is in.
        task: Of the tab.
        endpoint: (picture, *fields, layer, colour_map, opacity, model) -> values of
            `panel.results` and then of `own`; its name is that of the public endpoint.
        fields: The tab's own inputs.
        cleared: Those of them that belong to one picture, and are emptied with a new one.
        own: The tab's own results.

    Returns:
        What wires further events of the tab.
    """
    outputs = [*panel.results, *own]
    inputs = [
        *[panel.picture, *fields, panel.layer, panel.colour_map, panel.opacity],
        panel.model,
    ]
    explain = {
        "fn": in_sentences(endpoint),
        "inputs": inputs,
        "outputs": outputs,
        "show_progress_on": panel.slider,
        # Of several clicks in a row the last one counts, and is not lost.
        "trigger_mode": "always_last",
    }
    compare = {
        "fn": in_sentences(choice.comparison(task, download=False)),
        "inputs": [panel.shown, panel.second, panel.colour_map, panel.opacity],
        "outputs": panel.side_by_side,
        "show_progress_on": panel.side_by_side[2],
        "trigger_mode": "always_last",
    }

    def if_here(picture: str | None, *values: Any) -> list[Any]:
        choice.check_here(values[-1], task)
        return endpoint(picture, *values)

    def explain_on(event: Callable[..., Any], **others: Any) -> None:
        """Only the button downloads: the note on a model says so."""
        gated = {"fn": in_sentences(if_here)}
        event(**explain | gated | PRIVATE | others).success(**compare, **PRIVATE)

    # Gradio tells of an upload twice; the second answer must not undo what was clicked since.
    told: TTLCache[str | None, str | None] = TTLCache(1024, ttl=3)
    telling = threading.Lock()

    def new_picture(request: gr.Request, picture: str | None, *values: Any) -> list[Any]:
        with telling:
            if picture is not None and told.get(request.session_hash) == picture:
                return [gr.skip()] * (len(cleared) + len(outputs))
            told[request.session_hash] = picture
        empty = [None] * len(cleared)
        if picture is None or not choice.is_here(values[-1], task):
            return [*empty, WELCOME if picture is None else WAITING, *[None] * (len(outputs) - 1)]
        kept = [
            None if field in cleared else value
            for field, value in zip(inputs[1:], values, strict=True)
        ]
        return [*empty, *endpoint(picture, *kept)]

    def new_model(picture: str | None, *values: Any) -> list[Any]:
        if picture is None or not choice.is_here(values[-1], task):
            return [gr.skip()] * len(outputs)
        return endpoint(picture, *values)

    picked = {
        "fn": in_sentences(choice.picked(task)),
        "inputs": [panel.model, panel.second, panel.layer],
        "outputs": [panel.layer, panel.note],
        "show_progress": "hidden",
        **PRIVATE,
    }
    clicked = panel.run.click(
        **explain,
        api_name=endpoint.__name__,
        scroll_to_output=True,
    )
    # What has been downloaded is on this machine from now on, and its layers are known.
    downloading = {"fn": in_sentences(choice.comparison(task, download=True))}
    clicked.success(**compare | downloading, **PRIVATE).then(**picked)
    explain_on(panel.model.input(**picked).success, fn=in_sentences(new_model))
    panel.second.input(
        in_sentences(choice.noted(task)),
        [panel.model, panel.second],
        panel.note,
        show_progress="hidden",
        **PRIVATE,
    ).success(**compare, **PRIVATE)
    explain_on(panel.layer.input)
    explain_on(panel.colour_map.input)
    explain_on(panel.picture.change, fn=in_sentences(new_picture), outputs=[*cleared, *outputs])
    examples = [str(path) for path in example_pictures().values()]
    panel.examples.click(lambda i: examples[i], panel.examples, panel.picture, **PRIVATE)
    # Nobody should meet an empty tab.
    tab.select(
        lambda path: gr.skip() if path else first_example(),
        panel.picture,
        panel.picture,
        show_progress="hidden",
        **PRIVATE,
    )

    style = [panel.shown, panel.colour_map, panel.opacity]
    panel.opacity.release(
        in_sentences(blended), style, panel.slider, show_progress="hidden", **PRIVATE
    )
    panel.download.click(
        in_sentences(archive),
        [panel.shown, panel.colour_map],
        panel.file,
        concurrency_limit=1,  # a large photo takes a gigabyte
        **PRIVATE,
    ).success(None, js=f"() => document.querySelector('#{panel.file.elem_id}').click()")
    return explain_on


def best_labels(name: str, label: str) -> gr.Label:
    """Return the list of the five best labels, not yet rendered; see `connect_labels`."""
    return gr.Label(
        label=label, num_top_classes=5, show_heading=False, elem_id=f"{name}-labels", render=False
    )


def connect_labels(
    labels: gr.Label,
    field: gr.Dropdown,
    panel: Panel,
    explain_on: ExplainOn,
    task: str,
    opening: Callable[..., Any],
) -> None:
    """Let a click on a label explain it, and offer all labels in the field for typing one.

    Args:
        labels: The five best.
        field: The input for the label to explain.
        panel: From `layout`.
        explain_on: From `connect`.
        task: Of the tab.
        opening: The event after which the model is needed, `page.load` or `tab.select`; the page
            itself opens without waiting for it.
    """
    explain_on(field.input)
    explain_on(labels.select(_clicked, None, field, **PRIVATE).then)

    def offered(name: str | None) -> Any:
        info, here = model_info(name, task)
        if not here:
            return gr.skip()
        model = gradcam_core.load(info.name, task)
        return gr.update(
            choices=list(model.labels) if isinstance(model, gradcam_core.LabelModel) else []
        )

    offer = {"inputs": panel.model, "outputs": field, "show_progress": "hidden", **PRIVATE}
    opening(in_sentences(offered), **offer)
    panel.note.change(in_sentences(offered), **offer)


def _clicked(event: gr.SelectData) -> str:
    return event.value


def _examples() -> gr.Dataset:
    paths = example_thumbnails().values()
    return gr.Dataset(
        label="Examples",
        components=[gr.Image(visible=False, render=False)],
        samples=[[str(path)] for path in paths],
        type="index",
        samples_per_page=len(paths),
        layout="gallery",
        elem_classes="examples",
    )


def _advanced(task: str) -> tuple[gr.Dropdown, gr.Dropdown]:
    with gr.Accordion("Advanced", open=False):
        layers = gradcam_core.models(task)[0].layers
        layer = gr.Dropdown(
            list(layers),
            value=None,
            label="Target layer (optional)",
            info="Where the heat map is taken. Empty: the last; it knows most of what things are.",
            allow_custom_value=True,  # another model has others
        )
        colour_map = gr.Dropdown(
            list(gradcam_core.COLOUR_MAPS),
            value=gradcam_core.DEFAULT_COLOUR_MAP,
            label="Colour map",
        )
    return layer, colour_map


def _captioned(name: str, title: str, text: str) -> gr.Image:
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


WELCOME = """### Choose a picture, or click an example
The network says what it sees, and Grad-CAM shows where."""

WAITING = "### Press *Explain*: the model is downloaded first"

# The paper's Figure 1, and section 3.3.
_FIGURE = {
    "Guided Backprop": "Pixels that matter to the network at all: fine, but **not "
    "class-discriminative**. It looks much the same whatever is explained.",
    "Grad-CAM": "Where the evidence **for it** lies: coarse, but it moves when you ask for "
    "something else.",
    "Guided Grad-CAM": "The two multiplied: fine detail, only where the evidence lies.",
    "Counterfactual": "Where the evidence **against it** lies: cover this, and it gets likelier.",
}
