"""The quiz: the paper's studies with people (sections 5.1 and 5.2), on a page of its own.

The browser chooses the questions and keeps the score; the server computes what they show.
"""

from dataclasses import replace
from itertools import permutations
from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import Field

from demo import page
from demo.answers import answer, preview
from demo.examples import collage, example_pictures
from demo.handlers import Request, respond
from demo.service import Service
from gradcam_core import Query

# Example photos that show one thing, and the class that both networks predict.
THINGS = {
    "cat": "Egyptian cat",
    "cheetah": "cheetah",
    "coffee": "espresso",
    "lion": "lion",
    "motorcycle": "moped",
    "palace": "palace",
}
_CATS = {"cat", "cheetah", "lion"}  # hard to tell apart by a few strokes

# The things in a collage; the first is explained.
PAIRS = [pair for pair in permutations(THINGS, 2) if not _CATS.issuperset(pair)]

NETWORKS = ("lite0", "lite2")  # the second is more accurate, see docs/figures.md


class QuizRequest(Request):
    """Which question to make."""

    kind: Literal["what", "which network"]
    number: Annotated[int, Field(ge=0, le=2 * len(PAIRS) - 1)]


class Quiz:
    """The quiz."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def build(self) -> None:
        """Build the page."""
        quiz = gr.HTML(
            html_template=page.browser_file("quiz.html"),
            js_on_load=page.script("demo/browser/quiz.js", ["quiz"]),
            apply_default_css=False,
            padding=False,
            elem_id="gradcam",
            facts={"pairs": len(PAIRS), "things": len(THINGS)},
        )
        page.wire(quiz, "quiz", self.question)

    def question(self, event: gr.EventData, session: gr.Request) -> dict[str, Any]:
        """Return a question: what the browser draws, the choices, and which is right."""
        return respond(event, session, QuizRequest, self._question)

    def _question(self, request: QuizRequest) -> dict[str, Any]:
        swapped = request.number % 2  # so that the right choice is on either side equally often
        if request.kind == "what":
            thing, other = PAIRS[request.number // 2]
            photo = collage(other, thing) if swapped else collage(thing, other)
            models = [NETWORKS[0]]
            choices = sorted((thing, other))
            right = choices.index(thing)
        else:
            thing = list(THINGS)[request.number // 2 % len(THINGS)]
            photo = example_pictures()[thing]
            models = sorted(NETWORKS, reverse=bool(swapped))
            choices = ["the first network", "the second network"]
            right = models.index(NETWORKS[1])
        query = Query(target=THINGS[thing], guided=True)
        results = [self._service.explain(photo, replace(query, model=model)) for model in models]
        return {
            "picture": preview(results[0].explanation.picture),
            "answers": [
                answer(explanation, seconds, self._service.describe(explanation.query))
                for explanation, seconds in results
            ],
            "choices": choices,
            "right": right,
        }
