"""The question answering tab: a picture, a question and an answer -> why that answer."""

from typing import Any

import gradio as gr

import gradcam_core
from demo import panels, service
from demo.examples import example_pictures
from demo.present import PROGRESS, present, probabilities

TASK = "vqa"

_QUESTIONS = ("What is this?", "What color is it?", "Is there a person?", "Where is it?")
_OWN_QUESTIONS = {
    "cat and motorcycle": ("What animal is this?", "What vehicle is there?", "Is there a cat?"),
    "lion and coffee": ("What animal is this?", "Is there a cup?", "What color is the cup?"),
    "cheetah": ("What animal is this?", "What is the animal doing?", "Is there a dog?"),
    "lion": ("What animal is this?", "Where is the animal?", "Is there a person?"),
    "tower": ("What is this?", "What color is the sky?", "Is there a building?"),
    "cat": ("What animal is this?", "What color is the cat?", "Is there a dog?"),
    "coffee": ("What is this?", "What color is the cup?", "What is in the cup?"),
    "astronaut": ("Who is in the picture?", "What is the woman wearing?", "Is there a man?"),
    "motorcycle": ("What is this?", "What color is the motorcycle?", "Is there a person?"),
    "flower": ("What is this?", "What color is the flower?", "How many flowers are there?"),
}


def build(tab: gr.Tab) -> None:
    """Build the tab, inside `tab`."""
    question = gr.Textbox(
        label="Question",
        value=_QUESTIONS[0],
        info="In English, about the picture.",
        elem_id="vqa-question",
        render=False,
    )
    suggestions = gr.Dataset(
        label="Questions to try",
        components=[gr.Textbox(visible=False, render=False)],
        samples=_samples(next(iter(example_pictures()))),
        samples_per_page=10,
        layout="gallery",
        elem_classes="suggestions",
        render=False,
    )
    answer = gr.Dropdown(
        label="Answer (optional)",
        info="Why this one? Empty: the network's own.",
        allow_custom_value=True,
        render=False,
    )
    answers = panels.best_labels("vqa", "Five best answers (click one)")
    panel = panels.layout("vqa", TASK, fields=[question, suggestions, answer], beside=[answers])
    explain_on = panels.connect(
        panel, tab, TASK, endpoint=vqa, fields=[question, answer], cleared=[answer], own=[answers]
    )
    panels.connect_labels(answers, answer, panel, explain_on, TASK, tab.select)
    names = list(example_pictures())
    panel.examples.click(
        lambda i: gr.Dataset(samples=_samples(names[i])),
        panel.examples,
        suggestions,
        **panels.PRIVATE,
    )
    panel.picture.upload(
        lambda: gr.Dataset(samples=_samples(None)), None, suggestions, **panels.PRIVATE
    )
    # Another question: the answer given to the last one need not fit.
    question.input(lambda: None, None, answer, show_progress="hidden", **panels.PRIVATE)
    explain_on(question.submit)
    explain_on(
        suggestions.click(
            lambda sample: (sample[0], None), suggestions, [question, answer], **panels.PRIVATE
        ).then
    )


def vqa(
    picture: str | None,
    question: str = _QUESTIONS[0],
    answer: str | None = None,
    layer: str | None = None,
    colour_map: str = gradcam_core.DEFAULT_COLOUR_MAP,
    opacity: float = gradcam_core.DEFAULT_OPACITY,
    model: str | None = None,
    progress: gr.Progress = PROGRESS,
) -> list[Any]:
    """Answer a question about a picture and explain `answer`, or the network's own if empty."""
    shown = service.explain(
        picture, TASK, target=answer, question=question, model=model, layer=layer
    )
    return [*present(shown, colour_map, opacity), probabilities(shown)]


def _samples(example: str | None) -> list[list[str]]:
    """Return the questions to try for an example picture, or for one that was uploaded."""
    return [[text] for text in _OWN_QUESTIONS.get(example, _QUESTIONS)]
