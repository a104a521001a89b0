"""The endpoints for other programs: /classify, /caption, /vqa and /evaluate.

The page does not use them. Each takes the fields of a `Query` as parameters.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

import gradcam_core
from demo.handlers import PROGRESS
from demo.hosting.disk_quota import quota
from demo.hosting.errors import api_errors
from demo.hosting.files import new_folder
from demo.hosting.gradio_internals import current_address
from demo.hosting.settings import settings
from demo.hosting.uploads import UploadedPicture
from demo.present import summary
from demo.service import Service, TimedExplanation, full_size
from gradcam_core import Explanation, Query
from gradcam_core.metrics import bounding_box, segment

_MAX_TEXT = 1000  # characters
_STRIP_SIDE = 240  # pixels
# What /evaluate returns of the explanation.
_IDENTITY = ("task", "model", "layer", "method", "question", "target", "score", "probability")

Given = dict[str, Any]  # the values of an endpoint's parameters by name


class Api:
    """The endpoints."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def build(self) -> None:
        """Add the endpoints to the page, where they are invisible."""
        with gr.Column(visible=False):
            self._explaining(
                "classify",
                "classification",
                "Explain why the network says `target` of a picture; None: its first choice.",
                {"target": _Text("Class to explain, a name or an index; None: the first", "tabby")},
                [gr.Label(label="The five best classes")],
                lambda explanation, _: [_probabilities(explanation)],
            )
            self._explaining(
                "caption",
                "captioning",
                "Explain `caption` of a picture word by word; None: the network's own caption.",
                {"caption": _Text("Caption to explain; None: the network's own", "a cat sleeps")},
                [
                    gr.HighlightedText(label="Words, each with the sum of its map, the largest 1"),
                    gr.Dataframe(headers=["caption", "log p"], label="The network's own captions"),
                    gr.Gallery(label="Overlays: of the caption, then of each word", columns=8),
                ],
                _caption_values,
            )
            self._explaining(
                "vqa",
                "vqa",
                "Answer a question about a picture, and explain `answer`; None: the network's own.",
                {
                    "question": _Text(
                        "Question about the picture", "What animal is this?", "What is this?"
                    ),
                    "answer": _Text("Answer to explain; None: the network's own", "cat"),
                },
                [gr.Label(label="The five best answers")],
                lambda explanation, _: [_probabilities(explanation)],
            )
            _endpoint(
                "evaluate",
                "Measure whether a map shows what the network uses: some 190 passes, so it takes "
                "seconds. With `sanity`, also how the map changes as layer by layer is randomized.",
                {
                    "picture": _picture(),
                    "task": _Text(
                        f"Task: {', '.join(gradcam_core.TASKS)}", "captioning", "classification"
                    ),
                    "target": _Text(
                        "Class, caption or answer to explain; None: the network's own", "tabby"
                    ),
                    "question": _Text("Question, for the task vqa only", "What animal is this?"),
                    **_query_inputs("classification"),
                    "sanity": _Flag(label="Whether to make the sanity check; classes only"),
                },
                [
                    gr.Textbox(label="What the measurements say of the map, in one sentence"),
                    gr.JSON(label="Measurements, described in docs/metrics.md"),
                ],
                self._evaluate,
                concurrency_id="long",  # shared with slow requests of the page
            )

    def _explaining(
        self,
        name: str,
        task: str,
        description: str,
        inputs: dict[str, Component],
        outputs: list[Component],
        values: Callable[[Explanation, Given], list[Any]],
    ) -> None:
        """Add an endpoint that explains.

        Args:
            name: The endpoint's name.
            task: Of its queries.
            description: What it does.
            inputs: Its own parameters by name; the last is the target.
            outputs: What only it returns.
            values: The values of these.
        """

        def explain(given: Given) -> list[Any]:
            query = _query({**given, "target": given[[*inputs][-1]]}, task=task, guided=True)
            result = self._service.explain(_path(given), query, download=True)
            return [*_common_values(result, given), *values(result.explanation, given)]

        colours = {
            "colour_map": _Text(
                f"Colour map: {', '.join(gradcam_core.COLOUR_MAPS)}",
                "viridis",
                gradcam_core.DEFAULT_COLOUR_MAP,
            ),
            "opacity": _Number(
                0, 1, gradcam_core.DEFAULT_OPACITY, label="Opacity of the heat map, 0 to 1"
            ),
        }
        common = [
            gr.Textbox(label="Summary"),
            gr.ImageSlider(label="Picture and overlay"),
            gr.Image(label="Guided Backprop; None where it is undefined"),
            gr.Image(label="Overlay of the map, Grad-CAM unless `method` says otherwise"),
            gr.Image(label="Guided Grad-CAM; None where it is undefined"),
            gr.Image(label="Overlay of the counterfactual"),
            gr.JSON(label="The explanation's numbers, described in docs/json.md"),
        ]
        of_query = _query_inputs(task)
        first = {"picture": _picture(), **inputs, "layer": of_query.pop("layer")}
        every = {**first, **colours, **of_query}
        _endpoint(name, description, every, [*common, *outputs], explain)

    def _evaluate(self, given: Given) -> tuple[str, dict[str, Any]]:
        query, path = _query(given), _path(given)
        explanation = full_size(self._service.explain(path, query, download=True).explanation)
        # First, since it may be refused.
        sanity = self._service.evaluate(path, query, "sanity")["steps"] if given["sanity"] else []
        found = self._service.evaluate(path, query, "all")
        numbers = explanation.to_dict()
        return found["sentence"], {
            **{name: numbers[name] for name in _IDENTITY},
            "measurements": found["measurements"],
            "supports": found["supports"],
            "sanity": [{name: step[name] for name in ("layer", "correlation")} for step in sanity],
            "box": bounding_box(segment(explanation.heatmap)),
        }


class _Text(gr.Textbox):
    """A text field with an example for the API page."""

    def __init__(self, label: str, example: str, value: str | None = None) -> None:
        super().__init__(value, label=label)
        self._example = example

    def get_block_name(self) -> str:
        """Return the name of the component that the browser shows."""
        return "textbox"

    def example_payload(self) -> str:
        return self._example

    def preprocess(self, payload: Any) -> str | None:
        if payload is None:
            return None
        text = str(payload)  # a class may be given by its index
        if not isinstance(payload, str | int) or len(text) > _MAX_TEXT:
            raise gr.Error(
                f"{self.label}: a text of at most {_MAX_TEXT} characters, please.",
                print_exception=False,
            )
        return text


class _Number(gr.Slider):
    """A number in a range."""

    def get_block_name(self) -> str:
        return "slider"

    def preprocess(self, payload: Any) -> float:
        low, high = self.minimum, self.maximum
        if not isinstance(payload, int | float) or not low <= payload <= high:
            raise gr.Error(
                f"{self.label}: a number from {low:g} to {high:g}, please.", print_exception=False
            )
        return payload


class _Flag(gr.Checkbox):
    """True or False."""

    def get_block_name(self) -> str:
        return "checkbox"

    def preprocess(self, payload: Any) -> bool:
        if not isinstance(payload, bool):
            raise gr.Error(f"{self.label}: true or false, please.", print_exception=False)
        return payload


def _endpoint(
    name: str,
    description: str,
    inputs: dict[str, Component],
    outputs: list[Component],
    answer: Callable[[Given], Any],
    concurrency_id: str | None = None,
) -> None:
    """Add an endpoint whose parameters are the names of its inputs."""

    def call(*values: Any) -> Any:
        return answer(dict(zip(inputs, values, strict=False)))  # without the progress

    # Gradio takes names, defaults and description from the function.
    parameters = [
        inspect.Parameter(
            each,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty if each == "picture" else component.value,
        )
        for each, component in inputs.items()
    ]
    progress = inspect.Parameter(
        "progress", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=PROGRESS
    )
    call.__signature__ = inspect.Signature([*parameters, progress])  # type: ignore[attr-defined]
    call.__doc__ = description
    gr.Button().click(
        api_errors(call), [*inputs.values()], outputs, api_name=name, concurrency_id=concurrency_id
    )


def _picture() -> UploadedPicture:
    return UploadedPicture(label="Picture, from handle_file('photo.jpg') of gradio_client")


def _query_inputs(task: str) -> dict[str, Component]:
    """Return inputs for the fields of `Query` that all endpoints take."""
    default, other, *_ = gradcam_core.models(task)
    inputs: dict[str, Component] = {
        "layer": _Text("Target layer; None: the last", default.layers[-1]),
        "model": _Text("Model, a name; None: the default", other.name),
        "method": _Text(
            f"Method: {', '.join(gradcam_core.methods())}", "layercam", gradcam_core.DEFAULT_METHOD
        ),
        "detail": _Number(
            1,
            gradcam_core.MAX_DETAIL,
            1.0,
            label="Side of the network's input, in multiples of its own; embedded models only",
        ),
    }
    for field in fields(Query):
        if field.default is False and field.name != "guided":  # which the endpoints decide
            inputs[field.name] = _Flag(value=False, label=f"Whether a query is {field.name}")
    return inputs


def _query(given: Given, **fixed: Any) -> Query:
    names = {field.name for field in fields(Query)} & given.keys()
    query = Query(**{name: given[name] for name in names if given[name] is not None}, **fixed)
    return replace(query, model=query.model or settings().model_for(query.task))


def _path(given: Given) -> Path:
    if given["picture"] is None:
        raise ValueError("Please give a picture: handle_file('photo.jpg') of gradio_client.")
    return Path(given["picture"])


def _common_values(result: TimedExplanation, given: Given) -> list[Any]:
    """Return the values of the outputs that `/classify`, `/caption` and `/vqa` share."""
    explanation = result.explanation
    panels = explanation.panels(given["colour_map"], given["opacity"])
    folder = new_folder(current_address())
    files = {}
    for name, picture in {"picture": explanation.picture, **panels}.items():
        files[name] = str(folder / f"{name}.png")
        # Gradio would take ten times as long, for files smaller by a tenth.
        picture.save(files[name], compress_level=1)
    quota.add(sum(Path(file).stat().st_size for file in files.values()))
    return [
        summary(result),
        (files["picture"], files["grad_cam"]),
        files.get("guided_backprop"),
        files["grad_cam"],
        files.get("guided_grad_cam"),
        files["counterfactual"],
        explanation.to_dict(),
    ]


def _probabilities(explanation: Explanation) -> dict[str, float]:
    return {prediction.text: prediction.probability for prediction in explanation.predictions}


def _caption_values(explanation: Explanation, given: Given) -> list[Any]:
    """Return words, own captions and overlays."""
    sums = [float(word.raw.sum()) for word in explanation.words]
    largest = max(sums) or 1.0
    captions = [
        [best.text, f"{math.log(max(best.probability, 1e-300)):.2f}"]
        for best in explanation.predictions
    ]
    return [
        [(word.text, each / largest) for word, each in zip(explanation.words, sums, strict=True)],
        captions,
        _strip(explanation, given["colour_map"], given["opacity"]),
    ]


def _strip(explanation: Explanation, colour_map: str, opacity: float) -> list[tuple[str, str]]:
    heatmaps = [explanation.heatmap, *map(explanation.word_heatmap, range(len(explanation.words)))]
    labels = ["all", *(f"{word.text} {word.log_prob:.1f}" for word in explanation.words)]
    # Gradio would name it after the content, and could be asked for it.
    folder = new_folder(current_address())
    strip: list[tuple[str, str]] = []
    for heatmap, label in zip(heatmaps, labels, strict=True):
        overlay = gradcam_core.overlay(explanation.picture, heatmap, colour_map, opacity)
        overlay.thumbnail((_STRIP_SIDE, _STRIP_SIDE))
        file = folder / f"{len(strip)}.png"
        overlay.save(file)
        quota.add(file.stat().st_size)
        strip.append((str(file), label))
    return strip
