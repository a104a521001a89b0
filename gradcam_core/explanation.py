"""What is known of one explanation, and the forms it is given away in: files, figure, notebook."""

import base64
import html
import io
import json
import re
import string
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from gradcam_core.image.geometry import Box, enlarge, normalised
from gradcam_core.image.render import (
    DEFAULT_COLOUR_MAP,
    DEFAULT_OPACITY,
    coloured,
    gradient_picture,
)
from gradcam_core.image.render import overlay as laid_over
from gradcam_core.methods import METHODS
from gradcam_core.methods.pixels import guided_grad_cam
from gradcam_core.models.base import Prediction
from gradcam_core.models.embedded.concepts import Reason

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of the pictures of a figure, in its order; {} is the method.
_TITLES = {
    "picture": "Picture",
    "guided_backprop": "Guided Backprop",
    "grad_cam": "{}",
    "guided_grad_cam": "Guided Backprop × {}",  # Grad-CAM's has a name of its own
    "counterfactual": "Counterfactual",
}

# A map whose maximum is below this part of that of the model's own first choice is faint. So are
# 88 % of those for classes drawn by lot, and 18 % of those for what is there, one thing of four:
# benchmarks.classification with lite0, see docs/figures.md.
_FAINT = 0.3

SCHEMA_VERSION = 2  # of `Explanation.numbers`; see docs/json.md


@dataclass(frozen=True, eq=False)
class Word:
    """One word of an explained caption.

    Attributes:
        text: The word.
        log_prob: Its log-probability after the words before it, <= 0.
        raw: (h, w) float32, its own heat map, not normalised.
    """

    text: str
    log_prob: float
    raw: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Why a model says `target` of a picture.

    The maps at the picture's own size (H, W) are enlarged from the small ones when asked for.

    Attributes:
        task: "classification", "captioning" or "vqa".
        model: The model's name.
        layer: The target layer's name.
        method: The method's name, see `methods()`.
        question: What was asked, for "vqa"; else None.
        unknown_words: Words of the question that the model does not know.
        target: The class, caption or answer that is explained.
        score: y^c: its logit, the sum of its words' log-probabilities, or the target function's
            own value.
        probability: Of the target, in [0, 1]; None where the target is a function.
        predictions: What the model itself would say, best first.
        picture: The picture, RGB, (H, W) pixels.
        source: The file it came from; None if it came from memory.
        box: The part of it that the network was shown; maps are zero outside.
        raw: (h, w) float32 >= 0, the method's map, not normalised: for Grad-CAM
            ReLU(sum_k alpha_k A^k) (Eq. 2).
        raw_counterfactual: (h, w) float32 >= 0, the same of the negated score (section 3.3).
        words: For a caption, its words in order; else empty.
        gradient: (H_in, W_in, 3) float32, signed, guided backpropagation to the network's
            input; None if it was not asked for.
        remarks: What must be known of the model to read the map; plain sentences.
        unsure: Whether the model's own first choice is a guess: below the probability under which
            it was measured to be wrong more often than right.
        detail: Times the network's own input side that the map was made at.
        strongest: Largest value, >= 0, of this map for the model's own first choice, which `raw`
            is to be judged by; None where the two cannot be compared (captions, functions) or it
            would take long (slow methods).
        reasons: What is seen that speaks for the target, by name, then what speaks against it
            (section 7 of the paper); None where the model's channels have no names.
    """

    task: str
    model: str
    layer: str
    method: str
    question: str | None
    unknown_words: list[str]
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
    remarks: tuple[str, ...] = ()
    unsure: bool = False
    detail: float = 1.0
    strongest: float | None = None
    reasons: tuple[Reason, ...] | None = None

    @property
    def no_evidence(self) -> bool:
        """True when nothing in the picture speaks for the target; `heatmap` is then all zeros."""
        return not self.raw.any()

    @property
    def hardly_any_evidence(self) -> bool:
        """True when the map is faint beside that of the model's own first choice."""
        highest = float(self.raw.max())
        return self.strongest is not None and 0 < highest < _FAINT * self.strongest

    @property
    def heatmap(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]: `raw / raw.max()`, bilinearly enlarged."""
        return self._at_picture_size(normalised(self.raw))

    @property
    def counterfactual(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]: the regions that speak against the target."""
        return self._at_picture_size(normalised(self.raw_counterfactual))

    @property
    def guided_backprop(self) -> np.ndarray | None:
        """(H, W, 3) float32, signed; None if it was not asked for."""
        return None if self.gradient is None else self._at_picture_size(self.gradient)

    @property
    def guided_grad_cam(self) -> np.ndarray | None:
        """(H, W, 3) float32, signed: `guided_backprop * heatmap` (section 3.2)."""
        gradient = self.guided_backprop
        return None if gradient is None else guided_grad_cam(gradient, self.heatmap)

    def word_heatmap(self, index: int) -> np.ndarray:
        """(H, W) float32 in [0, 1]: the map of one word of a caption, each on its own scale."""
        return self._at_picture_size(normalised(self.words[index].raw))

    def numbers(self) -> dict[str, Any]:
        """Everything but the pictures, as JSON can hold it; docs/json.md has the schema."""
        return {
            "schema_version": SCHEMA_VERSION,
            "versions": {"gradcam-demo": package_version(), "torch": torch.__version__},
            "source": None if self.source is None else self.source.name,
            "task": self.task,
            "model": self.model,
            "layer": self.layer,
            "method": self.method,
            "detail": self.detail,
            "question": self.question,
            "unknown_words": self.unknown_words,
            "target": self.target,
            "score": self.score,
            "probability": self.probability,
            "no_evidence": self.no_evidence,
            "hardly_any_evidence": self.hardly_any_evidence,
            "unsure": self.unsure,
            "predictions": [
                {"text": prediction.text, "probability": prediction.probability}
                for prediction in self.predictions
            ],
            "words": [
                {"text": word.text, "log_prob": word.log_prob, "raw": word.raw.tolist()}
                for word in self.words
            ],
            "picture": {"width": self.picture.width, "height": self.picture.height},
            "box": self.box,
            "raw": self.raw.tolist(),
            "raw_counterfactual": self.raw_counterfactual.tolist(),
            "remarks": list(self.remarks),
            "reasons": None
            if self.reasons is None
            else [
                {
                    "name": reason.name,
                    "share": reason.share,
                    "of_ten": reason.of_ten,
                    "raw": reason.raw.tolist(),
                }
                for reason in self.reasons
            ],
        }

    @property
    def in_words(self) -> str:
        """The reasons as a sentence, "because: terrier, brown; despite: snow".

        "" without any. Where there is hardly any evidence nothing is because of what is seen.
        """
        found = self.reasons or ()
        because = () if self.hardly_any_evidence else found
        said = {
            "because": [reason.name for reason in because if reason.share > 0],
            "despite": [reason.name for reason in found if reason.share < 0],
        }
        return "; ".join(f"{word}: {', '.join(names)}" for word, names in said.items() if names)

    def panels(
        self,
        colour_map: str = DEFAULT_COLOUR_MAP,
        opacity: float = DEFAULT_OPACITY,
        highest: float | None = None,
    ) -> dict[str, Image.Image]:
        """Return the pictures of the paper's Figure 1 by name, as large as the picture.

        Guided backprop and Guided Grad-CAM are there if the explanation has them.

        Args:
            colour_map: A name that matplotlib knows.
            opacity: Of the heat maps' colours, in [0, 1].
            highest: The value, > 0, at which their colours end; None for each map's own maximum.

        Raises:
            ValueError: matplotlib has no such colour map.
        """
        maps = {"grad_cam": self.raw, "counterfactual": self.raw_counterfactual}
        pictures = {
            name: laid_over(
                self.picture,
                self._at_picture_size(
                    normalised(raw) if highest is None else (raw / highest).clip(max=1)
                ),
                colour_map,
                opacity,
            )
            for name, raw in maps.items()
        }
        if self.gradient is not None:
            # Multiplied at the network's input size: quick for a large photo too.
            heatmap = enlarge(normalised(self.raw), self.gradient.shape[:2])
            product = guided_grad_cam(self.gradient, heatmap)
            size = self.picture.size
            pictures["guided_backprop"] = gradient_picture(self.gradient, size, self.box)
            pictures["guided_grad_cam"] = gradient_picture(product, size, self.box)
        return pictures

    def save(
        self,
        folder: str | Path,
        colour_map: str = DEFAULT_COLOUR_MAP,
        opacity: float = DEFAULT_OPACITY,
    ) -> list[Path]:
        """Write the pictures (PNG), the raw map (.npy) and the numbers (JSON) into `folder`.

        The folder is made if need be; files of the same names in it are replaced, and those that
        an earlier explanation left there and this one does not have are removed.

        Args:
            folder: Of this explanation alone.
            colour_map: A name that matplotlib knows.
            opacity: Of the heat maps' colours, in [0, 1].

        Returns:
            The files written.

        Raises:
            ValueError: matplotlib has no such colour map.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
            # Everything is finished there first, so that no half-written file is ever left.
            workshop = Path(temporary)
            for name, picture in self._pictures(colour_map, opacity):
                # Level 1: a large photo is written in a third of the time, and is little larger.
                picture.save(workshop / f"{name}.png", compress_level=1)
            np.save(workshop / "raw.npy", self.raw)
            numbers = json.dumps(self.numbers(), indent=1, ensure_ascii=False)
            (workshop / "explanation.json").write_text(numbers + "\n", encoding="utf-8")
            finished = sorted(workshop.iterdir())
            for stale in {"guided_backprop.png", "guided_grad_cam.png"}.union(
                old.name for old in folder.glob("word_[0-9][0-9]_*.png")
            ) - {file.name for file in finished}:
                (folder / stale).unlink(missing_ok=True)
            return [file.replace(folder / file.name) for file in finished]

    def figure(
        self,
        colour_map: str = DEFAULT_COLOUR_MAP,
        opacity: float = DEFAULT_OPACITY,
        beside: Sequence["Explanation"] = (),
        highest: float | None = None,
    ) -> "Figure":
        """Return the paper's Figure 1 for this picture: a labelled row, ready for a paper.

        `explanation.figure().savefig("figure.pdf")` writes it (also .svg, .png).

        Args:
            colour_map: A name that matplotlib knows.
            opacity: Of the heat maps' colours, in [0, 1].
            beside: Others of the same picture, a row each: of another target, or another model.
            highest: The value, > 0, at which the colours of all heat maps end; None for a scale
                of its own for each row, up to its map's maximum.

        Raises:
            ValueError: matplotlib has no such colour map.
        """
        from matplotlib.figure import Figure

        rows = (self, *beside)
        drawn = [
            {"picture": row.picture, **row.panels(colour_map, opacity, highest)} for row in rows
        ]
        columns = [name for name in _TITLES if any(name in pictures for pictures in drawn)]
        height = 2.6  # inches
        width = height * self.picture.width / self.picture.height
        figure = Figure(
            figsize=(len(columns) * width + 1.2, len(rows) * (height + 0.4) + 0.6),
            layout="constrained",
        )
        grid = figure.subplots(len(rows), len(columns), squeeze=False)
        letters = iter(string.ascii_lowercase)
        for row, pictures, axes in zip(rows, drawn, grid, strict=True):
            for name, axis in zip(columns, axes, strict=True):
                axis.axis("off")
                if name in pictures:
                    axis.imshow(pictures[name])
                    title = _panel_title(name, row.method)
                    axis.set_title(f"({next(letters)}) {title}", fontsize=9)
            if beside:
                said = textwrap.fill(row.target.replace("$", r"\$"), 28)
                if row.model != self.model:
                    said += f"\n{row.model}"
                place = {"rotation": 90, "ha": "right", "va": "center", "fontsize": 9}
                axes[0].text(-0.04, 0.5, said, transform=axes[0].transAxes, **place)
            if highest is None:
                row._colour_bar(figure, list(axes), colour_map, row.raw.max().item() or 1.0)
        if highest is not None:
            self._colour_bar(figure, list(grid.flat), colour_map, highest)
        figure.supxlabel("\n".join(map(str, rows)).replace("$", r"\$"), fontsize=8, wrap=True)
        return figure

    def _colour_bar(
        self, figure: "Figure", axes: list[Any], colour_map: str, highest: float
    ) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        scale = ScalarMappable(Normalize(0, highest), colour_map)
        bar = figure.colorbar(scale, ax=axes, fraction=0.03, pad=0.01)
        bar.set_label(f"{METHODS[self.method].title}, not normalised", fontsize=7)
        bar.ax.tick_params(labelsize=7)

    def __str__(self) -> str:
        """Say in one line what it is."""
        asked = "" if self.question is None else f"“{self.question}” "
        likely = "" if self.probability is None else f", probability {self.probability:.3g}"
        if self.task == "captioning":
            likely = ""  # of a sentence it is tiny; the score is its logarithm
        kind = "log-probability" if self.task == "captioning" else "score"
        doubt = "; the model is guessing" if self.unsure else ""
        evidence = "; nothing in the picture speaks for it" if self.no_evidence else ""
        evidence += "; hardly any evidence for it" if self.hardly_any_evidence else ""
        return (
            f"{asked}{self.target} ({kind} {self.score:.2f}{likely}): "
            f"{METHODS[self.method].title} of {self.model} at {self.layer}{doubt}{evidence}"
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Show it in a notebook: plain pictures, no widget."""
        png = io.BytesIO()
        self.figure().savefig(png, format="png", dpi=110)
        data = base64.b64encode(png.getvalue()).decode("ascii")
        text = html.escape(str(self))
        return f'<img src="data:image/png;base64,{data}" alt="{text}" style="max-width:100%">'

    def _at_picture_size(self, values: np.ndarray) -> np.ndarray:
        return enlarge(values, (self.picture.height, self.picture.width), self.box)

    def _pictures(self, colour_map: str, opacity: float) -> Iterator[tuple[str, Image.Image]]:
        """Draw what `save` writes, one after the other: a large photo fills much memory."""
        yield "picture", self.picture
        yield "heatmap", coloured(self.heatmap, colour_map)
        yield from self.panels(colour_map, opacity).items()
        for index, word in enumerate(self.words):
            name = f"word_{index + 1:02d}_{re.sub(r'[^a-z0-9]+', '-', word.text.lower())}"
            heatmap = self.word_heatmap(index)
            yield name, laid_over(self.picture, heatmap, colour_map, opacity)


def package_version() -> str:
    """Return this package's version, that of pyproject.toml also where it is not installed."""
    try:
        return version("gradcam-demo")
    except PackageNotFoundError:
        import tomllib

        settings = Path(__file__).parents[1] / "pyproject.toml"
        found: str = tomllib.loads(settings.read_text("utf-8"))["project"]["version"]
        return found


def _panel_title(panel: str, method: str) -> str:
    if (panel, method) == ("guided_grad_cam", "grad-cam"):
        return METHODS["guided-grad-cam"].title
    return _TITLES[panel].format(METHODS[method].title)
