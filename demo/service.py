"""A request from the page -> an Explanation, fast enough to click through.

Models are held by `gradcam_core.load`; here is the cache of pictures that went through a CNN.
"""

import hashlib
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from cachetools import LRUCache, cached
from PIL import Image

import gradcam_core as gc
from gradcam_core.explain import explain_encoded
from gradcam_core.image import open_image
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import Model, Prediction

# Pictures are shown no larger than this; downloads have the picture's own size.
DISPLAY_SIDE = 768

# A feature map and its picture take about 3 MB.
_CACHED_PICTURES = 64
_CACHED_PREDICTIONS = 1024


@dataclass(frozen=True, eq=False)
class Shown:
    """What a page shows.

    Attributes:
        explanation: Its `picture` is the uploaded one made smaller for display.
        path: The uploaded file.
        seconds: From request to explanation, without drawing.
        word: Index of the one word of a caption whose map is shown; None for all of it.
    """

    explanation: gc.Explanation
    path: Path
    seconds: float
    word: int | None = None

    def full_size(self) -> gc.Explanation:
        """Return the explanation with the uploaded picture at its own size.

        Raises:
            ValueError: The upload is not there any more.
        """
        if not self.path.is_file():
            raise ValueError(
                "The picture has been removed in the meantime: please upload it again."
            )
        return replace(self.explanation, picture=open_image(self.path))


def explain(
    path: str | None,
    task: str,
    *,
    target: str | None = None,
    question: str | None = None,
    layer: str | None = None,
) -> Shown:
    """Explain an uploaded picture; the CNN runs only if it has not seen it yet.

    Args:
        path: Of the uploaded file, checked by `UploadedPicture`.
        task: "classification", "captioning" or "vqa".
        target: As typed; None or blank explains the model's own prediction.
        question: As typed; for "vqa" only.
        layer: The target layer; None for the last.

    Raises:
        ValueError: There is no picture, or what `gradcam_core.explain` raises.
    """
    if path is None:
        raise ValueError("Please choose a picture first: upload, paste, or click an example.")
    start = time.perf_counter()
    target = "" if target is None else str(target).strip()  # over the API it may be a number
    file = Path(path)
    model = gc.load(gc.models(task)[0].name)
    # Pictures are told apart by what is in the file: each tab has its own upload of the same one.
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    layer = layer or model.backbone.layers[-1]
    encoded, picture = _encode(digest, file, model.backbone, layer)
    explanation = explain_encoded(
        model,
        encoded,
        picture,
        target=target or None,
        question=question,
        predictions=_predict(digest, model, encoded, question),
        with_guided=True,
    )
    return Shown(explanation, file, time.perf_counter() - start)


@cached(
    LRUCache(_CACHED_PICTURES),
    key=lambda digest, path, backbone, layer: (digest, backbone.name, layer),
    lock=threading.Lock(),
)
def _encode(digest: str, path: Path, backbone: Backbone, layer: str) -> tuple[Encoded, Image.Image]:
    picture = open_image(path)
    encoded = backbone.encode(picture, layer)
    picture.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
    return encoded, picture


# What a model itself says does not change with the target that is explained, nor with the layer.
@cached(
    LRUCache(_CACHED_PREDICTIONS),
    key=lambda digest, model, encoded, question: (digest, model.name, question),
    lock=threading.Lock(),
)
def _predict(digest: str, model: Model, encoded: Encoded, question: str | None) -> list[Prediction]:
    return model.predict(encoded, question)
