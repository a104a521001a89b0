"""Figure 2 of the paper from top to bottom: a picture and a query become an Explanation."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.explanation import Explanation, Origin, Word
from gradcam_core.feature_cache import DISPLAY_SIDE, FeatureCache, Picture, digest
from gradcam_core.image import ImageSource, open_image
from gradcam_core.image.geometry import WHOLE
from gradcam_core.methods import DEFAULT_METHOD, Method, method_named
from gradcam_core.methods.channels import ChannelContributions
from gradcam_core.methods.finite import check_head
from gradcam_core.methods.fusion import fuse
from gradcam_core.methods.gradients import Maps
from gradcam_core.methods.guided import encode_guided, guided_backprop, why_not_rule
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import Head, LabelHead, Model, Prediction, ResolvedTarget
from gradcam_core.models.compute_mode import standard_mode
from gradcam_core.models.embedded.concepts import concepts
from gradcam_core.models.model_cache import load
from gradcam_core.query import FUSED, Query, Target, Task

Layer = str | nn.Module

_SUGGESTED = 8
_MAX_FUSED = 8  # layers, each of which takes a pass of the CNN
_UNKNOWN_POSITION = (
    "The positions are unknown: the model's preprocessing could not be followed, so the map is "
    "stretched over the whole picture and may lie elsewhere. Give the part that the model sees: "
    "wrap(..., box=...)."
)


@overload
def explain(
    image: ImageSource,
    task: Task = ...,
    target: Target | None = ...,
    question: str | None = ...,
    model: str | Model | None = ...,
    layer: Layer | Sequence[Layer] | None = ...,
    method: str = ...,
    guided: bool = ...,
    detail: float = ...,
) -> Explanation: ...


@overload
def explain(
    image: ImageSource,
    task: Task = ...,
    *,
    target: list[Target | None] | list[Target] | list[str] | list[int],
    question: str | None = ...,
    model: str | Model | None = ...,
    layer: Layer | Sequence[Layer] | None = ...,
    method: str = ...,
    guided: bool = ...,
    detail: float = ...,
) -> list[Explanation]: ...


@overload
def explain(
    image: list[Any] | tuple[Any, ...],
    task: Task = ...,
    target: Target | None = ...,
    question: str | None = ...,
    model: str | Model | None = ...,
    layer: Layer | Sequence[Layer] | None = ...,
    method: str = ...,
    guided: bool = ...,
    detail: float = ...,
) -> list[Explanation]: ...


def explain(
    image: Any,
    task: Task = "classification",
    target: Any = None,
    question: str | None = None,
    model: str | Model | None = None,
    layer: Layer | Sequence[Layer] | None = None,
    method: str = DEFAULT_METHOD,
    guided: bool = False,
    detail: float = 1.0,
) -> Any:
    """Explain why a model says `target` of a picture.

    Args:
        image: A path, a PIL image, or an array (H, W, 3) uint8. For a list of them, a list is
            returned; see `explain_many` for more than a few.
        task: "classification", "captioning" or "vqa".
        target: A class (name or index), a caption or an answer; None explains the model's own
            prediction. For a model from `wrap` also a function of the network's output that
            returns a scalar. For a list of targets, a list is returned, from one pass of the CNN.
        question: The question about the picture; for "vqa" only.
        model: A name from `models(task)`, what `wrap` returns, or for classification a local
            folder or an id on the Hugging Face Hub (see `load`); None for the embedded model.
        layer: A target layer from the model's `layers`; None for its default, usually the last.
            For a model from `wrap` also the module itself. Of a list of layers, or of their names
            joined by "+", the maps are fused: each is divided by its maximum and enlarged to the
            finest, and then they are averaged. That takes a pass of the CNN for each layer.
        method: A name from `methods()`.
        guided: Also compute guided backpropagation and Guided Grad-CAM; for ReLU networks only.
        detail: Side of the network's input in multiples of its own, 1 to 2: at 2, a map of 7 x 7
            cells becomes one of 14 x 14, at four times the cost. Predictions and score stay those
            at the network's own size. For the embedded models only.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The picture, task, target, question, model, layer, method or detail cannot be
            used; the message says why.
        ConnectionError: The model must be downloaded, and the hub cannot be reached.

    Examples:
        >>> explanation = explain("cat.jpg", target="tabby")
        >>> explanation.figure().savefig("cat.pdf")
        >>> tabby, dog = explain("cat.jpg", target=["tabby", "golden retriever"])
    """
    targets = target if isinstance(target, list | tuple) else [target]
    query, given = query_for(task, None, question, model, layer, method, guided, detail)
    explainer = Explainer()
    images = image if isinstance(image, list | tuple) else [image]
    rows = [explainer.explain_targets(each, query, targets, given) for each in images]
    found = rows if targets is target else [explanation for (explanation,) in rows]
    return found if images is image else found[0]


def query_for(
    task: Task,
    target: Target | None,
    question: str | None,
    model: str | Model | None,
    layer: Layer | Sequence[Layer] | None,
    method: str,
    guided: bool,
    detail: float,
) -> tuple[Query, Model | None]:
    """Return a query, and the model if it has no name.

    Raises:
        ValueError: See `explain`.
    """
    if isinstance(model, nn.Module):
        raise ValueError("Wrap your own network first: explain(image, model=wrap(network)).")
    given = model if isinstance(model, Model) else None
    name = None if isinstance(model, Model) else model
    layers = layer if isinstance(layer, list | tuple) else [layer]
    if given is None and any(isinstance(each, nn.Module) for each in layers):
        raise ValueError("A module as layer is for models from `wrap`: give the layer's name.")
    names = [
        given.backbone.layer_named(each) if given and isinstance(each, nn.Module) else each
        for each in layers
    ]
    joined = FUSED.join(str(each) for each in names if each is not None) or None
    return Query(task, target, question, name, joined, method, guided, detail), given


def channel_contributions(
    explanation: Explanation, word: int | None = None
) -> ChannelContributions:
    """Return how a map was made: what each channel of the feature map adds to it (Eq. 1 and 2).

    L = ReLU(sum_k alpha_k A^k), with alpha_k = 1/Z sum_ij dy/dA^k_ij for Grad-CAM. The model
    encodes the explanation's picture again.

    Args:
        explanation: By a method that gives each channel one weight from the gradient: "cam",
            "grad-cam", "grad-cam++" or "xgrad-cam". An `Explainer` with a cache keeps a smaller
            picture: ask it itself, with its method of this name.
        word: Which word of a caption, from 0; None for the whole target.

    Raises:
        ValueError: The method has no such weights, the map was fused from several layers, or there
            is no such word.

    Examples:
        >>> explanation = explain("cat.jpg", target="tabby")
        >>> channels = channel_contributions(explanation)
        >>> channels.weights.shape, channels.activations.shape
        ((1280,), (1280, 7, 7))
        >>> bool(abs(channels.map() - explanation.raw).max() < 1e-5)
        True
    """
    origin = explanation.origin
    query = explanation.query
    if query.target is None:
        query = replace(query, target=explanation.target)
    return Explainer().channel_contributions(
        explanation.picture, query, word, origin and origin.model
    )


class Explainer:
    """Explains pictures, with or without a cache of feature maps.

    Examples:
        >>> explainer = Explainer(FeatureCache())
        >>> explainer.explain("cat.jpg", Query(target="tabby"))
        >>> explainer.explain("cat.jpg", Query(target="tiger cat"))  # no second pass of the CNN
    """

    def __init__(self, cache: FeatureCache | None = None) -> None:
        """Create an explainer; with a cache it keeps what it computes of picture files."""
        self._cache = cache

    def explain(self, image: ImageSource, query: Query, model: Model | None = None) -> Explanation:
        """Explain a picture.

        Args:
            image: As for `explain`. With a cache, the explanation's picture of a file is at most
                `DISPLAY_SIDE` pixels per side.
            query: What is asked.
            model: For a model from `wrap`, which has no name; None for the query's model.

        Raises:
            FileNotFoundError, ValueError, ConnectionError: See `explain`.
        """
        (explanation,) = self.explain_targets(image, query, [query.target], model)
        return explanation

    @standard_mode()
    def explain_targets(
        self,
        image: ImageSource,
        query: Query,
        targets: Sequence[Target | None],
        model: Model | None = None,
    ) -> list[Explanation]:
        """Explain several targets of one picture in one pass of the CNN; see `explain`."""
        if query.layer is not None and FUSED in query.layer:
            layers = [layer.strip() for layer in query.layer.split(FUSED)]
            if len(layers) > _MAX_FUSED:
                raise ValueError(f"At most {_MAX_FUSED} layers are fused, not {len(layers)}.")
            per_layer = [
                self.explain_targets(image, replace(query, layer=layer), targets, model)
                for layer in layers
            ]
            return [_fused(each) for each in zip(*per_layer, strict=True)]
        query, picture, key, head, finer = self._look(image, query, model)
        source = Path(image) if isinstance(image, str | Path) else None
        return self.explain_head(head, picture, query, targets, finer=finer, source=source, key=key)

    @standard_mode()
    def channel_contributions(
        self, image: ImageSource, query: Query, word: int | None = None, model: Model | None = None
    ) -> ChannelContributions:
        """Return how the map of an explanation was made; see `channel_contributions`.

        Args:
            image: As for `explain`.
            query: What was asked.
            word: Which word of a caption, from 0; None for the whole target.
            model: As for `explain`.

        Raises:
            FileNotFoundError, ValueError, ConnectionError: See `channel_contributions` and
                `explain`.
        """
        if query.layer is not None and FUSED in query.layer:
            raise ValueError("This map was fused from several layers. Choose one of them.")
        query, _, _, head, finer = self._look(image, replace(query, guided=False), model)
        target = head.target(query.target)
        map_head = head if finer is None else head.model.bind(finer, head.question)
        return method_named(query.method).channels(map_head, target, word)

    @standard_mode()
    def explain_head(
        self,
        head: Head,
        picture: Image.Image,
        query: Query,
        targets: Sequence[Target | None],
        *,
        finer: Encoded | None = None,
        source: Path | None = None,
        key: str | None = None,
    ) -> list[Explanation]:
        """Explain a picture that has been through the CNN.

        Gradient methods make one backward pass for all targets.

        Args:
            head: The model bound to the picture, from `Model.bind`.
            picture: The same picture, RGB, at the size of the maps.
            query: From `check`.
            targets: At least one, each as `Query.target`.
            finer: The same picture encoded with `query.detail`, if that is not 1.
            source: The file of the picture.
            key: Identifies the picture in the cache.

        Raises:
            ValueError: See `explain`.
        """
        check_head(head)
        method = method_named(query.method)
        placement = head.encoded.placement
        resolved = [head.target(target) for target in targets]
        first = _first_choice(head, resolved)
        reference = [] if first is None or first in resolved or method.slow else [first]
        map_head = head if finer is None else head.model.bind(finer, head.question)
        maps = self._attribute(method, map_head, [*resolved, *reference], key, query)
        scores = [each.score for each in maps] if finer is None else head.scores(resolved)
        maxima = {
            target: each.attribution.max().item()
            for target, each in zip([*resolved, *reference], maps, strict=True)
        }
        predictions = head.predictions()
        unsure = bool(predictions) and head.is_guess(predictions[0])
        explanations = []
        for target, wanted, each, score in zip(resolved, targets, maps, scores, strict=False):
            terms = score.terms.detach()
            gradient = guided_backprop(head, target) if query.guided else None
            explanations.append(
                Explanation(
                    query=replace(query, target=wanted),
                    target=target.text,
                    score=terms.sum().item(),
                    probability=score.probability,
                    predictions=predictions,
                    picture=picture,
                    source=source,
                    box=WHOLE if placement.box is None else placement.box,
                    position_known=placement.box is not None,
                    raw=placement.upright(_array(each.attribution)),
                    raw_counterfactual=placement.upright(_array(each.counterfactual)),
                    words=[
                        Word(text, log_prob, placement.upright(_array(word_map)))
                        for text, log_prob, word_map in zip(
                            target.words, terms.tolist(), each.words, strict=False
                        )
                    ],
                    gradient=None
                    if gradient is None
                    else placement.upright(_array(gradient.permute(1, 2, 0))),
                    unknown_words=head.unknown_words,
                    remarks=remarks(head.model) + (() if placement.box else (_UNKNOWN_POSITION,)),
                    unsure=unsure,
                    first_choice_max=None if target.function or not first else maxima.get(first),
                    rank=head.rank(target),
                    concepts=concepts(head, target),
                    origin=Origin(head.model, target),
                )
            )
        return explanations

    @standard_mode()
    def suggest(self, image: ImageSource, query: Query, text: str) -> list[Prediction]:
        """Return the labels that an unfinished text may mean, the best fits first, at most eight.

        Labels that fit equally well come in the order of their likelihood; none for captions.

        Raises:
            FileNotFoundError, ValueError, ConnectionError: See `explain`.
        """
        model = load(query.model_name, query.task)
        query = query.resolved(model)
        key = digest(Path(image)) if self._cache and isinstance(image, str | Path) else None
        encoded, _ = self._encode(image, replace(query, guided=False), model, key)
        head = model.bind(encoded, query.question)
        if not isinstance(head, LabelHead):
            return []
        probabilities = head.probabilities.tolist()
        return [
            Prediction(label, probabilities[head.model.positions[label]])
            for label in head.suggestions(text, _SUGGESTED)
        ]

    def open_new(self, file: Path, query: Query) -> "NewPicture | None":
        """Open a picture file for `encode_many`; None if it is cached already.

        Raises:
            FileNotFoundError, ValueError, ConnectionError: See `explain`.
        """
        assert self._cache is not None
        model = load(query.model_name, query.task)
        query = query.resolved(model)
        key = (digest(file), *_key(query, model))
        if self._cache.has_picture(key):
            return None
        return NewPicture(key, open_image(file), model.backbone, query.layer)

    @standard_mode()
    def encode_many(self, pictures: Iterable["NewPicture"]) -> None:
        """Run the CNN once over several pictures, so that `explain` finds them in the cache."""
        assert self._cache is not None
        groups: defaultdict[tuple[Backbone, str | None], list[NewPicture]] = defaultdict(list)
        for new in pictures:
            groups[new.backbone, new.layer].append(new)
        for (backbone, layer), group in groups.items():
            encoded = backbone.encode_many([new.picture for new in group], layer)
            for new, one in zip(group, encoded, strict=True):
                new.picture.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
                self._cache.add_picture(new.key, (one, new.picture))

    def _look(
        self, image: ImageSource, query: Query, model: Model | None
    ) -> tuple[Query, Image.Image, str | None, Head, Encoded | None]:
        """Return the checked query, the picture, its key, the model looking at it, and `finer`."""
        given, model = model, load(query.model_name, query.task) if model is None else model
        query = check(query, model)
        source = Path(image) if isinstance(image, str | Path) else None
        key = digest(source) if self._cache and source and given is None else None
        encoded, picture = self._encode(image, query, model, key)
        finer = self._encode_finer(picture if key is None else image, query, model, key)
        return query, picture, key, self._bind(model, encoded, query, key), finer

    def _encode(self, image: ImageSource, query: Query, model: Model, key: str | None) -> Picture:
        """Run the CNN once, unless the picture is cached; with the guided rule if needed."""

        def encode() -> Picture:
            picture = open_image(image)
            assert query.layer is not None
            if query.guided:
                return encode_guided(model, picture, query.layer), picture
            return model.encode(picture, query.layer), picture

        if self._cache is None or key is None:
            return encode()
        traced: list[Encoded] = []

        def encode_for_cache() -> Picture:
            encoded, picture = encode()
            traced.append(encoded)
            picture.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
            return encoded.without_graph(), picture

        encoded, picture = self._cache.picture((key, *_key(query, model)), encode_for_cache)
        return traced[0] if traced else encoded, picture

    def _encode_finer(
        self, image: ImageSource, query: Query, model: Model, key: str | None
    ) -> Encoded | None:
        if query.detail == 1:
            return None

        def encode() -> Picture:
            picture = open_image(image)
            return model.encode(picture, query.layer, query.detail), Image.new("RGB", (1, 1))

        if self._cache is None or key is None:
            return encode()[0]
        return self._cache.picture((key, *_key(query, model), query.detail), encode)[0]

    def _bind(self, model: Model, encoded: Encoded, query: Query, key: str | None) -> Head:
        head = model.bind(encoded, query.question)
        if self._cache is not None and key is not None:
            # Predictions depend neither on the target nor on the layer.
            predictions_key = (key, model.name, query.question)
            head.remember(self._cache.predictions(predictions_key, head.predictions))
        return head

    def _attribute(
        self,
        method: Method,
        head: Head,
        targets: Sequence[ResolvedTarget],
        key: str | None,
        query: Query,
    ) -> list[Maps]:
        if self._cache is None or key is None or not method.slow:
            return method.attribute(head, targets)
        cache, of_map = self._cache, replace(query, target=None, guided=False)
        return [
            cache.maps((key, of_map, target), partial(_attribute_one, method, head, target))
            for target in targets
        ]


class NewPicture(NamedTuple):
    """An opened picture file that is not in the cache.

    Attributes:
        key: Identifies it in the cache.
        picture: RGB.
        backbone: The CNN.
        layer: The target layer.
    """

    key: tuple[str, ...]
    picture: Image.Image
    backbone: Backbone
    layer: str | None


def check(query: Query, model: Model) -> Query:
    """Return a query with its defaults filled in, checked against a model.

    Raises:
        ValueError: The model is for another task, has no such layer, or the method or guided
            backpropagation does not apply to it.
    """
    query = query.resolved(model)
    reasons = [method_named(query.method).why_not(model)]
    reasons += [why_not_rule(model, "guided")] if query.guided else []
    for reason in reasons:
        if reason:
            raise ValueError(reason)
    return query


def remarks(model: Model) -> tuple[str, ...]:
    """Return sentences on how to read the maps of a model."""
    found = []
    if not model.convolutional:
        found.append("The map shows a transformer's tokens, not convolutional features.")
    reason = why_not_rule(model, "guided")
    return (*found, reason) if reason else tuple(found)


def _fused(explanations: Sequence[Explanation]) -> Explanation:
    """Return the explanation of a target at several layers, from those at each."""

    def fused(maps: Iterable[np.ndarray]) -> np.ndarray:
        return fuse([torch.from_numpy(each)[None, None] for each in maps])[0, 0].numpy()

    first = explanations[0]
    return replace(
        first,
        query=replace(first.query, layer=FUSED.join(each.layer for each in explanations)),
        raw=fused(each.raw for each in explanations),
        raw_counterfactual=fused(each.raw_counterfactual for each in explanations),
        words=[
            replace(same[0], raw=fused(word.raw for word in same))
            for same in zip(*(each.words for each in explanations), strict=True)
        ],
        first_choice_max=None,  # each map has been divided by its maximum
    )


def _attribute_one(method: Method, head: Head, target: ResolvedTarget) -> Maps:
    (maps,) = method.attribute(head, [target])
    return maps


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()


def _key(query: Query, model: Model) -> tuple[str, str]:
    return model.backbone.name, query.layer or ""


def _first_choice(head: Head, targets: Sequence[ResolvedTarget]) -> ResolvedTarget | None:
    """Return the target whose map the others are compared with; see `first_choice_max`."""
    if not isinstance(head, LabelHead) or all(target.function for target in targets):
        return None
    return head.target() if head.predictions() else None
