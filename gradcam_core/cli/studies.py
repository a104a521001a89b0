"""gradcam localise, adversarial, bias: the paper's studies over folders of photos."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from gradcam_core import metrics
from gradcam_core.batch.photos import find_photos
from gradcam_core.cli.options import load_model, query_options
from gradcam_core.explain import Explainer, check
from gradcam_core.image import open_image
from gradcam_core.image.fonts import drawable
from gradcam_core.metrics import AttackResult
from gradcam_core.metrics.bias import photo_map, report
from gradcam_core.metrics.boxes import read_boxes
from gradcam_core.metrics.localization import THRESHOLD
from gradcam_core.metrics.localization_study import evaluate_photo, summarise
from gradcam_core.models.base import LabelModel
from gradcam_core.models.model_cache import load
from gradcam_core.query import Query

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PhotosArgument = Annotated[str, typer.Argument(help="A folder of photos, or a quoted pattern")]


@query_options(["model", "layer", "method", "detail"])
def localise(
    photos: _PhotosArgument,
    boxes: Annotated[
        Path, typer.Argument(help="Folder of PASCAL VOC's XML files, or COCO's JSON file")
    ],
    *,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Share of a map's maximum above which its box lies")
    ] = THRESHOLD,
    query: Query,
) -> None:
    """Do the maps lie on the objects? Localisation error and pointing game (sections 4.1, 4.3)."""
    files = find_photos(photos)
    labelled = read_boxes(boxes)
    query = load_model(query)
    query = check(query, _classifier(query))
    results = [
        evaluate_photo(open_image(file), labelled.get(file.stem, []), query, threshold)
        for file in tqdm(files, unit="photo", disable=None)
    ]
    found = summarise(result for result in results if result is not None)
    typer.echo(f"{found.photos} of {len(files)} photos have boxes of objects that the model knows.")
    for title, (first, five) in {
        "Classification error": found.classification_error,
        "Localisation error": found.localization_error,
    }.items():
        typer.echo(f"{title}: top-1 {first:.3f}, top-5 {five:.3f} (lower is better)")
    typer.echo(f"Pointing game: {found.pointing:.3f} (higher is better)")
    typer.echo(f'  with "none of these": {found.pointing_with_none:.3f} (higher is better)')


@query_options(["model", "layer", "method"])
def adversarial(
    photos: _PhotosArgument,
    *,
    out: Annotated[Path, typer.Option(help="Folder for the figures, one per photo")],
    target: Annotated[
        str | None, typer.Option(help="Adversarial class; the least likely if omitted")
    ] = None,
    radius: Annotated[
        float, typer.Option(min=1, max=255, help="Largest change of a colour value, of 255")
    ] = 8,
    query: Query,
) -> None:
    """Attack the network: do the maps still show what is in the photos (section 6.2)?"""
    files = find_photos(photos)
    query = load_model(query)
    model = _classifier(query)
    excluded = [] if target is None else [model.labels[i] for i in model.find(target)]
    explainer = Explainer()
    out.mkdir(parents=True, exist_ok=True)
    results = []
    for file in tqdm(files, unit="photo", disable=None):
        before = explainer.explain(file, query)
        if before.target in excluded:
            tqdm.write(f"{file}: the prediction is {before.target} already.")
            continue
        result = metrics.attack(before, target, radius / 255)
        results.append(result)
        _attack_figure(result, radius).savefig(out / f"{file.stem}.png", dpi=110)
        now = result.after.predictions[0]
        tqdm.write(
            f"{file}: {before.target} -> {now.text} ({now.probability:.4f}); rank correlation of "
            f"the maps of {before.target} before and after: {result.correlation:.2f}"
        )
    if not results:
        raise ValueError("There is no photo to change.")
    succeeded = [result for result in results if result.succeeded]
    typer.echo(f"{len(succeeded)} of {len(results)} attacks succeeded.")
    if succeeded:
        share = sum(result.localized for result in succeeded) / len(succeeded)
        mean = sum(result.correlation for result in succeeded) / len(succeeded)
        typer.echo(
            f"Of these, the map of the true class still finds it (its box overlaps with the box "
            f"before by more than a half): {share:.3f}; mean rank correlation {mean:.3f} (higher "
            "is better)"
        )


@query_options(["model", "layer", "method", "detail"])
def bias(
    photos: _PhotosArgument,
    *,
    target: Annotated[str, typer.Option(help="The class")],
    out: Annotated[Path, typer.Option(help="The HTML page to write")],
    against: Annotated[
        str | None, typer.Option(help="Other photos to compare with: a folder or a pattern")
    ] = None,
    query: Query,
) -> None:
    """Where does the network look for a class, over many photos? An HTML page (section 6.3)."""
    query = replace(load_model(query), target=target)
    explainer = Explainer()
    sets = {
        name: [
            photo_map(explainer.explain(file, query))
            for file in tqdm(find_photos(name), unit="photo", disable=None)
        ]
        for name in ([photos] if against is None else [photos, against])
    }
    out.write_text(report(target, sets), encoding="utf-8", errors="backslashreplace")
    for name, found in sets.items():
        mean = sum(photo.probability for photo in found) / len(found)
        typer.echo(f"{name}: {len(found)} photos, mean probability of {target} {mean:.3f}")
    typer.echo(f"-> {out}")


def _classifier(query: Query) -> LabelModel:
    model = load(query.model_name, query.task)
    assert isinstance(model, LabelModel)
    return model


def _attack_figure(result: AttackResult, radius: float) -> "Figure":
    from matplotlib.figure import Figure

    example, before, after, adversarial = result[:4]
    panels = {
        f"{before.target}: {before.probability:.2f}": before.picture,
        f"the change, magnified {255 / radius / 2:.0f} times": example.change / 2 + 0.5,
        f"{after.predictions[0].text}: {after.predictions[0].probability:.4f}": example.picture,
        f"map of {before.target}, before": before.panels()["grad_cam"],
        f"map of {before.target}, after": after.panels()["grad_cam"],
        f"map of {adversarial.target}": adversarial.panels()["grad_cam"],
    }
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    for axis, (title, panel) in zip(figure.subplots(2, 3).flat, panels.items(), strict=False):
        axis.imshow(panel, aspect="auto" if panel is example.picture else None)
        text, fonts = drawable(title)
        axis.set_title(text, fontsize=8, fontfamily=fonts)
        axis.axis("off")
    return figure
