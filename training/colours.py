"""The colour of the main object of a photo, from its pixels: labels for "What colour is it?".

Captions give colours for the clothes and dogs of Flickr8k, but not for a lemon. Here the object is
where the classifier sees it (its class activation map). Its pixels are given names of colours, and
the most frequent one is the label if it is clear enough. Gray is never a label: most objects
without a clear colour are gray in the shade.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from gradcam_core.models.embedded.lite import lite_backbone, lite_classifier_layer
from training.features import every_picture

CLEARLY = 0.5  # least share of the object's pixels with the most frequent colour
OBJECT = 0.5  # the object is where the map exceeds this share of its maximum
SIDE = 112  # pictures are reduced to it, so that texture blends as people see it
# The upper end of each hue in degrees; red comes first and last.
HUES = ((15, "red"), (40, "orange"), (68, "yellow"), (165, "green"), (260, "blue"))
HUES += ((300, "purple"), (340, "pink"), (361, "red"))
GREYS = ((0.22, "black"), (0.72, "gray"), (1.01, "white"))  # by the upper end in value


def names_of(pixels: np.ndarray) -> list[str]:
    """Return the name of each pixel's colour.

    Args:
        pixels: (n, 3) uint8, RGB.
    """
    hsv = np.asarray(Image.fromarray(pixels[None]).convert("HSV"), float)[0] / 255
    found = []
    for hue, saturation, value in hsv:
        # In a darker pixel, more saturation is needed to see a hue.
        if saturation * value < 0.13 or value < GREYS[0][0]:
            found.append(next(name for end, name in GREYS if value < end))
            continue
        name = next(name for end, name in HUES if hue * 360 < end)
        brown = name in ("orange", "red", "yellow") and 8 < hue * 360 < 50
        found.append("brown" if brown and (value < 0.65 or saturation < 0.5) else name)
    return found


def colour_of(picture: Image.Image, heat: np.ndarray) -> str | None:
    """Return the clear colour of an object; None if there is none, or it is gray.

    Args:
        picture: RGB.
        heat: (h, w), where the object is seen.
    """
    small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))
    where = Image.fromarray(heat.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = small[np.asarray(where) > OBJECT * heat.max()]
    names, counts = np.unique(names_of(pixels), return_counts=True)
    best = counts.argmax()
    clear = counts[best] > CLEARLY * len(pixels) and names[best] != "gray"
    return str(names[best]) if clear else None


@torch.inference_mode()
def colours(pictures: Path, cache: Path) -> dict[str, str]:
    """Return name -> colour for the pictures of an archive whose main object has a clear colour.

    The first call runs Lite0 over the archive and writes `cache/SET-colours.npz`.
    """
    path = cache / f"{pictures.parent.name}-colours.npz"
    if not path.exists():
        backbone, classifier = lite_backbone(0), lite_classifier_layer(0)
        found = {}
        for name, picture in tqdm(every_picture(pictures), path.stem, unit="picture"):
            rgb = picture.convert("RGB")
            features = backbone.encode(rgb).head_input[0].cpu()
            label = classifier(features.mean((1, 2))).argmax()
            heat = torch.einsum("c,chw->hw", classifier.weight[label], features).relu()
            if heat.any() and (colour := colour_of(rgb, heat.numpy())):
                found[name] = colour
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, names=[*found], colours=[*found.values()])
    with np.load(path) as stored:
        return dict(zip(stored["names"].tolist(), stored["colours"].tolist(), strict=True))
