"""Readers of bounding boxes: PASCAL VOC's and ImageNet's XML, COCO's JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from gradcam_core.metrics.localization import Rectangle

# What a file of another format, or with other types in it, raises.
_UNREADABLE = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)


class LabelledBox(NamedTuple):
    """A labelled object of a photo.

    Attributes:
        label: Its name in the data set; ImageNet's are WordNet ids such as "n02123045".
        box: In pixels of a photo of `size`.
        size: (width, height) of the photo, as the annotation says.
    """

    label: str
    box: Rectangle
    size: tuple[int, int]

    def scaled_to(self, width: int, height: int) -> Rectangle:
        """Return the box in pixels of the photo resized to (width, height)."""
        across, down = width / self.size[0], height / self.size[1]
        left, top, right, bottom = self.box
        return round(left * across), round(top * down), round(right * across), round(bottom * down)


def read_boxes(path: Path) -> dict[str, list[LabelledBox]]:
    """Read the annotations of photos.

    Args:
        path: A folder of XML files (PASCAL VOC's and ImageNet's format, read recursively), one
            such file, or a JSON file in COCO's format.

    Returns:
        Name of a photo, without folder and suffix -> its objects.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: It has no boxes in these formats.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    if path.suffix.lower() == ".json":
        return _read_coco(path)
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    found = {file.stem: _read_xml(file) for file in files}
    if not any(found.values()):
        raise ValueError(f"There are no boxes in {path}: use PASCAL VOC's XML or COCO's JSON.")
    return found


def _labelled(label: object, box: Sequence[float], size: tuple[float, float]) -> LabelledBox:
    """Return a box, rounded to pixels.

    Raises:
        ValueError: It has no area, or the photo has none.
    """
    left, top, right, bottom = (round(end) for end in box)
    width, height = (int(side) for side in size)
    if width < 1 or height < 1:
        raise ValueError(f"a photo of {width} x {height} pixels.")
    if left >= right or top >= bottom:
        raise ValueError(f"a box without an area, from ({left}, {top}) to ({right}, {bottom}).")
    return LabelledBox(str(label), (left, top, right, bottom), (width, height))


def _read_xml(file: Path) -> list[LabelledBox]:
    try:
        root = ElementTree.parse(file).getroot()
        width, height = (float(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
        found = []
        for each in root.iter("object"):
            # Coordinates start at 1 and include the last pixel.
            left, top, right, bottom = (
                float(each.findtext(f"bndbox/{end}", ""))
                for end in ("xmin", "ymin", "xmax", "ymax")
            )
            box = (left - 1, top - 1, right, bottom)
            label = each.findtext("name", "").strip()
            found.append(_labelled(label, box, (width, height)))
    except (ElementTree.ParseError, *_UNREADABLE) as error:
        raise ValueError(f"{file} is not in PASCAL VOC's format: {error}") from None
    return found


def _read_coco(file: Path) -> dict[str, list[LabelledBox]]:
    try:
        content = json.loads(file.read_text("utf-8"))
        names = {each["id"]: each["name"] for each in content["categories"]}
        photos = {each["id"]: each for each in content["images"]}
        found: dict[str, list[LabelledBox]] = {}
        for each in content["annotations"]:
            if each.get("iscrowd"):  # a group of objects: not the box of one
                continue
            photo = photos[each["image_id"]]
            left, top, width, height = each["bbox"]
            box = (left, top, left + width, top + height)
            size = (photo["width"], photo["height"])
            labelled = _labelled(names[each["category_id"]], box, size)
            found.setdefault(Path(photo["file_name"]).stem, []).append(labelled)
    except _UNREADABLE as error:
        raise ValueError(f"{file} is not in COCO's format: {error!r}") from None
    return found
