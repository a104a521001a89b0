"""The paper's studies over folders of photos, by one command each."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from PIL import Image
from tqdm import tqdm

from gradcam_core.cli.options import (
    DetailOption,
    LayerOption,
    MethodOption,
    ModelOption,
    fetch,
    files_of,
)
from gradcam_core.explain import explain, explain_encoded
from gradcam_core.explanation import Explanation
from gradcam_core.image.open import open_image
from gradcam_core.methods import DEFAULT_METHOD
from gradcam_core.metrics import AttackResult, attack, localization_study
from gradcam_core.metrics.bias import photo_map, report
from gradcam_core.metrics.boxes import read_boxes
from gradcam_core.metrics.localization import THRESHOLD
from gradcam_core.models.base import LabelModel
from gradcam_core.models.model_cache import load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        results = []
        for file in tqdm(files, unit="photo", disable=None):
            photo = open_image(file)
            found = localization_study.evaluate_photo(
                loaded,
                photo,
                things.get(file.stem, []),
                _explainer(loaded, photo, layer, method, detail),
                threshold,
            )
            results += [found] if found is not None else []
        result = localization_study.summarise(results)
    except (ValueError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{result.photos} of {len(files)} photos have boxes around what it knows.")
    for title, (first, five) in {
        "Classification error": result.classification_error,
        "Localisation error": result.localization_error,
    }.items():
        typer.echo(f"{title}: top-1 {first:.3f}, top-5 {five:.3f} (lower is better)")
    typer.echo(f"Pointing game: {result.pointing:.3f} (higher is better)")
    typer.echo(f'  with "none of these": {result.pointing_with_none:.3f} (higher is better)')


def adversarial(
    photos: _PhotosArgument,
    out: Annotated[Path, typer.Option(help="Folder for a figure of each photo")],
    target: Annotated[
        str | None,
        typer.Option(help="Class that it is made to say; the least likely if left out"),
    ] = None,
    model: ModelOption = None,
    method: MethodOption = DEFAULT_METHOD,
    radius: Annotated[
        float, typer.Option(min=1, max=255, help="Largest change of a colour, of 255")
    ] = 8,
) -> None:
    """Make the network say what is not there: do the maps still find what is (section 6.2)?"""
    results = []
    try:
        files = files_of(photos)
        loaded = load(fetch(model, "classification"), "classification")
        assert isinstance(loaded, LabelModel)
        out.mkdir(parents=True, exist_ok=True)
        for file in tqdm(files, unit="photo", disable=None):
            photo = open_image(file)
            before = _explainer(loaded, photo, None, method, 1.0)
            encoded = loaded.encode(photo)
            likely = loaded.predict(encoded, k=len(loaded.labels))
            goal = loaded.target(likely[-1].text if target is None else target, encoded=encoded)
            said = before(likely[0].text)
            if said.target == goal.text:
                tqdm.write(f"{file}: it says {goal.text} already.")
                continue
            found = attack(said, goal.text, radius / 255, loaded)
            results.append(found)
            _attack_figure(found, radius).savefig(out / f"{file.stem}.png", dpi=110)
            now = found.adversarial.predictions[0]
            tqdm.write(
                f"{file}: {said.target} -> {now.text} ({now.probability:.4f}); the map of "
                f"{said.target}: rank correlation {found.correlation:.2f} with the one before"
            )
        if not results:
            raise ValueError("There is nothing to change.")
    except (ValueError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    those = [each for each in results if each.succeeded]
    typer.echo(f"{len(those)} of {len(results)} photos make it say the other class.")
    if those:
        share = sum(each.localized for each in those) / len(those)
        mean = sum(each.correlation for each in those) / len(those)
        typer.echo(
            "Of these, the map of what is there still finds it (box over its box before by more "
            f"than a half): {share:.3f}; mean rank correlation {mean:.3f} (higher is better)"
        )


def bias(
    photos: _PhotosArgument,
    target: Annotated[str, typer.Option(help="The class that is looked for")],
    out: Annotated[Path, typer.Option(help="The page to write, .html")],
    against: Annotated[
        str | None, typer.Option(help="Other photos, to compare with: a folder or a pattern")
    ] = None,
    model: ModelOption = None,
    layer: LayerOption = None,
    method: MethodOption = DEFAULT_METHOD,
) -> None:
    """Where does it look for a class, over a folder? One page of HTML (section 6.3)."""
    try:
        loaded = load(fetch(model, "classification"), "classification")
        sets = {}
        for name in [photos] if against is None else [photos, against]:
            files = tqdm(files_of(name), unit="photo", disable=None)
            sets[name] = [
                photo_map(explain(file, target=target, model=loaded, layer=layer, method=method))
                for file in files
            ]
        out.write_text(report(target, sets), encoding="utf-8")
    except (ValueError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    for name, found in sets.items():
        mean = sum(photo.probability for photo in found) / len(found)
        typer.echo(f"{name}: {len(found)} photos, mean probability of {target} {mean:.3f}")
    typer.echo(f"-> {out}")


def _attack_figure(found: AttackResult, radius: float) -> "Figure":
    from matplotlib.figure import Figure

    made, before, after, other = found[:4]
    shown = {
        f"{before.target}: {before.probability:.2f}": before.picture,
        f"the change, {255 / radius / 2:.0f} times": made.change / 2 + 0.5,
        f"{after.predictions[0].text}: {after.predictions[0].probability:.4f}": made.picture,
        f"map of {before.target}, before": before.panels()["grad_cam"],
        f"map of {before.target}, after": after.panels()["grad_cam"],
        f"map of {other.target}": other.panels()["grad_cam"],
    }
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    for axis, (title, picture) in zip(figure.subplots(2, 3).flat, shown.items(), strict=False):
        axis.imshow(picture, aspect="auto" if picture is made.picture else None)
        axis.set_title(title, fontsize=8)
        axis.axis("off")
    return figure


def _explainer(
    model: LabelModel, photo: Image.Image, layer: str | None, method: str, detail: float
) -> Callable[[str], Explanation]:
    """Return what explains classes of one photo, which goes through the CNN once."""
    encoded = model.encode(photo, layer)
    finer = None if detail == 1 else (model.encode(photo, layer, detail), detail)
    return lambda target: explain_encoded(
        model, encoded, photo, [target], predictions=[], method=method, finer=finer
    )[0]
