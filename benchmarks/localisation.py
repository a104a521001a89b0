"""`gradcam localise` on COCO photos: do the maps lie on the objects that people drew boxes around?

    python -m benchmarks.localisation ../shared/data --method grad-cam

The photos and their boxes are written to a temporary folder in COCO's layout, files and JSON.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from gradcam_core.cli import app
from training import datasets


def main(
    data: Annotated[Path, typer.Argument(help="Folder with coco/")],
    model: Annotated[str, typer.Option(help="Trained on ImageNet-1k")] = "lite0",
    method: Annotated[str, typer.Option(help="Method of the heat maps")] = "grad-cam",
) -> None:
    """Print localization error and pointing game."""
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        content = lay_out(data, photos)
        boxes = Path(folder) / "instances.json"
        boxes.write_text(json.dumps(content))
        options = ["--model", model, "--method", method]
        app(["localise", str(photos), str(boxes), *options], standalone_mode=False)


def lay_out(data: Path, photos: Path) -> dict[str, list[dict[str, Any]]]:
    """Write the photos into a folder, and return their boxes in COCO's format."""
    boxes = datasets.coco_boxes(data)
    names = sorted({box.label for all_ in boxes.values() for box in all_})
    images, annotations = [], []
    for number, (name, picture) in enumerate(datasets.pictures(data, "coco", boxes)):
        picture.save(photos / name, quality=95)
        width, height = picture.size
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        annotations += [
            {
                "image_id": number,
                "category_id": names.index(box.label),
                "bbox": [box.x * width, box.y * height, box.w * width, box.h * height],
            }
            for box in boxes[name]
        ]
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


if __name__ == "__main__":
    typer.run(main)
