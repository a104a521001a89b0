"""A page of its own: the paper's studies with people (sections 5.1 and 5.2), for whoever likes.

What is asked and answered stays in the browser; the server only draws the questions.
"""

from dataclasses import replace
from itertools import permutations
from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import Field

from demo import handlers as ask
from demo import page
from demo.answers import answer, preview
from demo.compute import service
from demo.examples import collage, example_pictures

# Example photos of one thing each, and the class that both networks find in it.
THINGS = {
    "cat": "Egyptian cat",
    "cheetah": "cheetah",
    "coffee": "espresso",
    "lion": "lion",
    "motorcycle": "moped",
    "palace": "palace",
}
_CATS = {"cat", "cheetah", "lion"}  # too much alike to be told from a few strokes

# Of two things lying side by side, the first is explained; so each is, on either side.
PAIRS = [pair for pair in permutations(THINGS, 2) if not _CATS.issuperset(pair)]

NETWORKS = ("lite0", "lite2")  # the second is right more often: see docs/figures.md


class _Question(ask.Asked):
    kind: Literal["what", "which network"]
    number: Annotated[int, Field(ge=0, le=2 * len(PAIRS) - 1)]


def build() -> None:
    """Build the quiz."""
    quiz = gr.HTML(
        html_template=page.browser_file("quiz.html"),
        js_on_load=page.script("quiz.js", ["quiz"]),
        apply_default_css=False,
        padding=False,
        elem_id="gradcam",
        facts={"pairs": len(PAIRS), "things": len(THINGS)},
    )
    page.wire(quiz, "quiz", question)


def question(event: gr.EventData, visit: gr.Request) -> dict[str, Any]:
    """Make a question: what the browser draws, the choices, and which of them is right."""
    return ask.answered(event, visit, _Question, _made)


def _made(request: _Question) -> dict[str, Any]:
    second_first = request.number % 2  # so that neither place is the right one more often
    if request.kind == "what":
        thing, other = PAIRS[request.number // 2]
        places = (other, thing) if second_first else (thing, other)
        wanted = service.Wanted("classification", THINGS[thing], guided=True)
        shown = [service.explain(collage(*places), wanted)]
        choices = sorted((thing, other))
        right = choices.index(thing)
    else:
        thing = list(THINGS)[request.number // 2 % len(THINGS)]
        networks = NETWORKS[::-1] if second_first else NETWORKS
        photo = example_pictures()[thing]
        wanted = service.Wanted("classification", THINGS[thing], guided=True)
        shown = [service.explain(photo, replace(wanted, model=network)) for network in networks]
        choices = ["the first one", "the second one"]
        right = networks.index(NETWORKS[1])
    return {
        "picture": preview(shown[0].explanation.picture),
        "answers": [answer(each) for each in shown],
        "choices": choices,
        "right": right,
    }
