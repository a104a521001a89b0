"""The record of one explanation."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from gradcam_core import export, interactive, notebook, serialize
from gradcam_core.figure import PanelName, Size, figure, panel_pictures
from gradcam_core.image.geometry import Box, enlarge, normalised
from gradcam_core.image.render import DEFAULT_COLOUR_MAP, DEFAULT_OPACITY
from gradcam_core.methods import METHODS
from gradcam_core.methods.guided import guided_grad_cam
from gradcam_core.models.base import Model, Prediction, ResolvedTarget
from gradcam_core.models.embedded.concepts import Concept
from gradcam_core.query import Query

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Origin(NamedTuple):
    """What made an explanation, kept in memory only: metrics judge this very model.

    Attributes:
        model: The model.
        target: What is explained, in its terms.
    """

    model: Model
    target: ResolvedTarget


@dataclass(frozen=True, eq=False)
class Word:
    """One word of an explained caption.

    Attributes:
        text: The word.
        log_prob: Its log-probability after the words before it, <= 0.
        raw: (h, w) float32 >= 0, its own heat map, not normalized.

    Examples:
        >>> caption = explain("cat.jpg", "captioning")
        >>> [(word.text, round(word.log_prob, 2)) for word in caption.words]
        [('a', -0.33), ('cat', -0.24), ('is', -0.08), ('resting', -1.33)]
    """

    text: str
    log_prob: float
    raw: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Why a model says `target` of a picture.

    Maps at the picture's own size (H, W) are enlarged from the small ones on access.

    Attributes:
        query: The query, with the model's name and the target layer filled in.
        target: The class, caption or answer that is explained.
        score: y^c: its logit, the sum of its words' log-probabilities, or the target function's
            own value.
        probability: Of the target, in [0, 1]; None where the target is a function.
        predictions: What the model itself would say, best first.
        picture: The picture, RGB, (H, W) pixels.
        source: The file it came from; None if it came from memory.
        box: The part of the picture that the network sees; maps are zero outside.
        raw: (h, w) float32 >= 0, the method's map of that part, not normalized: for Grad-CAM
            ReLU(sum_k alpha_k A^k) (Eq. 2). It is upright also if the network sees the picture
            mirrored or turned.
        raw_counterfactual: (h, w) float32 >= 0, the same for the negated score (section 3.3).
        words: A caption's words in order; else empty.
        gradient: (H_in, W_in, 3) float32, signed, guided backpropagation to the network's
            input, upright like `raw`; None if the query is not guided.
        unknown_words: Words of the question that the model does not know.
        position_known: Whether `box` is right: False where the model's preprocessing could not be
            followed. Maps are then stretched over the whole picture.
        remarks: Sentences on how to read the map of this model.
        unsure: Whether the model's first choice is a guess: it is less likely than the probability
            below which it was measured to be wrong more often than right.
        first_choice_max: The largest value, >= 0, of the map of the model's first choice; None
            where the maps cannot be compared (captions, functions) or it would take long (slow
            methods).
        rank: The target's place among all labels, 1 for the model's first choice; None for captions
            and functions.
        concepts: The concepts that speak for the target, then those against it (section 7 of the
            paper); None where the model has none.
        origin: The model and target in memory; None after pickling.

    Examples:
        >>> explanation = explain("cat.jpg", target="tabby")
        >>> explanation
        tabby (score 8.32, probability 0.0784): Grad-CAM of lite0 at conv_head
        >>> explanation.raw.shape, explanation.heatmap.shape
        ((7, 7), (300, 451))
    """

    query: Query
    target: str
    score: float
    probability: float | None
    predictions: list[Prediction]
    picture: Image.Image
    source: Path | None
    box: Box
    raw: np.ndarray
    raw_counterfactual: np.ndarray
    words: list[Word]
    gradient: np.ndarray | None
    unknown_words: list[str] = field(default_factory=list)
    position_known: bool = True
    remarks: tuple[str, ...] = ()
    unsure: bool = False
    first_choice_max: float | None = None
    rank: int | None = None
    concepts: tuple[Concept, ...] | None = None
    origin: Origin | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__ | {"origin": None}
        if callable(self.query.target):
            state["query"] = replace(self.query, target=None)
        return state

    @property
    def task(self) -> str:
        """The query's task."""
        return self.query.task

    @property
    def model(self) -> str:
        """The model's name."""
        return self.query.model_name

    @property
    def layer(self) -> str:
        """The target layer's name."""
        return self.query.layer or ""

    @property
    def method(self) -> str:
        """The method's name, see `methods()`."""
        return self.query.method

    @property
    def method_title(self) -> str:
        """The method's title, as its paper writes it."""
        return METHODS[self.method].title

    @property
    def question(self) -> str | None:
        """The question, for "vqa"."""
        return self.query.question

    @property
    def detail(self) -> float:
        """The side of the network's input, in multiples of its own."""
        return self.query.detail

    @property
    def no_evidence(self) -> bool:
        """Whether nothing in the picture speaks for the target; `heatmap` is then all zeros."""
        return not self.raw.any()

    @property
    def faint(self) -> bool:
        """Whether the map is faint compared with that of the model's first choice."""
        highest = float(self.raw.max())
        return (
            self.first_choice_max is not None
            and 0 < highest < serialize.FAINT * self.first_choice_max
        )

    @property
    def doubt(self) -> str:
        """Why not to rely on answer or map, as a phrase; "" without a reason."""
        reasons = {
            "the model is guessing": self.unsure,
            "nothing in the picture speaks for it": self.no_evidence,
            "its position in the picture is unknown": not self.position_known,
            "hardly any evidence for it": self.faint,
        }
        return "; ".join(reason for reason, applies in reasons.items() if applies)

    @property
    def heatmap(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]: `raw / raw.max()`, bilinearly enlarged."""
        return self.at_picture_size(normalised(self.raw))

    @property
    def counterfactual(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]: the regions that speak against the target."""
        return self.at_picture_size(normalised(self.raw_counterfactual))

    @property
    def guided_backprop(self) -> np.ndarray | None:
        """(H, W, 3) float32, signed; None if the query is not guided."""
        return None if self.gradient is None else self.at_picture_size(self.gradient)

    @property
    def guided_grad_cam(self) -> np.ndarray | None:
        """(H, W, 3) float32, signed: `gradient` times the map (section 3.2), enlarged."""
        product = self.guided_product
        return None if product is None else self.at_picture_size(product)

    @property
    def guided_product(self) -> np.ndarray | None:
        """(H_in, W_in, 3) float32, signed: Guided Grad-CAM at the network's input."""
        if self.gradient is None:
            return None
        gradient = torch.from_numpy(self.gradient).permute(2, 0, 1)
        product = guided_grad_cam(gradient, torch.from_numpy(normalised(self.raw)))
        return product.permute(1, 2, 0).numpy()

    def word_heatmap(self, index: int) -> np.ndarray:
        """(H, W) float32 in [0, 1]: the map of one word of a caption, scaled by itself."""
        return self.at_picture_size(normalised(self.words[index].raw))

    def at_picture_size(self, values: np.ndarray) -> np.ndarray:
        """Place a map (h, w) or (h, w, c) in the picture: (H, W) or (H, W, c)."""
        return enlarge(values, (self.picture.height, self.picture.width), self.box)

    @property
    def concepts_in_words(self) -> str:
        """The concepts as a phrase, "because: dog (41 %); despite: snow (23 %)"; "" without any.

        A faint map has no "because".
        """
        found = self.concepts or ()
        because = [each.in_words for each in found if each.share > 0 and not self.faint]
        despite = [each.in_words for each in found if each.share < 0]
        parts = {"because": because, "despite": despite}
        return "; ".join(f"{word}: {', '.join(names)}" for word, names in parts.items() if names)

    def to_dict(self, *, packed: bool = False) -> dict[str, Any]:
        """Return everything but the pictures, as JSON can hold it; docs/json.md has the schema.

        Args:
            packed: Maps as base64, and guided backpropagation too, as the page needs them; else
                lists of rows.
        """
        return serialize.to_dict(self, packed=packed)

    def panels(
        self,
        colour_map: str = DEFAULT_COLOUR_MAP,
        opacity: float = DEFAULT_OPACITY,
        vmax: float | None = None,
    ) -> dict[str, Image.Image]:
        """Return the pictures of the paper's Figure 1 by name; see `figure.panel_pictures`."""
        return panel_pictures(self, colour_map, opacity, vmax)

    def figure(
        self,
        colour_map: str = DEFAULT_COLOUR_MAP,
        opacity: float = DEFAULT_OPACITY,
        beside: Sequence["Explanation"] = (),
        vmax: float | None = None,
        *,
        panels: Sequence[PanelName] | None = None,
        size: Size = "page",
    ) -> "Figure":
        """Return the paper's Figure 1 for this picture, and a row for each one `beside`.

        See `gradcam_core.figure`.

        Examples:
            >>> explanation.figure(panels=["picture", "grad_cam"], size="column").savefig("a.pdf")
        """
        rows = [self, *beside]
        return figure(rows, colour_map, opacity, vmax, panels=panels, size=size)

    def to_html(
        self,
        *others: "Explanation",
        colour_map: str = DEFAULT_COLOUR_MAP,
        opacity: float = DEFAULT_OPACITY,
    ) -> str:
        """Return an interactive page of one file, which needs neither a server nor the network.

        It shows this explanation and others: click classes, words and views, move the handle
        between the photo and the map, change opacity and colours.

        Args:
            others: Of other targets, models or methods, mostly of the same picture.
            colour_map: A name that matplotlib knows.
            opacity: Of the heat maps' colours, in [0, 1].

        Raises:
            ValueError: matplotlib has no such colour map.

        Examples:
            >>> tabby, lynx = explain("cat.jpg", target=["tabby", "lynx"])
            >>> Path("cat.html").write_text(tabby.to_html(lynx), encoding="utf-8")
        """
        return interactive.html([self, *others], colour_map, opacity)

    def save(
        self,
        folder: str | Path,
        colour_map: str = DEFAULT_COLOUR_MAP,
        opacity: float = DEFAULT_OPACITY,
        vmax: float | None = None,
    ) -> list[Path]:
        """Write pictures, raw map, numbers and page into a folder; see `export.save`."""
        return export.save(self, Path(folder), colour_map, opacity, vmax)

    def __str__(self) -> str:
        """Describe the explanation in one line."""
        return self.describe(self.model)

    __repr__ = __str__

    def describe(self, model: str) -> str:
        """Describe the explanation in one line, with a name or title for its model."""
        question = "" if self.question is None else f"“{self.question}” "
        # A sentence's probability is tiny; its score is the logarithm.
        caption = self.task == "captioning"
        kind = "log-probability" if caption else "score"
        has_probability = self.probability is not None and not caption
        probability = f", probability {self.probability:.3g}" if has_probability else ""
        doubt = f"; {self.doubt}" if self.doubt else ""
        return (
            f"{question}{self.target} ({kind} {self.score:.2f}{probability}): "
            f"{self.method_title} of {model} at {self.layer}{doubt}"
        )

    def _repr_html_(self) -> str:
        """Show the interactive page in a notebook."""
        return notebook.html(self)
