"""gradcam batch: very many photos -> Parquet files, here or on a Ray cluster."""

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from gradcam_core.cli.options import begin, command_options, no_address
from gradcam_core.cli.output import Report
from gradcam_core.query import Query


def _no_web_address(value: str) -> str:
    """Refuse what is no store."""
    return (
        str(no_address(value)) if value.lower().startswith(("http:", "https:", "ftp:")) else value
    )


@command_options()
def batch(
    photos: Annotated[
        str,
        typer.Argument(
            callback=_no_web_address,
            help="A folder, a quoted pattern, a list (.txt), or a Parquet file with a column "
            "'source'; also in a store, as s3://bucket/photos; - reads names from standard input",
        ),
    ],
    *,
    out: Annotated[
        str,
        typer.Option(callback=_no_web_address, help="Folder for the results, also in a store"),
    ],
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Also write what `explain` writes")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster; 'local' starts one on this machine"),
    ] = None,
    query: Query,
    report: Report,
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
    try:
        location = Location(out)
        listed = list_photos(photos, location)
        query, _ = begin(query)
        job = Batch(query, location, pictures)
        with job.locked():
            todo = job.remaining(listed)
            done = len(listed) - len(todo)
            report.photo([f"{done:,} of {len(listed):,} photos are done."], {"done": done})
            outcomes = job.explain(todo) if ray is None else explain_on_cluster(job, todo, ray)
            with closing(outcomes):
                for photo, reason in report.progress(outcomes, len(todo)):
                    if reason is not None:
                        report.failed(photo.uri, reason)
    except KeyboardInterrupt:
        typer.echo("Interrupted. The same command resumes.", err=True)
        raise typer.Exit(130) from None
    explained = len(todo) - report.failures
    report.photo(
        [f"{explained:,} explained, {report.failures:,} failed; the results are in {out}."],
        {"explained": explained, "failed": report.failures, "out": out},
    )
    report.end()


def _show_token() -> None:
    """Let Ray send its authentication token if there is one; Ray reads this when imported.

    `ray start` requires the token once a local cluster has created it, but Ray 2.60 sends it only
    to "auto", not to a cluster that is joined by its address.
    """
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if named or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
