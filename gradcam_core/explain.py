"""Figure 2 of the paper from top to bottom: a picture and a target become an Explanation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradcam_core import gradcam, guided, render
from gradcam_core.image import Box, ImageSource, enlarge, normalised, open_image
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Prediction
from gradcam_core.models.registry import load, models


@dataclass(frozen=True, eq=False)
class Word:
    """One word of an explained caption.

    Attributes:
        text: The word.
        log_prob: Its log-probability after the words before it, <= 0.
        raw: (h, w) float32, its own Grad-CAM map, not normalised.
    """

    text: str
    log_prob: float
    raw: np.ndarray


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model says `target` of a picture.

    The maps at the picture's own size (H, W) are enlarged from the small ones when asked for.

    Attributes:
        task: "classification", "captioning" or "vqa".
        model: The model's name.
        layer: The target layer's name.
        question: What was asked, for "vqa"; else None.
        unknown_words: Words of the question that the model does not know.
        target: The class, caption or answer that is explained.
        score: y^c: its logit, or the sum of its words' log-probabilities.
        probability: Of the target, in [0, 1].
        predictions: What the model itself would say, best first.
        picture: The picture, RGB, (H, W) pixels.
        box: The part of it that the network was shown; maps are zero outside.
        raw: (h, w) float32 = ReLU(sum_k alpha_k A^k), not normalised (Eq. 2).
        raw_counterfactual: (h, w) float32, the same with the gradients negated (section 3.3).
        words: For a caption, its words in order; else empty.
        gradient: (H_in, W_in, 3) float32, signed, guided backpropagation to the network's
            input; None if it was not asked for.
    """

    task: str
    model: str
    layer: str
    question: str | None
    unknown_words: list[str]
    target: str
    score: float
    probability: float
    predictions: list[Prediction]
    picture: Image.Image
    box: Box
    raw: np.ndarray
    raw_counterfactual: np.ndarray
    words: list[Word]
    gradient: np.ndarray | None

    @property
    def no_evidence(self) -> bool:
        """True when nothing in the picture speaks for the target; `heatmap` is then all zeros."""
        return not self.raw.any()

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
        return None if gradient is None else gradient * self.heatmap[:, :, None]

    def word_heatmap(self, index: int) -> np.ndarray:
        """(H, W) float32 in [0, 1]: the map of one word of a caption, each on its own scale."""
        return self._at_picture_size(normalised(self.words[index].raw))

    def numbers(self) -> dict[str, Any]:
        """Everything but the pictures, as JSON can hold it."""
        return {
            "task": self.task,
            "model": self.model,
            "layer": self.layer,
            "question": self.question,
            "unknown_words": self.unknown_words,
            "target": self.target,
            "score": self.score,
            "probability": self.probability,
            "no_evidence": self.no_evidence,
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
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write the pictures (PNG), the raw map (.npy) and the numbers (JSON) into `folder`.

        The folder is made if need be; files of the same names in it are replaced.

        Returns:
            The files written.
        """
        return render.save(self, Path(folder))

    def _at_picture_size(self, values: np.ndarray) -> np.ndarray:
        return enlarge(values, (self.picture.height, self.picture.width), self.box)


def explain(
    image: ImageSource,
    task: str = "classification",
    target: str | int | None = None,
    question: str | None = None,
    model: str | None = None,
    layer: str | None = None,
    guided: bool = False,
) -> Explanation:
    """Explain why a model says `target` of a picture.

    Args:
        image: A path, a PIL image, or an array (H, W, 3) uint8.
        task: "classification", "captioning" or "vqa".
        target: A class (name or index), a caption or an answer; None explains the model's own
            prediction.
        question: What is asked of the picture; for "vqa" only.
        model: A name from `models(task)`, or for classification a local folder or an id on the
            Hugging Face Hub (see `load`); None for the embedded model.
        layer: A target layer from the model's `layers`; None for the last.
        guided: Also compute guided backpropagation and Guided Grad-CAM; for ReLU networks only.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The picture, task, target, question, model or layer cannot be used; the
            message says why.
        ConnectionError: The model must be downloaded, and the hub cannot be reached.
    """
    default = models(task)[0].name
    picture = open_image(image)
    loaded = load(default if model is None else model, task)
    encoded = loaded.encode(picture, layer)
    return explain_encoded(
        loaded, encoded, picture, target=target, question=question, with_guided=guided
    )


def explain_encoded(
    model: Model,
    encoded: Encoded,
    picture: Image.Image,
    *,
    target: str | int | None = None,
    question: str | None = None,
    predictions: list[Prediction] | None = None,
    with_guided: bool = False,
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
    """
    if model.task != "vqa" and question is not None:
        raise ValueError(f"A question belongs to task 'vqa', not to '{model.task}'.")
    if predictions is None:
        predictions = model.predict(encoded, question)
    wanted = predictions[0].text if target is None else str(target)
    goal = model.target(wanted, question, encoded)
    evaluation = model.evaluate(encoded, goal)
    # One row a term. Gradients add up, so the rows' sum is the importance for y^c itself.
    per_term = gradcam.importance(gradcam.gradients(evaluation.terms, encoded.activations))
    alpha = per_term.sum(0, keepdim=True)
    terms = evaluation.terms.detach()
    word_maps = gradcam.grad_cam(per_term, encoded.activations) if goal.words else []
    return Explanation(
        task=model.task,
        model=model.name,
        layer=encoded.layer,
        question=question,
        unknown_words=model.unknown_words(question),
        target=goal.text,
        score=terms.sum().item(),
        probability=evaluation.probability,
        predictions=predictions,
        picture=picture,
        box=encoded.box,
        raw=gradcam.grad_cam(alpha, encoded.activations)[0].cpu().numpy(),
        raw_counterfactual=gradcam.counterfactual(alpha, encoded.activations)[0].cpu().numpy(),
        words=[
            Word(text, log_prob, word_map.cpu().numpy())
            for text, log_prob, word_map in zip(goal.words, terms.tolist(), word_maps, strict=False)
        ],
        gradient=(
            guided.backpropagate(model, encoded, goal, "guided").cpu().numpy()
            if with_guided
            else None
        ),
    )
