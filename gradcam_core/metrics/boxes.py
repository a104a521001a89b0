"""People's boxes around things, from the files that the known data sets have them in."""

import json
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from gradcam_core.metrics.localization import Rectangle


class Thing(NamedTuple):
    """A thing in a photo.

    Attributes:
        label: As its data set names it; of ImageNet's a WordNet id such as "n02123045".
        box: In the pixels of a photo of `size`.
        size: (width, height) of the photo, as its file of boxes says.
    """

    label: str
    box: Rectangle
    size: tuple[int, int]

    def box_in(self, width: int, height: int) -> Rectangle:
        """Return the box in the pixels of the photo as it is, which may have been resized."""
        across, down = width / self.size[0], height / self.size[1]
        left, top, right, bottom = self.box
        return round(left * across), round(top * down), round(right * across), round(bottom * down)


def read_boxes(path: Path) -> dict[str, list[Thing]]:
    """Read boxes: photo -> its things.

    Args:
        path: A folder of XML files (PASCAL VOC's and ImageNet's format, searched to the bottom),
            one such file, or a JSON file of COCO's format.

    Returns:
        By the photo's name without folder and suffix.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: It holds no boxes in these formats.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    if path.suffix.lower() == ".json":
        return _read_coco(path)
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    found = {file.stem: _read_xml(file) for file in files}
    if not any(found.values()):
        raise ValueError(f"There are no boxes in {path}: XML as of PASCAL VOC, or COCO's JSON.")
    return found


def _read_xml(file: Path) -> list[Thing]:
    try:
        root = ElementTree.parse(file).getroot()
        width, height = (int(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
        things = []
        for thing in root.iter("object"):
            # Counted from 1, the last pixel included.
            left, top, right, bottom = (
                round(float(thing.findtext(f"bndbox/{end}", "")))
                for end in ("xmin", "ymin", "xmax", "ymax")
            )
            box = (left - 1, top - 1, right, bottom)
            things.append(Thing(thing.findtext("name", "").strip(), box, (width, height)))
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{file} is no file of boxes as PASCAL VOC writes them: {error}") from None
    return things


def _read_coco(file: Path) -> dict[str, list[Thing]]:
    try:
        content = json.loads(file.read_text("utf-8"))
        names = {each["id"]: each["name"] for each in content["categories"]}
        photos = {each["id"]: each for each in content["images"]}
        found: dict[str, list[Thing]] = {}
        for each in content["annotations"]:
            if each.get("iscrowd"):  # many at once: no box of one thing
                continue
            photo = photos[each["image_id"]]
            left, top, width, height = each["bbox"]
            box = (round(left), round(top), round(left + width), round(top + height))
            thing = Thing(names[each["category_id"]], box, (photo["width"], photo["height"]))
            found.setdefault(Path(photo["file_name"]).stem, []).append(thing)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is no file of boxes as COCO writes them: {error!r}") from None
    return found
