"""The command line: gradcam explain PHOTO ... --out DIR."""

import csv
import itertools
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from gradcam_core import metrics
from gradcam_core.batch.explain_many import beside, explain_many
from gradcam_core.cli import studies
from gradcam_core.cli.options import (
    DetailOption,
    LayerOption,
    MethodOption,
    ModelOption,
    QuestionOption,
    TargetOption,
    TaskOption,
    fetch,
    files_of,
)
from gradcam_core.explain import explain
from gradcam_core.explanation import Explanation, package_version
from gradcam_core.methods import DEFAULT_METHOD, METHODS
from gradcam_core.models.model_cache import load
from gradcam_core.models.registry import models

_COLUMNS = (
    *("source", "folder", "task", "model", "method", "question", "target"),
    *("score", "probability", "log_p", "no_evidence", "error"),
)

app = typer.Typer(
    help="Grad-CAM: why does the network say that?", no_args_is_help=True, add_completion=False
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"gradcam {package_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which")
    ] = False,
) -> None:
    """Grad-CAM: why does the network say that?"""


@app.command("explain")
def explain_photos(
    photos: Annotated[
        list[str],
        typer.Argument(help="Photos, folders of photos, or quoted patterns such as 'a/*.jpg'"),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results, one folder a photo in it")],
    task: TaskOption = "classification",
    target: TargetOption = None,
    question: QuestionOption = None,
    model: ModelOption = None,
    layer: LayerOption = None,
    method: MethodOption = DEFAULT_METHOD,
    detail: DetailOption = 1.0,
    guided: Annotated[
        bool, typer.Option("--guided", help="Also Guided Backprop and Guided Grad-CAM")
    ] = False,
) -> None:
    """Explain photos and write pictures, raw maps and numbers; a bad photo stops no other.

    Each photo gets a new folder in OUT, and a row in OUT/summary.csv. Folders are searched to the
    bottom.
    """
    summary = out / "summary.csv"
    try:
        files = [file for photo in photos for file in files_of(photo, out)]
        name = fetch(model, task)
        _start(summary)
    except (ValueError, OSError) as error:  # OSError: no folder, no hub, no room on the disk
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    explained = explain_many(
        files,
        load(name, task),
        target=target,
        question=question,
        layer=layer,
        guided=guided,
        method=method,
        detail=detail,
    )
    failed = 0
    # Written in a thread: the next photo is explained meanwhile.
    written = beside(partial(_save, out), explained, threads=1, ahead=2)
    for (file, _), saved in tqdm(written, total=len(files), unit="photo", disable=None):
        row: dict[str, object] = {"source": file, "task": task, "model": name, "method": method}
        row |= {"question": question, "target": target}
        try:
            explanation, folder = saved.result()
        except (ValueError, OSError) as error:
            failed += 1
            row["error"] = error
            tqdm.write(f"{file}: {error}", file=sys.stderr)
        else:
            row |= {"folder": folder.name, **_numbers(explanation)}
            taken = "" if folder.name == file.stem else f" ({file.stem} is there already)"
            tqdm.write(f"{file}: {_said(explanation)} -> {folder}{taken}")
        try:
            _append(summary, (row.get(column) for column in _COLUMNS))
        except OSError as error:
            tqdm.write(f"{summary} cannot be written: {error}", file=sys.stderr)
            raise typer.Exit(1) from None
    if failed:
        raise typer.Exit(1)


@app.command("evidence")
def ask_for_evidence(
    photo: Annotated[Path, typer.Argument(help="A photo")],
    task: TaskOption = "classification",
    target: TargetOption = None,
    question: QuestionOption = None,
    model: ModelOption = None,
    layer: LayerOption = None,
    method: MethodOption = DEFAULT_METHOD,
    detail: DetailOption = 1.0,
    sanity: Annotated[
        bool, typer.Option("--sanity", help="Also randomise the network from the top")
    ] = False,
) -> None:
    """Can I trust this map? Change the picture where the map says, and ask again."""
    try:
        name = fetch(model, task)
        explanation = explain(
            photo, task, target, question, name, layer, method=method, detail=detail
        )
        typer.echo(_said(explanation))
        measurements = metrics.measure(explanation)
        for metric, found in measurements.items():
            about = metrics.METRICS[metric]
            references = "".join(
                f"; {what} {value:.3f}" for what, value in found.references.items()
            )
            typer.echo(f"{about.title}: {found.value:.3f} ({about.better} is better{references})")
        typer.echo(metrics.verdict(measurements))
        if sanity:
            typer.echo("Randomised down to: rank correlation with the true map")
            for step in metrics.sanity_check(explanation):
                typer.echo(f"  {step.layer}: {step.correlation:.2f}")
    except (ValueError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


app.command("localise")(studies.localise)
app.command("adversarial")(studies.adversarial)
app.command("bias")(studies.bias)


@app.command("models")
def list_models() -> None:
    """List the models: name, task, title, year, backbone, download, licence."""
    for info in models():
        size = f"{info.download_mb:,} MB to download" if info.download_mb else "embedded"
        typer.echo(
            f"{info.name:18}  {info.task:14}  {info.title:35}  {info.year}  "
            f"{info.backbone:38}  {size:20}  {info.licence}"
        )


@app.command("methods")
def list_methods() -> None:
    """List the methods: name, title, paper, and what each does."""
    for name, method in METHODS.items():
        typer.echo(f"{name:12}  {method.title:12}  {method.paper:32}  {method.about}")


def _save(out: Path, explained: tuple[Path, Explanation | Exception]) -> tuple[Explanation, Path]:
    """Write an explanation into a folder of its own, and return both; raise what is wrong."""
    file, explanation = explained
    if isinstance(explanation, Exception):
        raise explanation
    folder = _new_folder(out, file.stem)
    explanation.save(folder)
    return explanation, folder


def _new_folder(out: Path, stem: str) -> Path:
    """Make a folder that is named after a photo, numbered where there is one already."""
    out.mkdir(parents=True, exist_ok=True)
    numbered = (f"{stem}-{number}" for number in itertools.count(2))
    for name in itertools.chain([stem], numbered):
        try:
            (out / name).mkdir()
        except FileExistsError:  # another explanation's
            continue
        return out / name
    raise AssertionError


def _start(summary: Path) -> None:
    """Begin the table of results, or see that it can be continued."""
    summary.parent.mkdir(parents=True, exist_ok=True)
    if not summary.exists():
        _append(summary, _COLUMNS)
    with summary.open(newline="", encoding="utf-8") as file:
        if next(csv.reader(file), None) != list(_COLUMNS):
            raise ValueError(f"{summary} is no table of such results: move it away first.")


def _append(summary: Path, row: Iterable[object]) -> None:
    with summary.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(row)


def _numbers(explanation: Explanation) -> dict[str, object]:
    # A caption's score is its log-probability, and its probability rounds to nothing.
    caption = explanation.task == "captioning"
    return {
        "target": explanation.target,
        "score": explanation.score,
        "probability": None if caption else explanation.probability,
        "log_p": explanation.score if caption else None,
        "no_evidence": explanation.no_evidence,
    }


def _said(explanation: Explanation) -> str:
    numbers = f"score {explanation.score:.2f}, probability {explanation.probability:.2g}"
    if explanation.task == "captioning":
        numbers = f"log p {explanation.score:.2f}"
    nothing = ", nothing speaks for it" if explanation.no_evidence else ""
    why = f", {explanation.in_words}" if explanation.in_words else ""
    return f"{explanation.target} ({numbers}){nothing}{why}"


if __name__ == "__main__":
    app(prog_name="python -m gradcam_core")
