"""The command line: python -m gradcam_core explain PHOTO ... --out DIR."""

import itertools
import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from gradcam_core.explain import explain
from gradcam_core.methods import DEFAULT_METHOD, METHODS
from gradcam_core.models.held import load
from gradcam_core.models.registry import describe, models

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm"}

app = typer.Typer(
    help="Grad-CAM: why does the network say that?", no_args_is_help=True, add_completion=False
)


@app.command("explain")
def explain_photos(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos")],
    out: Annotated[Path, typer.Option(help="Folder for the results, one folder a photo in it")],
    task: Annotated[str, typer.Option(help="classification, captioning or vqa")] = "classification",
    target: Annotated[
        str | None, typer.Option(help="Class, caption or answer; the model's own if left out")
    ] = None,
    question: Annotated[str | None, typer.Option(help="For vqa")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A name from `models`, a folder, or an id on the Hugging Face Hub"),
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Target layer; the last if left out")] = None,
    method: Annotated[
        str, typer.Option(help=f"Of the heat map: {', '.join(METHODS)}")
    ] = DEFAULT_METHOD,
    guided: Annotated[
        bool, typer.Option("--guided", help="Also Guided Backprop and Guided Grad-CAM")
    ] = False,
) -> None:
    """Explain photos and write pictures, raw maps and numbers; a bad photo stops no other."""
    try:
        _fetch(model, task)
    except (ValueError, OSError) as error:  # OSError: no folder, no hub, no room on the disk
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    files = [file for photo in photos for file in _files(photo)]
    failed = 0
    for file, name in zip(tqdm(files, unit="photo", disable=None), _names(files), strict=True):
        try:
            explanation = explain(file, task, target, question, model, layer, guided, method)
            explanation.save(out / name)
        except (ValueError, OSError) as error:
            failed += 1
            tqdm.write(f"{file}: {error}", file=sys.stderr)
        else:
            tqdm.write(
                f"{file}: {explanation.target}"
                f" (score {explanation.score:.2f}, probability {explanation.probability:.3f})"
                f"{', nothing speaks for it' if explanation.no_evidence else ''} -> {out / name}"
            )
    if not files:
        tqdm.write("There are no photos there.", file=sys.stderr)
    if failed or not files:
        raise typer.Exit(1)


@app.command("models")
def list_models() -> None:
    """List the models: name, task, backbone, licence, download."""
    for info in models():
        size = f"{info.download_mb} MB to download" if info.download_mb else "embedded"
        typer.echo(f"{info.name:20} {info.task:15} {info.backbone:20} {size:20} {info.licence}")


def _fetch(model: str | None, task: str) -> None:
    """Load the model before the first photo, and tell of its download before that."""
    name = models(task)[0].name if model is None else model
    info, here = describe(name)
    if not here:
        typer.echo(f"{name} is downloaded: {info.download_mb} MB, licence {info.licence}", err=True)
    load(name, task)


def _files(photo: Path) -> list[Path]:
    if not photo.is_dir():
        return [photo]
    return sorted(file for file in photo.iterdir() if file.suffix.lower() in _SUFFIXES)


def _names(files: list[Path]) -> list[str]:
    """Name a folder after each file, and number those that would fall together."""
    names: list[str] = []
    for file in files:
        numbered = (f"{file.stem}-{number}" for number in itertools.count(2))
        candidates = itertools.chain([file.stem], numbered)
        names.append(next(name for name in candidates if name not in names))
    return names


if __name__ == "__main__":
    app(prog_name="python -m gradcam_core")
