"""gradcam localise, adversarial, bias: the paper's studies over folders of photos."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradcam_core import metrics
from gradcam_core.batch.explain_many import explain_photos
from gradcam_core.batch.photos import STANDARD_INPUT
from gradcam_core.cli.options import (
    FIGURE_FORMATS,
    OutOption,
    PhotosArgument,
    PhotoSetArgument,
    SkipOption,
    begin,
    command_options,
    no_address,
    not_a_photo,
    photos_named,
    write_figure,
)
from gradcam_core.cli.output import Report, write_file
from gradcam_core.cli.table import Table
from gradcam_core.image import open_image
from gradcam_core.image.fonts import plain
from gradcam_core.metrics import AttackResult
from gradcam_core.metrics.bias import PhotoMap, photo_map
from gradcam_core.metrics.bias import report as bias_page
from gradcam_core.metrics.boxes import read_boxes
from gradcam_core.metrics.localization import THRESHOLD
from gradcam_core.metrics.localization_study import PhotoResult, evaluate_photo, summarise
from gradcam_core.models.base import LabelModel
from gradcam_core.models.model_cache import load
from gradcam_core.query import Query

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ATTACK_COLUMNS = [
    *("source", "figure", "target", "adversarial", "radius", "model", "layer", "method"),
    *("prediction", "probability", "succeeded", "correlation", "localized", "doubt", "error"),
]


@command_options(["model", "layer", "method", "detail"])
def localise(
    photos: PhotoSetArgument,
    boxes: Annotated[
        Path,
        typer.Argument(
            callback=no_address, help="Folder of PASCAL VOC's XML files, or COCO's JSON file"
        ),
    ],
    *,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Share of a map's maximum above which its box lies")
    ] = THRESHOLD,
    query: Query,
    report: Report,
) -> None:
    """Do the maps lie on the objects? Localisation error and pointing game (sections 4.1, 4.3).

    Bad photos are skipped and reported.
    """
    files = photos_named([photos])
    labelled = read_boxes(boxes)
    query, _ = begin(query)
    results: list[PhotoResult] = []
    for file in report.progress(files, len(files)):
        try:
            result = evaluate_photo(open_image(file), labelled.get(file.stem, []), query, threshold)
        except (ValueError, OSError) as error:
            report.failed(file, error)
            continue
        results += [] if result is None else [result]
    found = summarise(results)
    lines = [f"{found.photos} of {len(files)} photos have boxes of objects that the model knows."]
    for title, (first, five) in {
        "Classification error": found.classification_error,
        "Localisation error": found.localization_error,
    }.items():
        lines.append(f"{title}: top-1 {first:.3f}, top-5 {five:.3f} (lower is better)")
    lines.append(f"Pointing game: {found.pointing:.3f} (higher is better)")
    lines.append(f'  with "none of these": {found.pointing_with_none:.3f} (higher is better)')
    report.say(lines, found._asdict() | {"of": len(files)})
    report.end()


@command_options(["model", "layer", "method"])
def adversarial(
    photos: PhotosArgument,
    *,
    out: OutOption,
    target: Annotated[
        str | None, typer.Option(help="Adversarial class; the least likely if omitted")
    ] = None,
    radius: Annotated[
        float, typer.Option(min=1, max=255, help="Largest change of a colour value, of 255")
    ] = 8,
    figure: Annotated[str, typer.Option(help="Format of the figures: pdf, png or svg")] = "png",
    skip_existing: SkipOption = False,
    query: Query,
    report: Report,
) -> None:
    """Attack the network: do the maps still show what is in the photos (section 6.2)?

    Each photo gets a figure in OUT and a row in OUT/summary.csv. Bad photos are skipped and
    reported.
    """
    if f".{figure}" not in FIGURE_FORMATS:
        raise typer.BadParameter(f"--figure {figure}: use pdf, png or svg.")
    files = photos_named(photos, out)
    query, tried = begin(replace(query, target=target))
    query = replace(query, target=None)  # that of the attack
    model = load(query.model_name, query.task)
    assert isinstance(model, LabelModel)
    excluded = [] if target is None else [model.labels[i] for i in model.find(target)]
    table = Table(out / "summary.csv", _ATTACK_COLUMNS)
    settings = query.to_dict() | {"layer": tried.layer, "radius": radius}
    if skip_existing:
        asked = {name: settings[name] for name in ("radius", "model", "layer", "method")}
        asked |= {} if target is None else {"adversarial": tried.target}
        files = table.without_results(files, asked)
    results = []
    for file, before in report.progress(explain_photos(files, query), len(files)):
        try:
            if isinstance(before, Exception):
                raise before
            if before.target in excluded:
                raise ValueError(f"The prediction is {before.target} already.")
            result = metrics.attack(before, target, radius / 255)
        except (ValueError, OSError) as error:
            report.failed(file, error)
            table.append(settings | {"source": file, "error": error})
            continue
        results.append(result)
        drawn = _new_file(out, file.stem, figure)
        write_figure(_attack_figure(result, radius), drawn)
        now = result.after.predictions[0]
        row = settings | {
            "source": str(file),
            "figure": drawn.name,
            "target": before.target,
            "adversarial": result.adversarial.target,
            "prediction": now.text,
            "probability": now.probability,
            "succeeded": result.succeeded,
            "correlation": result.correlation,
            "localized": result.localized,
            "doubt": before.doubt,
        }
        table.append(row)
        doubt = f"; {before.doubt}" if before.doubt else ""
        line = (
            f"{file}: {before.target} -> {now.text} ({now.probability:.4f}); rank correlation of "
            f"the maps of {before.target} before and after: {result.correlation:.2f}{doubt}"
        )
        report.photo([line], {column: row.get(column) for column in _ATTACK_COLUMNS})
    if files and not results:
        raise ValueError("There is no photo to change.")
    _attack_summary(report, results)
    report.end()


def _attack_summary(report: Report, results: Sequence[AttackResult]) -> None:
    succeeded = [result for result in results if result.succeeded]
    lines = [f"{len(succeeded)} of {len(results)} attacks succeeded."]
    record: dict[str, float] = {"photos": len(results), "succeeded": len(succeeded)}
    if succeeded:
        share = sum(result.localized for result in succeeded) / len(succeeded)
        mean = sum(result.correlation for result in succeeded) / len(succeeded)
        record |= {"localized": share, "correlation": mean}
        lines.append(
            f"Of these, the map of the true class still finds it (its box overlaps with the box "
            f"before by more than a half): {share:.3f}; mean rank correlation {mean:.3f} (higher "
            "is better)"
        )
    report.say(lines, record)


@command_options(["model", "layer", "method", "detail"])
def bias(
    photos: PhotoSetArgument,
    *,
    target: Annotated[str, typer.Option(help="The class")],
    out: Annotated[Path, typer.Option(callback=no_address, help="The HTML page to write")],
    against: Annotated[
        str | None,
        typer.Option(
            callback=no_address, help="Other photos to compare with: a folder or a pattern"
        ),
    ] = None,
    query: Query,
    report: Report,
) -> None:
    """Where does the network look for a class, over many photos? An HTML page (section 6.3).

    Bad photos are skipped and reported.
    """
    if against == photos:
        raise typer.BadParameter("--against names the same photos.")
    names = [photos] if against is None else [photos, against]
    named = {name: photos_named([name]) for name in names}
    _check_page(out, [file for files in named.values() for file in files])
    query, _ = begin(replace(query, target=target))
    sets: dict[str, list[PhotoMap]] = {}
    doubtful = {}
    for name, files in named.items():
        title = "standard input" if name == STANDARD_INPUT else name
        sets[title] = []
        doubtful[title] = 0
        for file, explanation in report.progress(explain_photos(files, query), len(files)):
            if isinstance(explanation, Exception):
                report.failed(file, explanation)
                continue
            sets[title].append(photo_map(explanation))
            doubtful[title] += explanation.no_evidence or explanation.faint
        if not sets[title]:
            raise ValueError(f"No photo of {title} could be explained.")
    content = bias_page(target, sets).encode("utf-8", "backslashreplace")
    write_file(out, content)
    lines, record = [], {}
    for name, found in sets.items():
        mean = sum(photo.probability for photo in found) / len(found)
        doubt = f"; hardly any evidence for it in {doubtful[name]}" if doubtful[name] else ""
        lines.append(f"{name}: {len(found)} photos, mean probability of {target} {mean:.3f}{doubt}")
        record[name] = {
            "photos": len(found),
            "mean_probability": mean,
            "hardly_any_evidence": doubtful[name],
        }
    report.say([*lines, f"-> {out}"], {"target": target, "sets": record, "out": str(out)})
    report.end()


def _check_page(out: Path, photos: Sequence[Path]) -> None:
    """Refuse to write the page over something else, or where there is no folder."""
    not_a_photo(out, photos)
    if out.is_dir():
        raise typer.BadParameter(f"--out {out}: there is a folder of that name.")
    if not out.absolute().parent.is_dir():
        raise typer.BadParameter(f"--out {out}: there is no such folder.")
    if out.exists():
        with out.open("rb") as file:
            if not file.read(15).lower().startswith(b"<!doctype html"):
                raise typer.BadParameter(f"--out {out}: there is a file of that name.")


def _new_file(out: Path, stem: str, suffix: str) -> Path:
    """Return the name of a new file named after a photo, with a number if that name is taken."""
    for number in itertools.count(1):
        file = out / f"{stem if number == 1 else f'{stem}-{number}'}.{suffix}"
        if not file.exists() and not file.is_symlink():
            return file
    raise AssertionError


def _attack_figure(result: AttackResult, radius: float) -> "Figure":
    from matplotlib.figure import Figure

    example, before, after, adversarial = result[:4]
    change = (example.change / 2 + 0.5).clip(0, 1)
    panels = {
        f"{before.target}: {before.probability:.2f}": before.picture,
        f"the change, magnified {255 / radius / 2:.0f} times": change,
        f"{after.predictions[0].text}: {after.predictions[0].probability:.4f}": example.picture,
        f"map of {before.target}, before": before.panels()["grad_cam"],
        f"map of {before.target}, after": after.panels()["grad_cam"],
        f"map of {adversarial.target}": adversarial.panels()["grad_cam"],
    }
    figure = Figure(figsize=(9, 6.4), dpi=110, layout="constrained")
    for axis, (title, panel) in zip(figure.subplots(2, 3).flat, panels.items(), strict=False):
        axis.imshow(panel, aspect="auto" if panel is example.picture else None)
        text, fonts = plain(title)
        axis.set_title(text, fontsize=8, fontfamily=fonts, parse_math=False)
        axis.axis("off")
    return figure
