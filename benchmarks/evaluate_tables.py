"""Print the tables of `benchmarks.evaluate`: means, and which differences are seen.

    python -m benchmarks.evaluate_tables ../scratch/evaluate --model lite0

Means have 95 % intervals, bootstrapped over photos. Differences are paired: both maps of the same
photo. A difference counts as seen if its t-test is significant at 5 % after Holm's correction for
all comparisons of the model's tables. Beside it stands the number of photos that would show a
difference of `EFFECT` with a probability of 80 %, at a level of 5 % for this comparison alone.
"""

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from gradcam_core.methods import METHODS

SEED = 0
RESAMPLES = 2000  # of the bootstrap
LEVEL = 0.05
EFFECT = 0.05  # the size of a difference that is worth seeing
_POWERFUL = (1.960 + 0.842) ** 2  # normal quantiles of a two-sided 5 % and of 80 %
# Row of the tables -> method and detail; the last two are the baselines.
VARIANTS = {
    "Grad-CAM": ("grad-cam", 1.0),
    "Grad-CAM, detail 1.5": ("grad-cam", 1.5),
    "Grad-CAM, detail 2": ("grad-cam", 2.0),
    "Grad-CAM++": ("grad-cam++", 1.0),
    "Guided Backprop": ("guided-backprop", 1.0),
    "Guided Grad-CAM": ("guided-grad-cam", 1.0),
    "c-MWP": ("c-mwp", 1.0),
    "Gradient": ("gradient", 1.0),
    "SmoothGrad": ("smoothgrad", 1.0),
    "Integrated gradients": ("integrated-gradients", 1.0),
    "Occlusion": ("occlusion", 1.0),
    "Score-CAM": ("score-cam", 1.0),
    "RISE": ("rise", 1.0),
    "centre": ("centre", 1.0),
    "random": ("shuffled", 1.0),
}
COMPARED_WITH = ("Grad-CAM", "centre", "random")

Row = tuple[str, str, str, float]  # photo, variant, metric, value


class Column(NamedTuple):
    """A column of a table: its title, which direction is better, and its source."""

    title: str
    better: str
    source: str


TABLES = {
    "Does the map show what the network uses?": {
        "occlusion": Column("rank correlation with occlusion", "higher", "paper, section 5.3"),
        "deletion": Column("deletion, area", "lower", "Petsiuk et al. 2018"),
        "insertion": Column("insertion, area", "higher", "Petsiuk et al. 2018"),
        "drop": Column("average drop", "lower", "Chattopadhay et al. 2018"),
        "increase": Column("increase in confidence", "higher", "Chattopadhay et al. 2018"),
        "road": Column("ROAD", "higher, 0 is chance", "Rong et al. 2022"),
    },
    "Does it lie on the object?": {
        "grid share": Column("grid pointing, share", "higher", "Boehle et al. 2021"),
        "grid maximum": Column("grid pointing, maximum", "higher", "as above"),
        "pointing": Column("pointing game", "higher", "Zhang et al. 2016; paper, section 4.3"),
        "localisation": Column("localization error, class known", "lower", "paper, section 4.1"),
    },
    "Does it depend on what the network has learned, and what does it cost?": {
        "sanity, head": Column("rank correlation, head random", "nearer 0", "Adebayo et al. 2018"),
        "sanity, all": Column("rank correlation, all random", "nearer 0", "Adebayo et al. 2018"),
        "seconds": Column(
            "seconds of CPU, without the CNN's own pass", "lower", "this machine, one thread"
        ),
    },
}
_COLUMNS = {name: column for columns in TABLES.values() for name, column in columns.items()}
# The seconds are no property of a map; "random" has no collages of its own cells to be found in.
_DECIDED = [name for name in _COLUMNS if name != "seconds"]


class Comparison(NamedTuple):
    """A paired difference of two variants by one metric, turned so that more is better.

    Attributes:
        metric: A key of `TABLES`.
        variant: The row that is compared.
        other: What it is compared with.
        photos: On which both were measured.
        mean: Of the differences.
        low: Lower end of the bootstrapped 95 % interval of the mean.
        high: Its upper end.
        p: Of the paired t-test, corrected by Holm's procedure for all comparisons.
        needed: Photos that would show a difference of `EFFECT`; see the module.
    """

    metric: str
    variant: str
    other: str
    photos: int
    mean: float
    low: float
    high: float
    p: float
    needed: int

    @property
    def outcome(self) -> str:
        if self.p > LEVEL:
            return "no difference seen"
        return "better" if self.mean > 0 else "worse"


def main(
    work: Annotated[Path, typer.Argument(help="Folder of the measured values")],
    name: Annotated[str, typer.Option("--model", help="The measured model")] = "lite0",
) -> None:
    """Print the tables in Markdown."""
    print_tables(list(read(kept_in(work, name))))


def kept_in(work: Path, model: str) -> Path:
    """Return the file of a model's measured values."""
    return work / f"tables-{model}.csv"


def read(path: Path) -> Iterator[Row]:
    """Yield the measured values; a line that is being written by another process is left out."""
    if path.exists():
        with path.open(newline="") as file:
            for line in csv.reader(file):
                if len(line) == 4 and line[3]:
                    yield line[0], line[1], line[2], float(line[3])


def is_slow(variant: str) -> bool:
    """Return whether a variant takes dozens of passes."""
    method = VARIANTS[variant][0]
    return method in METHODS and METHODS[method].slow


def print_tables(rows: list[Row]) -> None:
    """Print the means, with a row for each method and a column for each metric; the decisions."""
    draw = np.random.default_rng(SEED)
    for question, columns in TABLES.items():
        measured = {
            name: about for name, about in columns.items() if any(r[2] == name for r in rows)
        }
        if not measured:
            continue
        _print_row(question, (column.title for column in measured.values()))
        print("|---" * (len(measured) + 1) + "|")
        _print_row("better", (column.better for column in measured.values()))
        _print_row("source", (column.source for column in measured.values()))
        for variant in VARIANTS:
            values = [[v for _, c, m, v in rows if (c, m) == (variant, name)] for name in measured]
            if any(values):
                count = f", {max(map(len, values))} photos" if is_slow(variant) else ""
                _print_row(variant + count, (cell(each, draw) for each in values))
        _print_row(
            "photos", (str(len({p for p, _, m, _ in rows if m == name})) for name in measured)
        )
        print()
    found = comparisons(rows)
    for other in COMPARED_WITH:
        print_decisions([each for each in found if each.other == other], len(found))


def print_decisions(found: list[Comparison], total: int) -> None:
    """Print the comparisons with one variant: a row for each variant, a column for each metric."""
    if not found:
        return
    names = list(dict.fromkeys(each.metric for each in found))
    _print_row(f"Compared with {found[0].other}", (_COLUMNS[name].title for name in names))
    print("|---" * (len(names) + 1) + "|")
    for variant in dict.fromkeys(each.variant for each in found):
        mine = {each.metric: each for each in found if each.variant == variant}
        _print_row(variant, (_decision(mine[name]) if name in mine else "-" for name in names))
    needed = [[each.needed for each in found if each.metric == name] for name in names]
    _print_row(f"photos to see a difference of {EFFECT}", (f"{min(n)} to {max(n)}" for n in needed))
    print(f"\n({total} comparisons in all.)\n")


def _decision(found: Comparison) -> str:
    return f"**{found.outcome}** {found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})".replace(
        "**no difference seen**", "no difference seen"
    )


def _print_row(title: str, cells: Iterable[str]) -> None:
    print(f"| {title} | {' | '.join(cells)} |")


def cell(values: list[float], draw: np.random.Generator) -> str:
    """Return a mean with its bootstrapped 95 % interval."""
    if not values:
        return "-"
    low, high = interval(values, draw)
    return f"{np.mean(values):.2f} ({low:.2f} to {high:.2f})"


def interval(values: Iterable[float], draw: np.random.Generator) -> tuple[float, float]:
    """Return the bootstrapped 95 % interval of a mean."""
    each = np.asarray(list(values))
    low, high = np.percentile(draw.choice(each, (RESAMPLES, len(each))).mean(1), [2.5, 97.5])
    return float(low), float(high)


def comparisons(rows: list[Row]) -> list[Comparison]:
    """Compare every variant with those of `COMPARED_WITH`, photo by photo."""
    draw = np.random.default_rng(SEED)
    values: dict[tuple[str, str], dict[str, float]] = {}
    for photo, variant, metric, value in rows:
        values.setdefault((metric, variant), {})[photo] = value
    found = []
    for metric in _DECIDED:
        for other in COMPARED_WITH:
            for variant in VARIANTS:
                if variant == other or (other == "centre" and variant == "random"):
                    continue
                ours, theirs = values.get((metric, variant), {}), values.get((metric, other), {})
                shared = sorted(ours.keys() & theirs.keys())
                if len(shared) < 3:
                    continue
                better = _COLUMNS[metric].better
                each = np.array([_gain(better, ours[p], theirs[p]) for p in shared])
                p = _p(each)
                low, high = interval(each, draw)
                needed = max(3, math.ceil(_POWERFUL * each.var(ddof=1) / EFFECT**2))
                found.append(
                    Comparison(
                        metric, variant, other, len(each), float(each.mean()), low, high, p, needed
                    )
                )
    corrected = holm([each.p for each in found])
    return [each._replace(p=p) for each, p in zip(found, corrected, strict=True)]


def _p(differences: np.ndarray) -> float:
    """Return the p-value of the paired t-test; of the sign test, where all are the same."""
    from scipy.stats import ttest_1samp

    if np.ptp(differences):
        return float(ttest_1samp(differences, 0).pvalue)
    return 0.5 ** (len(differences) - 1) if differences[0] else 1.0


def _gain(better: str, ours: float, theirs: float) -> float:
    if better.startswith("higher"):
        return ours - theirs
    return theirs - ours if better == "lower" else abs(theirs) - abs(ours)


def holm(p: list[float]) -> list[float]:
    """Return p-values corrected for their number: Holm, Scandinavian Journal of Statistics 1979."""
    values = np.asarray(p)
    order = values.argsort()
    raised = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    corrected = np.empty(len(values))
    corrected[order] = raised.clip(max=1)
    return corrected.tolist()


if __name__ == "__main__":
    typer.run(main)
