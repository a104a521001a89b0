"""What is typed on the command line: options that several commands share, photos, a model."""

import glob
import logging
from pathlib import Path
from typing import Annotated

import typer

from gradcam_core.methods import METHODS
from gradcam_core.models.model_cache import load
from gradcam_core.models.registry import describe, models

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm"}

TaskOption = Annotated[str, typer.Option(help="classification, captioning or vqa")]
TargetOption = Annotated[
    str | None, typer.Option(help="Class, caption or answer; the model's own if left out")
]
QuestionOption = Annotated[str | None, typer.Option(help="For vqa")]
ModelOption = Annotated[
    str | None,
    typer.Option(help="A name from `models`, a folder, or an id on the Hugging Face Hub"),
]
LayerOption = Annotated[str | None, typer.Option(help="Target layer; the last if left out")]
MethodOption = Annotated[str, typer.Option(help=f"Of the heat map: {', '.join(METHODS)}")]
DetailOption = Annotated[
    float, typer.Option(help="1 to 2: a finer map, of the picture at so many times the side")
]


def fetch(model: str | None, task: str) -> str:
    """Load the model before the first photo, tell of its download, and return its name."""
    name = models(task)[0].name if model is None else model
    info, here = describe(name)
    if not here:
        typer.echo(
            f"{name} is not on this machine: {info.download_mb:,} MB, licence {info.licence}.",
            err=True,
        )
        # Whether there is a download only the hub's answer tells.
        logging.basicConfig(format="%(message)s")
        logging.getLogger("gradcam_core").setLevel(logging.INFO)
    load(name, task)
    return name


def files_of(photo: str, out: Path | None = None) -> list[Path]:
    """Return the photos that an argument names; in a folder, those that are no results in `out`.

    Raises:
        ValueError: It is a folder or a pattern, and there are none.
    """
    path = Path(photo)
    if path.is_dir():
        found = [
            file
            for file in path.rglob("*")
            if not any(part.startswith(".") for part in file.relative_to(path).parts)
            and (out is None or out.resolve() not in file.resolve().parents)
        ]
    elif glob.has_magic(photo) and not path.exists():
        # Path.glob takes no absolute pattern.
        found = [Path(match) for match in glob.glob(photo, recursive=True)]  # noqa: PTH207
    else:
        return [path]  # where there is no such file, that is said beside the others' results
    found = sorted(file for file in found if file.suffix.lower() in SUFFIXES)
    if not found:
        where = f"in the folder {path}" if path.is_dir() else f"that fit {photo}"
        raise ValueError(f"There are no photos {where}.")
    return found
