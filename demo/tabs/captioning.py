"""The captioning tab: a picture and a caption -> where each word comes from."""

from dataclasses import replace
from typing import Any

import gradio as gr

import gradcam_core
from demo import panels, service
from demo.errors import in_sentences
from demo.present import PROGRESS, blended, own_captions, present, summary, word_strip, words

TASK = "captioning"


def build(tab: gr.Tab) -> None:
    """Build the tab, inside `tab`."""
    typed = gr.Textbox(
        label="Caption (optional)",
        info="What you would say, in English. Empty: the network's own caption.",
        render=False,
    )
    sentence = gr.HighlightedText(
        label="Click a word: the stronger its colour, the more of it the picture explains",
        combine_adjacent=False,
        show_legend=False,
        interactive=False,
        elem_id="caption-words",
        render=False,
    )
    own = gr.Dataframe(
        headers=["The network's own captions (click one)", "log p"],
        column_widths=["78%", "22%"],
        interactive=False,
        wrap=True,
        buttons=[],
        elem_id="caption-own",
        render=False,
    )
    strip = gr.Gallery(
        label="Heat map of each word, with its log-probability",
        columns=8,
        height="auto",
        object_fit="contain",
        allow_preview=False,
        format="png",
        buttons=[],
        interactive=False,
        elem_id="caption-strip",
        render=False,
    )
    panel = panels.layout(
        "caption", TASK, fields=[typed], above=[sentence], beside=[own], below=[strip]
    )
    explain_on = panels.connect(
        panel,
        tab,
        TASK,
        endpoint=caption,
        fields=[typed],
        cleared=[typed],
        own=[sentence, own, strip],
    )
    explain_on(typed.submit)
    explain_on(own.select(_clicked, None, typed, **panels.PRIVATE).then)
    style = [panel.shown, panel.colour_map, panel.opacity]
    for words_shown, offset in ((sentence, 0), (strip, 1)):
        words_shown.select(
            in_sentences(_show_word(offset)),
            style,
            [panel.shown, panel.summary, panel.slider],
            show_progress="hidden",
            **panels.PRIVATE,
        )


def caption(
    picture: str | None,
    caption: str | None = None,
    layer: str | None = None,
    colour_map: str = gradcam_core.DEFAULT_COLOUR_MAP,
    opacity: float = gradcam_core.DEFAULT_OPACITY,
    model: str | None = None,
    progress: gr.Progress = PROGRESS,
) -> list[Any]:
    """Explain `caption` of a picture word by word, or the network's own if empty."""
    shown = service.explain(picture, TASK, target=caption, model=model, layer=layer)
    return [
        *present(shown, colour_map, opacity),
        words(shown),
        own_captions(shown),
        word_strip(shown, colour_map),
    ]


def _clicked(event: gr.SelectData) -> str:
    return event.row_value[0]


def _show_word(offset: int) -> Any:
    """Return a handler for a click on a word; `offset` things come before the first word."""

    def show(
        shown: service.Shown | None, colour_map: str, opacity: float, event: gr.SelectData
    ) -> list[Any]:
        if shown is None:
            raise ValueError("Explain a picture first.")
        index = event.index - offset
        shown = replace(shown, word=index if index >= 0 else None)
        return [shown, summary(shown), blended(shown, colour_map, opacity)]

    return show
