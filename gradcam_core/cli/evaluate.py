"""gradcam evaluate: metrics of one map."""

from pathlib import Path
from typing import Annotated

import typer

from gradcam_core import metrics
from gradcam_core.cli.options import QUERY_OPTIONS, load_model, query_options
from gradcam_core.explain import Explainer
from gradcam_core.query import Query


@query_options(QUERY_OPTIONS.keys() - {"guided"})
def evaluate(
    photo: Annotated[Path, typer.Argument(help="A photo")],
    *,
    sanity: Annotated[
        bool, typer.Option("--sanity", help="Also randomise the network from the top")
    ] = False,
    query: Query,
) -> None:
    """Can I trust this map? Change the picture where the map is high, and see what happens."""
    explanation = Explainer().explain(photo, load_model(query))
    typer.echo(explanation)
    measurements = metrics.measure(explanation)
    for name, measurement in measurements.items():
        metric = metrics.METRICS[name]
        references = "".join(f"; {what} {x:.3f}" for what, x in measurement.references.items())
        typer.echo(
            f"{metric.title}: {measurement.value:.3f} ({metric.better} is better{references})"
        )
    typer.echo(metrics.verdict(measurements))
    if sanity:
        typer.echo("Randomised down to this layer: rank correlation with the original map")
        for step in metrics.sanity_check(explanation):
            typer.echo(f"  {step.layer}: {step.correlation:.2f}")
