"""The command line with what goes beyond one machine: gradcam batch PHOTOS --out DIR_OR_URL."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from gradcam_core.__main__ import app
from gradcam_core.cli.options import (
    DetailOption,
    LayerOption,
    MethodOption,
    ModelOption,
    QuestionOption,
    TargetOption,
    TaskOption,
    fetch,
)
from gradcam_core.methods import DEFAULT_METHOD

_MISSING = "This needs the packages of requirements-scale.txt: pip install '.[scale]'."


@app.command("batch")
def explain_batch(
    photos: Annotated[
        str,
        typer.Argument(
            help="A folder, a quoted pattern, a list (.txt), a Parquet file with a column "
            "'source'; also in a store, as s3://bucket/photos"
        ),
    ],
    out: Annotated[str, typer.Option(help="Folder for the results, also in a store")],
    task: TaskOption = "classification",
    target: TargetOption = None,
    question: QuestionOption = None,
    model: ModelOption = None,
    layer: LayerOption = None,
    method: MethodOption = DEFAULT_METHOD,
    detail: DetailOption = 1.0,
    pictures: Annotated[bool, typer.Option("--pictures", help="Also the PNGs")] = False,
    ray: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster; 'local' for one of this machine's own"),
    ] = None,
) -> None:
    """Explain very many photos into Parquet files; interrupted, it goes on where it was."""
    try:
        from gradcam_core.batch import run as batches
        from gradcam_core.batch.storage import Place
        from gradcam_core.batch.storage import photos as named_photos

        if ray is not None:
            _show_token()
            from gradcam_core.batch import ray as on_ray
    except ImportError:
        typer.echo(_MISSING, err=True)
        raise typer.Exit(1) from None
    failed = 0
    place = Place(out)
    try:
        found = named_photos(photos, place)
        name = fetch(model, task)
        asked = batches.Asked(task, target, question, name, layer, method, detail, pictures)
        with batches.alone(place):
            left = batches.remaining(found, asked, place)
            typer.echo(f"{len(found):,} photos, of which {len(found) - len(left):,} are done.")
            if left:
                batches.check(asked)
            with tqdm(total=len(left), unit="photo", disable=None) as bar:
                if ray is None:
                    told = batches.explain_here(left, asked, place)
                else:
                    told = on_ray.explain_there(left, asked, place, ray)
                for photo, error in told:
                    bar.update()
                    if error is not None:
                        failed += 1
                        tqdm.write(f"{photo.uri}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        typer.echo("Interrupted. The same command goes on where it was.", err=True)
        raise typer.Exit(130) from None
    except (ValueError, OSError) as wrong:
        typer.echo(wrong, err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{len(left) - failed:,} explained, {failed:,} failed; the results are in {out}.")
    if failed:
        raise typer.Exit(1)


def _show_token() -> None:
    """Let Ray show its token, where it has one; it reads this when it is imported.

    Whoever has had a cluster of this machine's own has a token since, and `ray start` then asks for
    it; but Ray 2.60 shows it to "auto" only, not to a cluster that is joined by its address.
    """
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if named or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


if __name__ == "__main__":
    app(prog_name="python -m scale")
