"""Example pictures: photos from the dependencies, collages of them, and one recoloured."""

import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

_PHOTOS = {
    "cheetah": ("gradio", "media_assets/images/cheetah1.jpg"),
    "lion": ("gradio", "media_assets/images/lion.jpg"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "photographer": ("skimage", "data/camera.png"),
    "palace": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}
# Crops (left, top, right, bottom), as shares of the sides, that make the object larger.
_CROPS = {
    "rocket": (0.3, 0, 0.8, 1),
    "palace": (0.1, 0.2, 0.6, 0.8),
    "flower": (0.25, 0.05, 0.8, 0.95),
}
# Two classes in one picture, one on either side. The first is what a new visitor sees: one class is
# clearly the first choice, and the other one is among the next.
_COLLAGES = (("lion", "coffee"), ("cat", "motorcycle"))
# The colours of the flowers, row by row: hue (0 to 255), factors of saturation and value.
_FLOWERS = ((0, 1.2, 1), (40, 1.2, 1.2), (165, 1.1, 1), (30, 0.12, 1.25))

# Suggested questions, with the answers that a test expects of the network. The first row is for
# visitors' own photos.
QUESTIONS: dict[str, dict[str, str]] = {
    "": {"What is this?": "", "What animal is this?": "", "Is there a person?": ""},
    "cat and motorcycle": {
        "What animal is this?": "cat",
        "What vehicle is there?": "motorcycle",
        "Is there a cat?": "yes",
    },
    "lion and coffee": {
        "What animal is this?": "lion",
        "What is in the cup?": "coffee",
        "Is there a cup?": "yes",
    },
    "four flowers": {
        "What color is the flower?": "red",
        "What is this?": "flowers",
        "Is there a cat?": "no",
    },
    "cheetah": {"What animal is this?": "cheetah", "Is there a dog?": "no"},
    "lion": {"What animal is this?": "lion", "Is there a person?": "no"},
    "cat": {"What animal is this?": "cat", "Is there a dog?": "no", "Is there a cat?": "yes"},
    "coffee": {"What is this?": "cup", "Is there a cup?": "yes", "Is there a spoon?": "no"},
    "rocket": {"What is this?": "rocket", "Is there a dog?": "no"},
    "motorcycle": {"What vehicle is this?": "motorcycle", "Is there a motorcycle?": "yes"},
    "photographer": {
        "Is it outdoors?": "yes",
        "Is there a tripod?": "yes",
        "Is there a cat?": "no",
    },
    "palace": {"Is there a tree?": "yes", "Is there a dog?": "no"},
    "flower": {"Is there a flower?": "yes", "Is there a cat?": "no"},
}

_LONGEST_SIDE = 640  # pixels
_THUMBNAIL = 112


# Removed when the demo ends.
_FOLDER = tempfile.TemporaryDirectory(prefix="gradcam-examples-")


@cache
def example_pictures() -> dict[str, Path]:
    """Return the example pictures by name, as JPEG files in a temporary folder."""
    folder = Path(_FOLDER.name)
    pictures = {f"{left} and {right}": _collage(left, right) for left, right in _COLLAGES}
    pictures["four flowers"] = _flowers()
    pictures |= {name: _photo(name) for name in _PHOTOS}
    paths = {}
    for name, picture in pictures.items():
        paths[name] = folder / f"{name.replace(' ', '-')}.jpg"
        picture.save(paths[name], quality=92)
    return paths


@cache
def collage(left: str, right: str) -> Path:
    """Return two photos of `example_pictures` side by side, as a JPEG file."""
    path = Path(_FOLDER.name) / f"pair-{left}-{right}.jpg"
    _collage(left, right).save(path, quality=92)
    return path


@cache
def example_thumbnails() -> dict[str, Path]:
    """Return small squares of the example pictures by name.

    They are separate files: Gradio deletes its copy of a picture a day after a visitor chose it.
    """
    thumbnails = {}
    for name, path in example_pictures().items():
        with Image.open(path) as picture:
            thumbnails[name] = path.with_name(f"small-{path.name}")
            ImageOps.fit(picture, (_THUMBNAIL, _THUMBNAIL)).save(thumbnails[name], quality=85)
    return thumbnails


def _photo(name: str) -> Image.Image:
    package, file = _PHOTOS[name]
    # Importing the package would take seconds.
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None  # a dependency
    (location,) = spec.submodule_search_locations
    with Image.open(Path(location) / file) as image:
        photo = image.convert("RGB")
    if name in _CROPS:
        left, top, right, bottom = _CROPS[name]
        w, h = photo.size
        photo = photo.crop((round(left * w), round(top * h), round(right * w), round(bottom * h)))
    photo.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    return photo


def _collage(left: str, right: str) -> Image.Image:
    """Place two photos side by side, each cropped to the square in its middle."""
    side = _LONGEST_SIDE // 2
    collage = Image.new("RGB", (2 * side, side))
    for position, name in enumerate((left, right)):
        collage.paste(ImageOps.fit(_photo(name), (side, side)), (position * side, 0))
    return collage


def _flowers() -> Image.Image:
    """Place the flower four times, each in another colour: a question has four answers."""
    side = _LONGEST_SIDE // 2
    flowers = Image.new("RGB", (2 * side, 2 * side))
    flower = _photo("flower").crop((40, 20, 330, 330))
    pixels = np.asarray(flower.convert("HSV")).astype(float)
    petals = (pixels[..., 1] > 60) & (pixels[..., 2] > 110)
    for i, (hue, saturation, value) in enumerate(_FLOWERS):
        painted = pixels.copy()
        painted[petals] = painted[petals] * (0, saturation, value) + (hue, 0, 0)
        recoloured = Image.fromarray(painted.clip(0, 255).astype(np.uint8), "HSV").convert("RGB")
        flowers.paste(ImageOps.fit(recoloured, (side, side)), (i % 2 * side, i // 2 * side))
    return flowers
