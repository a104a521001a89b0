"""Which model explains, and which one beside it."""

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.components import Component

import gradcam_core
from demo import service
from demo.present import PROGRESS, compared, plain

_ALONE = "none"


def pickers(name: str, task: str) -> tuple[gr.Dropdown, gr.Dropdown]:
    """Return the choice of a model, and of one to compare it with."""
    any_id = task == "classification"
    choices = [(_label(info), info.name) for info in gradcam_core.models(task)]
    model = gr.Dropdown(
        choices,
        value=choices[0][1],
        label="Model",
        info="Or type the id of a CNN on huggingface.co." if any_id else None,
        allow_custom_value=any_id,
        elem_id=f"{name}-model",
    )
    second = gr.Dropdown(
        [(_ALONE, _ALONE), *choices],
        value=_ALONE,
        label="Beside it",
        info="A second model for the same: which one would you trust?",
        allow_custom_value=any_id,
        elem_id=f"{name}-beside",
    )
    return model, second


def sides(name: str) -> list[Component]:
    """Return a picture and a text for each of the two models; see `compared`."""
    parts: list[Component] = []
    for side in ("first", "second"):
        with gr.Column(min_width=240):
            parts += [
                gr.Image(
                    visible=False,
                    format="png",
                    height=260,
                    buttons=["fullscreen"],
                    interactive=False,
                    elem_id=f"{name}-{side}",
                ),
                gr.Markdown(visible=False, elem_classes="reading", elem_id=f"{name}-{side}-text"),
            ]
    return parts


def picked(task: str) -> Callable[[str | None, str | None, str | None], list[Any]]:
    """Return the handler (model, second, layer) -> the model's target layers, and the note."""

    def handle(name: str | None, second: str | None, layer: str | None) -> list[Any]:
        info, here = service.model_info(name, task)
        layers = info.layers
        if here and not layers:  # what only loading tells
            layers = tuple(gradcam_core.load(info.name, task).layers)
        value = layer if layer in layers else None
        return [gr.update(choices=list(layers), value=value), noted(task)(name, second)]

    return handle


def noted(task: str) -> Callable[[str | None, str | None], Any]:
    """Return the handler (model, second) -> the note: size and licence, before any download."""

    def handle(name: str | None, second: str | None) -> Any:
        chosen = [name, second if second != _ALONE else None]
        infos = [service.model_info(each, task) for each in chosen if each]
        lines = [_note(*each) for each in infos if each[0] != gradcam_core.models(task)[0]]
        return gr.update(value="\n\n".join(lines), visible=bool(lines))

    return handle


def is_here(name: str | None, task: str) -> bool:
    """Tell whether a model is on this machine: what must be downloaded waits for the button."""
    return service.model_info(name, task)[1]


def check_here(name: str | None, task: str) -> None:
    """Raise an error for a model that is not on this machine: its download waits for the button."""
    info, here = service.model_info(name, task)
    if not here:
        raise ValueError(f"{info.name} is not on this machine yet: press Explain to download it.")


def comparison(task: str, *, download: bool) -> Callable[..., list[Any]]:
    """Return the handler that explains what is shown by a second model too.

    Args:
        task: Of the tab.
        download: Whether to download the second model if need be.
    """

    def handle(
        shown: service.Shown | None,
        second: str | None,
        colour_map: str,
        opacity: float,
        progress: gr.Progress = PROGRESS,
    ) -> list[Any]:
        if shown is None or not second or second == _ALONE:
            return [gr.update(visible=False)] * 4
        explanation = shown.explanation
        try:
            if not download:
                check_here(second, task)
            other = service.explain(
                str(shown.path),
                task,
                target=explanation.target,
                question=explanation.question,
                model=second,
            )
        except (ValueError, ConnectionError) as error:  # of the second model alone
            return compared(shown, None, str(error), colour_map, opacity)
        return compared(shown, other, "", colour_map, opacity)

    return handle


def _label(info: gradcam_core.ModelInfo) -> str:
    return f"{info.name} · {f'{info.download_mb} MB' if info.download_mb else 'embedded'}"


def _note(info: gradcam_core.ModelInfo, here: bool) -> str:
    backbone = "" if info.backbone == info.name else f"{info.backbone}, "
    about = f"**{plain(info.name)}**: {backbone}licence {plain(info.licence)}."
    if not info.convolutional:
        about += " What it looks with is **not convolutional**: its map is of transformer tokens."
    if here:
        return about
    return f"{about} **{info.download_mb:,} MB are downloaded**, once, when you press *Explain*."
