"""Which method's maps show what the network uses, and lie on the thing?

    python -m benchmarks.evidence ../shared/data --work ../scratch --photos 40

ImageNet photos that the network is right about, drawn at random, for what the network uses, and
collages of four of them for grid pointing; COCO photos and people's boxes for pointing game and
localisation. A row for each figure is kept as it is measured, so a run that was stopped goes on.
Means with 95 % intervals, bootstrapped over photos. Beside the methods a map that knows nothing of
the network: the picture's centre. The slow methods come last, for one photo in three only, and
without collages and boxes.
"""

import csv
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from PIL import Image
from tqdm import tqdm

import gradcam_core
from benchmarks.classification import SIDE, class_index, collage, read_photos
from gradcam_core import metrics
from gradcam_core.image.geometry import enlarge, in_pixels
from gradcam_core.methods import METHODS
from gradcam_core.metrics import Subject, faithfulness
from gradcam_core.metrics import randomization as sanity
from gradcam_core.metrics.localization import Rectangle
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Target
from training import datasets

SEED = 0
DRAWS = 2000  # of the bootstrap
# Name in the table -> method and detail; the last is no method.
COLUMNS = {
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
}


class Metric(NamedTuple):
    """A column of a table: its title, which direction is better, and whose it is."""

    title: str
    better: str
    whose: str


TABLES = {
    "Does the map show what the network uses?": {
        "occlusion": Metric("rank correlation with occlusion", "higher", "paper, section 5.3"),
        "deletion": Metric("deletion, area", "lower", "Petsiuk et al. 2018"),
        "insertion": Metric("insertion, area", "higher", "Petsiuk et al. 2018"),
        "drop": Metric("average drop", "lower", "Chattopadhay et al. 2018"),
        "increase": Metric("increase in confidence", "higher", "Chattopadhay et al. 2018"),
        "road": Metric("ROAD", "higher, 0 is chance", "Rong et al. 2022"),
    },
    "Does it lie on the thing?": {
        "grid share": Metric("grid pointing, share", "higher", "Boehle et al. 2021"),
        "grid maximum": Metric("grid pointing, maximum", "higher", "as above"),
        "pointing": Metric("pointing game", "higher", "Zhang et al. 2016; paper, section 4.3"),
        "localisation": Metric("localisation error, class known", "lower", "paper, section 4.1"),
    },
    "Does it depend on what was learned, and what does it cost?": {
        "sanity, head": Metric("rank correlation, head random", "nearer 0", "Adebayo et al. 2018"),
        "sanity, all": Metric("rank correlation, all random", "nearer 0", "Adebayo et al. 2018"),
        "seconds": Metric(
            "seconds of CPU, the CNN's own pass left out", "lower", "this machine, one thread"
        ),
    },
}

Row = tuple[str, str, str, float]  # photo, column, metric, value


def main(
    data: Annotated[Path, typer.Argument(help="Folder with imagenet/ and coco/")],
    work: Annotated[Path, typer.Option(help="Folder that keeps the rows")],
    photos: Annotated[int, typer.Option(help="How many of ImageNet; of COCO twice as many")] = 40,
    every: Annotated[
        int, typer.Option(min=0, help="Of so many photos one has the slow methods too; 0: none")
    ] = 3,
    name: Annotated[str, typer.Option("--model", help="Trained on ImageNet-1k")] = "lite0",
) -> None:
    """Measure what is not measured yet, and print the tables."""
    work.mkdir(parents=True, exist_ok=True)
    kept = work / f"tables-{name}.csv"
    rows = list(_read(kept))
    model = gradcam_core.load(name, "classification")
    with kept.open("a", newline="") as file:
        writer = csv.writer(file)
        for new in _measured(model, data, photos, every, {row[:3] for row in rows}):
            writer.writerow(new)
            file.flush()
            rows.append(new)
    _print(rows)


def _measured(
    model: Model, data: Path, count: int, every: int, done: set[tuple[str, str, str]]
) -> Iterator[Row]:
    """Measure photo after photo, those of the two kinds in turn; then the slow methods."""
    right = list(_right(model, data, count))
    with_boxes = list(boxed(data, 2 * count))
    fast = [column for column in COLUMNS if not _slow(column)]
    slow = [column for column in COLUMNS if _slow(column)]
    rounds = [(place, fast) for place in range(count)]
    if every:
        rounds += [(place, slow) for place in range(0, count, every)]
    for place, columns in tqdm(rounds, desc="photos"):
        wnid, label, photo = right[place]
        lacking = {
            column: {metric for metric in _asked(column) if (wnid, column, metric) not in done}
            for column in columns
        }
        yield from _faithful(model, wnid, label, photo, lacking)
        if columns is slow:
            continue
        others = [right[(place + step) % count][2] for step in (1, 2, 3)]
        quarter = place % 4
        grid = collage([*others[:quarter], photo, *others[quarter:]])
        todo = [column for column in columns if (wnid, column, "grid share") not in done]
        yield from _in_grid(model, wnid, label, grid, quarter, todo)
        for image, picture, boxes in with_boxes[2 * place : 2 * place + 2]:
            todo = [column for column in columns if (image, column, "pointing") not in done]
            yield from _on_boxes(model, image, picture, boxes, todo)


def _asked(column: str) -> list[str]:
    """Return what is measured of a column's map of a single photo."""
    asked = ["occlusion", "deletion", "insertion", "drop", "increase", "road"]
    if COLUMNS[column][0] in METHODS:
        asked.append("seconds")
        if not _slow(column):
            asked += ["sanity, head", "sanity, all"]
    return asked


def _right(model: Model, data: Path, count: int) -> Iterator[tuple[str, str, Image.Image]]:
    """Return photos that the network is right about: WordNet id, label, photo."""
    found = list(read_photos(data / "imagenet" / "images.tar").items())
    random.Random(SEED).shuffle(found)
    for wnid, photo in found:
        best = model.predict(model.encode(photo), k=1)[0]
        if model.target(best.text).ids == (class_index(wnid),):
            yield wnid, best.text, photo
            count -= 1
        if not count:
            return


def boxed(data: Path, count: int) -> Iterator[tuple[str, Image.Image, list[datasets.Box]]]:
    """Return photos with people's boxes."""
    boxes = datasets.coco_boxes(data)
    names = random.Random(SEED).sample(sorted(boxes), count)
    for name, picture in datasets.pictures(data, "coco", set(names)):
        yield name, picture, boxes[name]


def _map(
    column: str, model: Model, photo: Image.Image, encoded: Encoded, target: Target
) -> tuple[np.ndarray, Encoded]:
    """Return a column's map of a target, (h, w) float32 >= 0, and what it was made of."""
    method, detail = COLUMNS[column]
    if method == "centre":
        y, x = (np.mgrid[:14, :14] + 0.5) / 14 - 0.5
        return (1 - np.hypot(y, x)).astype(np.float32), encoded
    larger = encoded if detail == 1 else model.encode(photo, detail=detail)
    return METHODS[method].maps(model, larger, target).evidence.cpu().numpy(), larger


def _slow(column: str) -> bool:
    method = COLUMNS[column][0]
    return method in METHODS and METHODS[method].slow


def _faithful(
    model: Model, name: str, label: str, photo: Image.Image, lacking: dict[str, set[str]]
) -> Iterator[Row]:
    encoded = model.encode(photo)
    target = model.target(label, encoded=encoded)
    drops = None
    for column, lacking_metrics in lacking.items():
        if not lacking_metrics:
            continue
        start = time.process_time()
        raw, seen = _map(column, model, photo, encoded, target)
        found = {"seconds": time.process_time() - start}
        subject = Subject(model, encoded, target, raw)
        if "occlusion" in lacking_metrics:
            drops = faithfulness.drops_when_covered(subject) if drops is None else drops
            found["occlusion"] = faithfulness.correlation(raw, drops)
        if "deletion" in lacking_metrics:
            found["deletion"] = faithfulness.curve_area(subject, deleting=True)
        if "insertion" in lacking_metrics:
            found["insertion"] = faithfulness.curve_area(subject, deleting=False)
        if lacking_metrics & {"drop", "increase"}:
            shown = faithfulness.average_drop(subject)
            found |= {"drop": shown.value, "increase": shown.beside["increase"]}
        if "road" in lacking_metrics:
            found["road"] = faithfulness.road(subject).value
        if lacking_metrics & {"sanity, head", "sanity, all"}:
            steps = list(sanity.cascade(Subject(model, seen, target, raw), COLUMNS[column][0]))
            found["sanity, head"] = steps[0].correlation
            found["sanity, all"] = steps[-1].correlation
        for metric in lacking_metrics:
            yield name, column, metric, found[metric]


def _in_grid(
    model: Model, name: str, label: str, grid: Image.Image, quarter: int, columns: list[str]
) -> Iterator[Row]:
    encoded = model.encode(grid)
    target = model.target(label, encoded=encoded)
    row, column_of_grid = divmod(quarter, 2)
    left, top = SIDE * column_of_grid, SIDE * row
    box = (left, top, left + SIDE, top + SIDE)
    for column in columns:
        raw, _ = _map(column, model, grid, encoded, target)
        heatmap = enlarge(raw, (2 * SIDE, 2 * SIDE))
        yield name, column, "grid share", metrics.share_inside(heatmap, box)
        yield name, column, "grid maximum", float(metrics.points_at(heatmap, box))


def _on_boxes(
    model: Model, name: str, photo: Image.Image, boxes: list[datasets.Box], columns: list[str]
) -> Iterator[Row]:
    """Ask for each kind of thing in the photo that the network knows; a mean for the photo."""
    encoded = model.encode(photo)
    known = dict(known_things(model, encoded, photo, boxes))
    for column in columns if known else []:
        found = [
            hit_and_miss(_map(column, model, photo, encoded, target)[0], photo, there)
            for target, there in known.items()
        ]
        points, misses = zip(*found, strict=True)
        yield name, column, "pointing", float(np.mean(points))
        yield name, column, "localisation", float(np.mean(misses))


def known_things(
    model: Model, encoded: Encoded, photo: Image.Image, boxes: list[datasets.Box]
) -> Iterator[tuple[Target, list[Rectangle]]]:
    """Return the things of a photo that the network has a class for, with their boxes."""
    for label in dict.fromkeys(box.label for box in boxes):
        try:
            target = model.target(label, encoded=encoded)
        except ValueError:  # no class of the network
            continue
        yield (
            target,
            [
                in_pixels((b.x, b.y, b.x + b.w, b.y + b.h), *photo.size)
                for b in boxes
                if b.label == label
            ],
        )


def hit_and_miss(raw: np.ndarray, photo: Image.Image, there: list[Rectangle]) -> tuple[bool, bool]:
    """Tell whether a map's maximum lies on the thing, and whether its box misses it."""
    heatmap = enlarge(raw, (photo.height, photo.width))
    found = metrics.bounding_box(metrics.segment(heatmap))
    return (
        any(metrics.points_at(heatmap, box) for box in there),
        found is None or max(metrics.overlap(found, box) for box in there) <= 0.5,
    )


def _read(path: Path) -> Iterator[Row]:
    if path.exists():
        with path.open(newline="") as file:
            for photo, column, metric, value in csv.reader(file):
                yield photo, column, metric, float(value)


def _print(rows: list[Row]) -> None:
    """Print what was measured as tables in Markdown: a row a method, a column a metric."""
    draw = np.random.default_rng(SEED)
    for question, known in TABLES.items():
        metrics = {name: about for name, about in known.items() if any(r[2] == name for r in rows)}
        if not metrics:
            continue
        print(f"\n| {question} | " + " | ".join(metric.title for metric in metrics.values()) + " |")
        print("|---" * (len(metrics) + 1) + "|")
        print("| better | " + " | ".join(metric.better for metric in metrics.values()) + " |")
        print("| whose | " + " | ".join(metric.whose for metric in metrics.values()) + " |")
        for column in COLUMNS:
            values = [[v for _, c, m, v in rows if (c, m) == (column, name)] for name in metrics]
            if any(values):
                fewer = f", {len(values[0])} photos" if _slow(column) else ""
                print(f"| {column}{fewer} | {' | '.join(cell(each, draw) for each in values)} |")
        counts = [str(len({p for p, _, m, _ in rows if m == name})) for name in metrics]
        print(f"| photos | {' | '.join(counts)} |")


def cell(values: list[float], draw: np.random.Generator) -> str:
    """Return a mean with its bootstrapped 95 % interval."""
    if not values:
        return "-"
    means = draw.choice(values, (DRAWS, len(values))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{np.mean(values):.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    typer.run(main)
