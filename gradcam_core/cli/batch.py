"""gradcam batch: very many photos -> Parquet files, here or on a Ray cluster."""

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from gradcam_core.cli.options import load_model, query_options
from gradcam_core.query import Query


@query_options()
def batch(
    photos: Annotated[
        str,
        typer.Argument(
            help="A folder, a quoted pattern, a list (.txt), or a Parquet file with a column "
            "'source'; also in a store, as s3://bucket/photos"
        ),
    ],
    *,
    out: Annotated[str, typer.Option(help="Folder for the results, also in a store")],
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Also write what `explain` writes")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster; 'local' starts one on this machine"),
    ] = None,
    query: Query,
) -> None:
    """Explain very many photos into Parquet files; an interrupted batch can be resumed.

    Bad photos are skipped and reported.
    """
    try:
        from gradcam_core.batch.run import Batch
        from gradcam_core.batch.storage import Location, list_photos

        if ray is not None:
            _show_token()
            from gradcam_core.batch.ray import explain_on_cluster
    except ImportError as error:
        extra = "batch" if ray is None else "ray"
        raise ValueError(
            f"{error}: install this package with its extra, pip install '.[{extra}]'."
        ) from None
    failed = 0
    try:
        location = Location(out)
        listed = list_photos(photos, location)
        job = Batch(load_model(query), location, pictures)
        with job.locked():
            todo = job.remaining(listed)
            typer.echo(f"{len(listed) - len(todo):,} of {len(listed):,} photos are done.")
            if todo:
                job.check()
            outcomes = job.explain(todo) if ray is None else explain_on_cluster(job, todo, ray)
            with closing(outcomes), tqdm(total=len(todo), unit="photo", disable=None) as bar:
                for photo, message in outcomes:
                    bar.update()
                    if message is not None:
                        failed += 1
                        tqdm.write(f"{photo.uri}: {message}", file=sys.stderr)
    except KeyboardInterrupt:
        typer.echo("Interrupted. The same command resumes.", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{len(todo) - failed:,} explained, {failed:,} failed; the results are in {out}.")
    if failed:
        raise typer.Exit(1)


def _show_token() -> None:
    """Let Ray send its authentication token if there is one; Ray reads this when imported.

    `ray start` requires the token once a local cluster has created it, but Ray 2.60 sends it only
    to "auto", not to a cluster that is joined by its address.
    """
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if named or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
