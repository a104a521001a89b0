"""What colour the thing on a photo has, seen in its pixels: a teacher for "What colour is it?".

People's colours are those of clothes and dogs on Flickr8k; a lemon's nobody wrote down. Where the
backbone's classifier sees the thing (its class activation map), the pixels are given names of
colours, and the one that most of them have is the answer, if it clearly is. Gray is none: most
of what has no clear colour is, in the shade.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from gradcam_core.models.embedded.lite import lite_backbone, lite_classifier_layer
from training.features import every_picture

CLEARLY = 0.5  # share of the thing's pixels
THING = 0.5  # of the map's maximum: what is above is the thing
SIDE = 112  # to which pictures are shrunk: texture blends to the colour that people see
# Where each hue ends, in degrees; red comes round again.
HUES = ((15, "red"), (40, "orange"), (68, "yellow"), (165, "green"), (260, "blue"))
HUES += ((300, "purple"), (340, "pink"), (361, "red"))
GREYS = ((0.22, "black"), (0.72, "gray"), (1.01, "white"))  # by where each ends in value


def names_of(pixels: np.ndarray) -> list[str]:
    """Name the colour of each pixel.

    Args:
        pixels: (n, 3) uint8, RGB.
    """
    hsv = np.asarray(Image.fromarray(pixels[None]).convert("HSV"), float)[0] / 255
    found = []
    for hue, saturation, value in hsv:
        # The darker it is, the more saturation it takes to be seen.
        if saturation * value < 0.13 or value < GREYS[0][0]:
            found.append(next(name for end, name in GREYS if value < end))
            continue
        name = next(name for end, name in HUES if hue * 360 < end)
        brown = name in ("orange", "red", "yellow") and 8 < hue * 360 < 50
        found.append("brown" if brown and (value < 0.65 or saturation < 0.5) else name)
    return found


def colour_of(picture: Image.Image, heat: np.ndarray) -> str | None:
    """The colour that a thing clearly has, but gray.

    Args:
        picture: RGB.
        heat: (h, w), where the thing is seen.
    """
    small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))
    where = Image.fromarray(heat.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    thing = small[np.asarray(where) > THING * heat.max()]
    names, counts = np.unique(names_of(thing), return_counts=True)
    best = counts.argmax()
    clear = counts[best] > CLEARLY * len(thing) and names[best] != "gray"
    return str(names[best]) if clear else None


@torch.inference_mode()
def colours(pictures: Path, cache: Path) -> dict[str, str]:
    """Name -> colour, of the pictures of an archive whose thing clearly has one.

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
