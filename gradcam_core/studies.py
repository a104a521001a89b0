"""The paper's studies over folders of photos, by one command each."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from tqdm import tqdm

from gradcam_core.arguments import (
    DetailOption,
    LayerOption,
    MethodOption,
    ModelOption,
    fetch,
    files_of,
)
from gradcam_core.evidence import protocols
from gradcam_core.evidence.boxes import read_boxes
from gradcam_core.evidence.localisation import THRESHOLD
from gradcam_core.explain import explain_encoded
from gradcam_core.explanation import Explanation
from gradcam_core.image import open_image
from gradcam_core.methods import DEFAULT_METHOD
from gradcam_core.models.base import LabelModel
from gradcam_core.models.held import load

_PhotosArgument = Annotated[str, typer.Argument(help="A folder of photos, or a quoted pattern")]


def localise(
    photos: _PhotosArgument,
    boxes: Annotated[Path, typer.Argument(help="Folder of PASCAL VOC's XML, or COCO's JSON file")],
    model: ModelOption = None,
    layer: LayerOption = None,
    method: MethodOption = DEFAULT_METHOD,
    detail: DetailOption = 1.0,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Of a map's maximum, above which its box is drawn")
    ] = THRESHOLD,
) -> None:
    """Do the maps lie on the things? Localisation error and pointing game (sections 4.1, 4.3)."""
    try:
        files = files_of(photos)
        things = read_boxes(boxes)
        loaded = load(fetch(model, "classification"), "classification")
        assert isinstance(loaded, LabelModel)
        judged = []
        for file in tqdm(files, unit="photo", disable=None):
            photo = open_image(file)
            found = protocols.judge(
                loaded,
                photo,
                things.get(file.stem, []),
                _explainer(loaded, photo, layer, method, detail),
                threshold,
            )
            judged += [found] if found is not None else []
        result = protocols.summarise(judged)
    except (ValueError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{result.photos} of {len(files)} photos have boxes around what it knows.")
    for title, (first, five) in {
        "Classification error": result.classified,
        "Localisation error": result.localised,
    }.items():
        typer.echo(f"{title}: top-1 {first:.3f}, top-5 {five:.3f} (lower is better)")
    typer.echo(f"Pointing game: {result.pointing:.3f} (higher is better)")
    typer.echo(f'  with "none of these": {result.pointing_or_none:.3f} (higher is better)')


def _explainer(
    model: LabelModel, photo: Image.Image, layer: str | None, method: str, detail: float
) -> Callable[[str], Explanation]:
    """Return what explains classes of one photo, which goes through the CNN once."""
    encoded = model.encode(photo, layer)
    finer = None if detail == 1 else (model.encode(photo, layer, detail), detail)
    return lambda target: explain_encoded(
        model, encoded, photo, target=target, predictions=[], method=method, finer=finer
    )
