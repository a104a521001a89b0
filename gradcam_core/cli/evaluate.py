"""gradcam evaluate: metrics of maps."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gradcam_core import metrics
from gradcam_core.batch.explain_many import explain_photos
from gradcam_core.cli.options import (
    QUERY_OPTIONS,
    FigureFile,
    PhotosArgument,
    begin,
    command_options,
    photos_named,
)
from gradcam_core.cli.output import Report
from gradcam_core.explanation import Explanation
from gradcam_core.metrics import Measurement
from gradcam_core.query import Query

_VERDICTS = {
    True: "show what the network uses",
    False: "do not show what the network uses",
    None: "are of photos that cannot tell",
}


@command_options(QUERY_OPTIONS.keys() - {"guided"})
def evaluate(
    photos: PhotosArgument,
    *,
    sanity: Annotated[
        bool, typer.Option("--sanity", help="Also randomise the network from the top")
    ] = False,
    query: Query,
    report: Report,
    figure: FigureFile,
) -> None:
    """Can I trust this map? Change the picture where the map is high, and see what happens.

    Of several photos, the means follow. Bad photos are skipped and reported.
    """
    files = photos_named(photos)
    figure.check(files)
    query, _ = begin(query)
    measured: list[Mapping[str, Measurement]] = []
    for file, explanation in report.progress(explain_photos(files, query), len(files)):
        try:
            found, steps = _measure(explanation, sanity)
        except (ValueError, OSError) as error:
            report.failed(file, error)
            continue
        assert isinstance(explanation, Explanation)
        figure.add(explanation)
        measured.append(found)
        heading = f"{explanation}" if len(files) == 1 else f"{file}: {explanation}"
        lines = [heading, *_lines(found), metrics.verdict(found)]
        if sanity:
            lines.append("Randomised down to this layer: rank correlation with the original map")
            lines += [f"  {layer}: {correlation:.2f}" for layer, correlation in steps.items()]
        report.photo(lines, _record(file, explanation, found, steps))
    if measured and (len(files) > 1 or report.quiet):
        _summary(report, measured)
    figure.write()
    report.end()


def _measure(
    explanation: Explanation | Exception, sanity: bool
) -> tuple[dict[str, Measurement], dict[str, float]]:
    """Return the measurements, and the correlation for each layer of the sanity check.

    Raises:
        ValueError: The photo has no explanation; or see `metrics.measure`.
    """
    if isinstance(explanation, Exception):
        raise explanation
    measurements = metrics.measure(explanation)
    steps = metrics.sanity_check(explanation) if sanity else ()
    return measurements, {step.layer: step.correlation for step in steps}


def _lines(measurements: Mapping[str, Measurement]) -> Iterable[str]:
    for name, measurement in measurements.items():
        metric = metrics.METRICS[name]
        references = "".join(f"; {what} {x:.3f}" for what, x in measurement.references.items())
        yield f"{metric.title}: {measurement.value:.3f} ({metric.better} is better{references})"


def _record(
    file: Path,
    explanation: Explanation,
    measurements: Mapping[str, Measurement],
    steps: Mapping[str, float],
) -> dict[str, Any]:
    return {
        "source": str(file),
        **explanation.query.to_dict(),
        "target": explanation.target,
        "score": explanation.score,
        "probability": explanation.probability,
        "doubt": explanation.doubt,
        "metrics": {
            name: {"value": each.value, "references": each.references}
            for name, each in measurements.items()
        },
        "supports": metrics.supports(measurements),
        "verdict": metrics.verdict(measurements),
        **({"sanity": steps} if steps else {}),
    }


def _summary(report: Report, measured: list[Mapping[str, Measurement]]) -> None:
    """Say the means of all photos."""
    means = {
        name: Measurement(
            _mean(each[name].value for each in measured),
            {
                reference: _mean(each[name].references[reference] for each in measured)
                for reference in measured[0][name].references
                if all(reference in each[name].references for each in measured)
            },
        )
        for name in measured[0]
    }
    verdicts = [metrics.supports(each) for each in measured]
    lines = [f"Means of {len(measured)} photos:", *_lines(means)]
    lines += [f"{verdicts.count(kind)} maps {text}." for kind, text in _VERDICTS.items()]
    record = {
        "photos": len(measured),
        "means": {
            name: {"value": each.value, "references": each.references}
            for name, each in means.items()
        },
        "supports": verdicts.count(True),
        "does_not_support": verdicts.count(False),
        "cannot_tell": verdicts.count(None),
    }
    report.say(lines, record)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
