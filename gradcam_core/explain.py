"""Figure 2 of the paper from top to bottom: a picture and a target become an Explanation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from gradcam_core.explanation import Explanation, Word
from gradcam_core.image import ImageSource, open_image
from gradcam_core.methods import DEFAULT_METHOD, METHODS, method_named, pixels
from gradcam_core.methods.gradients import MapMethod, Maps
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import LabelModel, Model, Prediction, Target
from gradcam_core.models.held import load
from gradcam_core.models.registry import models


def explain(
    image: ImageSource,
    task: str = "classification",
    target: str | int | Callable[[Any], Any] | None = None,
    question: str | None = None,
    model: str | Model | None = None,
    layer: str | nn.Module | None = None,
    guided: bool = False,
    method: str = DEFAULT_METHOD,
    detail: float = 1.0,
) -> Explanation:
    """Explain why a model says `target` of a picture.

    Args:
        image: A path, a PIL image, or an array (H, W, 3) uint8.
        task: "classification", "captioning" or "vqa".
        target: A class (name or index), a caption or an answer; None explains the model's own
            prediction. For a model from `wrap` also a function of the network's output that
            returns a scalar.
        question: What is asked of the picture; for "vqa" only.
        model: A name from `models(task)`, what `wrap` returns, or for classification a local
            folder or an id on the Hugging Face Hub (see `load`); None for the embedded model.
        layer: A target layer from the model's `layers`; None for the last. For a model from
            `wrap` also the module itself.
        guided: Also compute guided backpropagation and Guided Grad-CAM; for ReLU networks only.
        method: A name from `methods()`.
        detail: Draw the map of the picture at so many times the side, 1 to 2: a map of 7 x 7 cells
            becomes one of 14 x 14, at four times the cost. What the model says, and the score,
            stay those at its own size. For the embedded models only.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The picture, task, target, question, model, layer, method or detail cannot be
            used; the message says why.
        ConnectionError: The model must be downloaded, and the hub cannot be reached.
    """
    default = models(task)[0].name
    method_named(method)
    picture = open_image(image)
    if isinstance(model, nn.Module):
        raise ValueError("Wrap a network of your own first: explain(image, model=wrap(network)).")
    if not isinstance(model, Model):
        model = load(default if model is None else model, task)
    elif model.task != task:
        raise ValueError(f"{model.name} is a model for {model.task}, not for {task}.")
    return explain_encoded(
        model,
        pixels.encode_guided(model, picture, layer) if guided else model.encode(picture, layer),
        picture,
        target=target,
        question=question,
        with_guided=guided,
        method=method,
        finer=None if detail == 1 else (model.encode(picture, layer, detail), detail),
        source=Path(image) if isinstance(image, str | Path) else None,
    )


def explain_encoded(
    model: Model,
    encoded: Encoded,
    picture: Image.Image,
    *,
    target: str | int | Callable[[Any], Any] | None = None,
    question: str | None = None,
    predictions: list[Prediction] | None = None,
    with_guided: bool = False,
    method: str = DEFAULT_METHOD,
    maps: MapMethod | None = None,
    finer: tuple[Encoded, float] | None = None,
    source: Path | None = None,
) -> Explanation:
    """Explain a picture that has been through the CNN already; see `explain`.

    Args:
        model: What to explain.
        encoded: The picture, from `model.encode`.
        picture: The same as RGB, of the size that maps are wanted at.
        target: As for `explain`.
        question: As for `explain`.
        predictions: From `model.predict(encoded, question)`, if they are known already.
        with_guided: As `guided` of `explain`.
        method: As for `explain`.
        maps: What gives the method's maps, if not the method itself: they may be known already.
        finer: The same picture, larger, that the map is to be of, and its detail; see `explain`.
        source: The file that the picture came from.
    """
    if model.task != "vqa" and question is not None:
        raise ValueError(f"A question belongs to task 'vqa', not to '{model.task}'.")
    if predictions is None:
        predictions = model.predict(encoded, question)
    if target is None:  # a network without classes says what it wants instead
        target = predictions[0].text if predictions else ""
    goal = (
        model.target_function(target)
        if callable(target)
        else model.target(str(target), question, encoded)
    )
    larger, detail = finer or (encoded, 1.0)
    found = (maps or method_named(method).maps)(model, larger, goal)
    score = found.score if finer is None else model.score_terms(encoded, goal)
    terms = score.terms.detach()
    return Explanation(
        task=model.task,
        model=model.name,
        layer=encoded.layer,
        method=method,
        question=question,
        unknown_words=model.unknown_words(question),
        target=goal.text,
        score=terms.sum().item(),
        probability=score.probability,
        predictions=predictions,
        picture=picture,
        source=source,
        box=encoded.box,
        raw=found.evidence.cpu().numpy(),
        raw_counterfactual=found.counterevidence.cpu().numpy(),
        words=[
            Word(text, log_prob, word_map.cpu().numpy())
            for text, log_prob, word_map in zip(
                goal.words, terms.tolist(), found.words, strict=False
            )
        ],
        gradient=(
            pixels.backpropagate(model, encoded, goal, "guided").cpu().numpy()
            if with_guided
            else None
        ),
        remarks=remarks(model),
        detail=detail,
        unsure=bool(predictions) and model.is_guess(encoded, predictions[0]),
        strongest=_strongest(model, larger, goal, found, predictions, method),
    )


def _strongest(
    model: Model,
    encoded: Encoded,
    goal: Target,
    found: Maps,
    predictions: list[Prediction],
    method: str,
) -> float | None:
    """Return the map's largest value for the first of `predictions`; see `Explanation`."""
    if not isinstance(model, LabelModel) or not predictions or goal.function is not None:
        return None
    own = model.target(predictions[0].text, goal.question, encoded)
    if own.ids != goal.ids:
        if METHODS[method].slow:
            return None
        found = METHODS[method].maps(model, encoded, own)
    return found.evidence.max().item()


def remarks(model: Model) -> tuple[str, ...]:
    """Say what must be known of a model to read its maps; plain sentences."""
    said = []
    if not model.convolutional:
        said.append("The map is of a transformer's tokens: not convolutional features.")
    if model.backbone.other_activation:
        said.append(pixels.why_not(model))
    return tuple(said)
