"""The endpoints for other programs: /classify, /caption, /vqa and /evidence.

The page does not use them; pictures are drawn for them only.
"""

import math
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

import gradcam_core
from demo import evaluation as figures
from demo.compute import service
from demo.compute.service import Shown
from demo.handlers import PROGRESS
from demo.hosting.disk_quota import quota
from demo.hosting.errors import api_errors
from demo.hosting.gradio_internals import upload_folder
from demo.hosting.uploads import UploadedPicture
from demo.present import summary
from gradcam_core.metrics import bounding_box, segment

_LONGEST_TEXT = 1000  # characters
_STRIP_SIDE = 240  # pixels
# What the figures are about, of the numbers of an explanation.
_ABOUT = ("task", "model", "layer", "method", "question", "target", "score", "probability")


def build() -> None:
    """Build the endpoints inside the page, where nothing of them is seen."""
    with gr.Column(visible=False):
        _endpoint(
            classify,
            "classification",
            inputs=[_Text("Class to explain, by name or index; none: the first", "tabby")],
            outputs=[gr.Label(label="The five best classes")],
        )
        _endpoint(
            caption,
            "captioning",
            inputs=[_Text("Caption to explain; none for the network's own", "a cat sleeps")],
            outputs=[
                gr.HighlightedText(label="Words, each with its share of the evidence"),
                gr.Dataframe(headers=["caption", "log p"], label="The network's own captions"),
                gr.Gallery(label="Overlays: of all, then of each word", columns=8),
            ],
        )
        _endpoint(
            vqa,
            "vqa",
            inputs=[
                _Text("Question about the picture", "What animal is this?", "What is this?"),
                _Text("Answer to explain; none for the network's own", "cat"),
            ],
            outputs=[gr.Label(label="The five best answers")],
        )
        gr.Button().click(
            api_errors(evidence),
            [
                UploadedPicture(label="Picture: give handle_file('photo.jpg')"),
                _Text("Task: classification, captioning or vqa", "captioning", "classification"),
                _Text("Class, caption or answer to ask about; none: the network's own", "tabby"),
                _Text("Question, for the task vqa only", "What animal is this?"),
                _layer("classification"),
                *_model_and_method("classification"),
                gr.Checkbox(label="Whether to make the sanity check too; of classes only"),
            ],
            [
                gr.Textbox(label="What the figures say of the map, in a sentence"),
                gr.JSON(label="Figures; docs/evidence.md says what they mean"),
            ],
            concurrency_id="long",  # in turn with what takes as long in the page
        )


def classify(
    picture: str | None,
    target: str | None = None,
    layer: str | None = None,
    colour_map: str = gradcam_core.DEFAULT_COLOUR_MAP,
    opacity: float = gradcam_core.DEFAULT_OPACITY,
    model: str | None = None,
    method: str | None = None,
    progress: gr.Progress = PROGRESS,
) -> list[Any]:
    """Explain why the network says `target` of a picture, or what it says itself if left out."""
    shown = _explain("classification", picture, layer, model, method, target=target)
    return [*_drawn(shown, colour_map, opacity), _labels(shown)]


def caption(
    picture: str | None,
    caption: str | None = None,
    layer: str | None = None,
    colour_map: str = gradcam_core.DEFAULT_COLOUR_MAP,
    opacity: float = gradcam_core.DEFAULT_OPACITY,
    model: str | None = None,
    method: str | None = None,
    progress: gr.Progress = PROGRESS,
) -> list[Any]:
    """Explain `caption` of a picture word by word, or the network's own if left out."""
    shown = _explain("captioning", picture, layer, model, method, target=caption)
    explanation = shown.explanation
    own = [
        [best.text, f"{math.log(max(best.probability, 1e-300)):.2f}"]
        for best in explanation.predictions
    ]
    return [
        *_drawn(shown, colour_map, opacity),
        _words(explanation),
        own,
        _strip(explanation, colour_map, opacity),
    ]


def vqa(
    picture: str | None,
    question: str = "What is this?",
    answer: str | None = None,
    layer: str | None = None,
    colour_map: str = gradcam_core.DEFAULT_COLOUR_MAP,
    opacity: float = gradcam_core.DEFAULT_OPACITY,
    model: str | None = None,
    method: str | None = None,
    progress: gr.Progress = PROGRESS,
) -> list[Any]:
    """Answer a question about a picture and explain `answer`, or the network's own if left out."""
    shown = _explain("vqa", picture, layer, model, method, target=answer, question=question)
    return [*_drawn(shown, colour_map, opacity), _labels(shown)]


def evidence(
    picture: str | None,
    task: str = "classification",
    target: str | None = None,
    question: str | None = None,
    layer: str | None = None,
    model: str | None = None,
    method: str | None = None,
    sanity: bool = False,
    progress: gr.Progress = PROGRESS,
) -> tuple[str, dict[str, Any]]:
    """Measure whether a map shows what the network uses: some 180 passes, so it takes seconds.

    With `sanity` also how it changes as the network forgets what it learned, layer by layer.
    """
    shown = _explain(
        task, picture, layer, model, method, target=target, question=question, guided=False
    )
    explanation = shown.full_size()
    wanted = service.Wanted(task, target, question, model, layer, method)
    # First, for it may be refused.
    steps = _tested(shown.path, wanted, "sanity")["steps"] if sanity else []
    found = _tested(shown.path, wanted, "all")
    numbers = explanation.numbers()
    return found["sentence"], {
        **{name: numbers[name] for name in _ABOUT},
        "findings": found["findings"],
        "sanity": [{name: step[name] for name in ("layer", "correlation")} for step in steps],
        "box": bounding_box(segment(explanation.heatmap)),
    }


def _tested(path: Path, wanted: service.Wanted, test: str) -> dict[str, Any]:
    found: dict[str, Any] = service.compute(figures.tested, path, wanted, test=test)
    return found


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
        text = str(payload)  # a class may be given by its number
        if not isinstance(payload, str | int) or len(text) > _LONGEST_TEXT:
            raise gr.Error(
                f"{self.label}: a text of at most {_LONGEST_TEXT} characters, please.",
                print_exception=False,
            )
        return text


class _Share(gr.Slider):
    """A number from 0 to 1."""

    def get_block_name(self) -> str:
        return "slider"

    def preprocess(self, payload: Any) -> float:
        if not isinstance(payload, int | float) or not 0 <= payload <= 1:
            raise gr.Error(f"{self.label}: a number from 0 to 1, please.", print_exception=False)
        return payload


def _endpoint(
    function: Any, task: str, *, inputs: list[Component], outputs: list[Component]
) -> None:
    """Make a function an endpoint of its name."""
    gr.Button().click(
        api_errors(function),
        [
            UploadedPicture(label="Picture: give handle_file('photo.jpg')"),
            *inputs,
            _layer(task),
            _Text(
                f"Colour map: {', '.join(gradcam_core.COLOUR_MAPS)}",
                "viridis",
                gradcam_core.DEFAULT_COLOUR_MAP,
            ),
            _Share(0, 1, gradcam_core.DEFAULT_OPACITY, label="Opacity of the heat map, 0 to 1"),
            *_model_and_method(task),
        ],
        [
            gr.Textbox(label="In words"),
            gr.ImageSlider(label="Picture and overlay"),
            gr.Image(label="Guided Backprop; none where it has no meaning"),
            gr.Image(label="Grad-CAM over the picture"),
            gr.Image(label="Guided Grad-CAM; none where it has no meaning"),
            gr.Image(label="Counterfactual over the picture"),
            gr.JSON(label="Numbers; docs/json.md says what they are"),
            *outputs,
        ],
        api_name=function.__name__,
    )


def _layer(task: str) -> _Text:
    return _Text("Target layer; none for the last", gradcam_core.models(task)[0].layers[-1])


def _model_and_method(task: str) -> list[_Text]:
    return [
        _Text("Model, by its name; none for the default", gradcam_core.models(task)[1].name),
        _Text(f"Method: {', '.join(gradcam_core.methods())}", "layercam", "grad-cam"),
    ]


def _explain(
    task: str,
    picture: str | None,
    layer: str | None,
    model: str | None,
    method: str | None,
    *,
    target: str | None,
    question: str | None = None,
    guided: bool = True,
) -> Shown:
    if picture is None:
        raise ValueError("Please give a picture: handle_file('photo.jpg') of gradio_client.")
    wanted = service.Wanted(task, target, question, model, layer, method, guided=guided)
    return service.explain(Path(picture), wanted)


def _drawn(shown: Shown, colour_map: str, opacity: float) -> list[Any]:
    """Return what the three endpoints have in common, in the order of their outputs."""
    explanation = shown.explanation
    pictures = {"picture": explanation.picture, **explanation.panels(colour_map, opacity)}
    folder = Path(tempfile.mkdtemp(dir=upload_folder()))
    files = {}
    for name, picture in pictures.items():
        files[name] = str(folder / f"{name}.png")
        # Gradio would take ten times as long to write them smaller by a tenth.
        picture.save(files[name], compress_level=1)
    quota.add(2 * sum(Path(file).stat().st_size for file in files.values()))  # Gradio copies them
    return [
        summary(shown),
        (files["picture"], files["grad_cam"]),
        files.get("guided_backprop"),
        files["grad_cam"],
        files.get("guided_grad_cam"),
        files["counterfactual"],
        explanation.numbers(),
    ]


def _labels(shown: Shown) -> dict[str, float]:
    return {best.text: best.probability for best in shown.explanation.predictions}


def _words(explanation: gradcam_core.Explanation) -> list[tuple[str, float]]:
    evidence = [float(word.raw.sum()) for word in explanation.words]
    most = max(evidence) or 1.0
    return [
        (word.text, value / most) for word, value in zip(explanation.words, evidence, strict=True)
    ]


def _strip(
    explanation: gradcam_core.Explanation, colour_map: str, opacity: float
) -> list[tuple[Image.Image, str]]:
    heatmaps = [explanation.heatmap, *map(explanation.word_heatmap, range(len(explanation.words)))]
    captions = ["all", *(f"{word.text} {word.log_prob:.1f}" for word in explanation.words)]
    strip = []
    for heatmap, text in zip(heatmaps, captions, strict=True):
        drawn = gradcam_core.overlay(explanation.picture, heatmap, colour_map, opacity)
        drawn.thumbnail((_STRIP_SIDE, _STRIP_SIDE))
        strip.append((drawn, text))
    return strip
