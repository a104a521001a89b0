"""Figure 2 of the paper from top to bottom: a picture and a target become an Explanation."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from gradcam_core.explanation import Explanation, Word
from gradcam_core.image.open import ImageSource, open_image
from gradcam_core.methods import DEFAULT_METHOD, method_named, pixels
from gradcam_core.methods.gradients import MapsOfEach
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import LabelModel, Model, Prediction, Target
from gradcam_core.models.embedded.concepts import reasons
from gradcam_core.models.model_cache import load
from gradcam_core.models.registry import models

# A class (name or index), a caption or an answer; a function of the output; None: what it says.
AnyTarget = str | int | Callable[[Any], Any] | None


def explain(
    image: ImageSource,
    task: str = "classification",
    target: AnyTarget = None,
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
    (explanation,) = explain_encoded(
        model,
        pixels.encode_guided(model, picture, layer) if guided else model.encode(picture, layer),
        picture,
        [target],
        question=question,
        with_guided=guided,
        method=method,
        finer=None if detail == 1 else (model.encode(picture, layer, detail), detail),
        source=Path(image) if isinstance(image, str | Path) else None,
    )
    return explanation


def explain_encoded(
    model: Model,
    encoded: Encoded,
    picture: Image.Image,
    targets: Sequence[AnyTarget] = (None,),
    *,
    question: str | None = None,
    predictions: list[Prediction] | None = None,
    with_guided: bool = False,
    method: str = DEFAULT_METHOD,
    maps: MapsOfEach | None = None,
    finer: tuple[Encoded, float] | None = None,
    source: Path | None = None,
) -> list[Explanation]:
    """Explain a picture that has been through the CNN already; see `explain`.

    Methods by gradient make one backward pass, however many targets there are.

    Args:
        model: What to explain.
        encoded: The picture, from `model.encode`.
        picture: The same as RGB, of the size that maps are wanted at.
        targets: At least one, each as for `explain`.
        question: As for `explain`.
        predictions: From `model.predict(encoded, question)`, if they are known already.
        with_guided: As `guided` of `explain`.
        method: As for `explain`.
        maps: What gives the method's maps, if not the method itself: they may be known already.
        finer: The same picture, larger, that the map is to be of, and its detail; see `explain`.
        source: The file that the picture came from.

    Returns:
        Of each target its explanation.

    Raises:
        ValueError: See `explain`.
    """
    if model.task != "vqa" and question is not None:
        raise ValueError(f"A question belongs to task 'vqa', not to '{model.task}'.")
    how = method_named(method)
    if (
        isinstance(model, LabelModel)
        and how.reads == "gradient"
        and not any(map(callable, targets))
    ):
        encoded = model.read(encoded, question)
    if predictions is None:
        predictions = model.predict(encoded, question)
    goals = [_goal(model, encoded, question, predictions, target) for target in targets]
    first = _first_choice(model, encoded, question, predictions, goals)
    beside = [] if first is None or first in goals or how.slow else [first]
    larger, detail = finer or (encoded, 1.0)
    found = (maps or how.maps_of_each)(model, larger, goals + beside)
    scores = [of_one.score for of_one in found]
    if finer is not None:  # what the model says of the picture is what it says at its own size
        scores = model.score_each(encoded, goals)
    strongest = {
        goal: of_one.evidence.max().item()
        for goal, of_one in zip(goals + beside, found, strict=True)
    }
    explanations = []
    for goal, of_one, score in zip(goals, found, scores, strict=False):
        terms = score.terms.detach()
        explanations.append(
            Explanation(
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
                raw=of_one.evidence.cpu().numpy(),
                raw_counterfactual=of_one.counterevidence.cpu().numpy(),
                words=[
                    Word(text, log_prob, word_map.cpu().numpy())
                    for text, log_prob, word_map in zip(
                        goal.words, terms.tolist(), of_one.words, strict=False
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
                strongest=None if goal.function or first is None else strongest.get(first),
                reasons=reasons(model, encoded, goal),
            )
        )
    return explanations


def _goal(
    model: Model,
    encoded: Encoded,
    question: str | None,
    predictions: list[Prediction],
    wanted: AnyTarget,
) -> Target:
    """Return what is to be explained in the model's own terms; see `explain`."""
    if callable(wanted):
        return model.target_function(wanted)
    if wanted is None:  # a network without classes says what it wants instead
        wanted = predictions[0].text if predictions else ""
    return model.target(str(wanted), question, encoded)


def _first_choice(
    model: Model,
    encoded: Encoded,
    question: str | None,
    predictions: list[Prediction],
    goals: list[Target],
) -> Target | None:
    """Return whose map the others are measured against; see `Explanation.strongest`."""
    if not isinstance(model, LabelModel) or not predictions or all(g.function for g in goals):
        return None
    return model.target(predictions[0].text, question, encoded)


def remarks(model: Model) -> tuple[str, ...]:
    """Say what must be known of a model to read its maps; plain sentences."""
    said = []
    if not model.convolutional:
        said.append("The map is of a transformer's tokens: not convolutional features.")
    if model.backbone.other_activation:
        said.append(pixels.why_not(model))
    return tuple(said)
