"""Compare methods: whose maps show what the network uses, and lie on the object?

    python -m benchmarks.evaluate ../shared/data --work ../scratch --photos 40

Data: random ImageNet photos that the network classifies correctly for faithfulness and
randomization, collages of four of them for grid pointing; COCO photos and their boxes for the
pointing game and localization. Each value is appended to a CSV file when it is measured, so a
stopped run can be resumed. Tables show means with 95 % intervals, bootstrapped over photos. The
baseline is a map that knows nothing of the network: the picture's centre. Slow methods are
measured last, for every third photo only, and without collages and boxes.
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
from gradcam_core.metrics import MeasuredMap, faithfulness
from gradcam_core.metrics.localization import MIN_IOU, Rectangle
from gradcam_core.metrics.metric import rank_correlation
from gradcam_core.metrics.randomization import cascade
from gradcam_core.models.base import Head, Model, ResolvedTarget
from training import datasets

SEED = 0
RESAMPLES = 2000  # of the bootstrap
# Row of the tables -> method and detail; the last one is the baseline.
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
}


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

Row = tuple[str, str, str, float]  # photo, variant, metric, value


def main(
    data: Annotated[Path, typer.Argument(help="Folder with imagenet/ and coco/")],
    work: Annotated[Path, typer.Option(help="Folder for the measured values")],
    photos: Annotated[
        int, typer.Option(help="Number of ImageNet photos; twice as many of COCO")
    ] = 40,
    every: Annotated[
        int, typer.Option(min=0, help="Slow methods for every N-th photo; 0: none")
    ] = 3,
    name: Annotated[str, typer.Option("--model", help="Trained on ImageNet-1k")] = "lite0",
) -> None:
    """Measure what is missing, and print the tables."""
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
    """Measure each photo, alternating between the data sets; then the slow methods."""
    right = list(_right(model, data, count))
    with_boxes = list(boxed(data, 2 * count))
    fast = [variant for variant in VARIANTS if not _slow(variant)]
    slow = [variant for variant in VARIANTS if _slow(variant)]
    rounds = [(place, fast) for place in range(count)]
    if every:
        rounds += [(place, slow) for place in range(0, count, every)]
    for place, variants in tqdm(rounds, desc="photos"):
        wnid, label, photo = right[place]
        lacking = {
            variant: {
                metric for metric in _metrics_of(variant) if (wnid, variant, metric) not in done
            }
            for variant in variants
        }
        yield from _faithful(model, wnid, label, photo, lacking)
        if variants is slow:
            continue
        others = [right[(place + step) % count][2] for step in (1, 2, 3)]
        quarter = place % 4
        grid = collage([*others[:quarter], photo, *others[quarter:]])
        todo = [variant for variant in variants if (wnid, variant, "grid share") not in done]
        yield from _in_grid(model, wnid, label, grid, quarter, todo)
        for image, picture, boxes in with_boxes[2 * place : 2 * place + 2]:
            todo = [variant for variant in variants if (image, variant, "pointing") not in done]
            yield from _on_boxes(model, image, picture, boxes, todo)


def _metrics_of(variant: str) -> list[str]:
    """Return what is measured of a variant's map of a single photo."""
    names = ["occlusion", "deletion", "insertion", "drop", "increase", "road"]
    if VARIANTS[variant][0] in METHODS:
        names.append("seconds")
        if not _slow(variant):
            names += ["sanity, head", "sanity, all"]
    return names


def _right(model: Model, data: Path, count: int) -> Iterator[tuple[str, str, Image.Image]]:
    """Yield photos that the network classifies correctly: WordNet id, label, photo."""
    found = list(read_photos(data / "imagenet" / "images.tar").items())
    random.Random(SEED).shuffle(found)
    for wnid, photo in found:
        best = model.bind(model.encode(photo)).target()
        if best.ids == (class_index(wnid),):
            yield wnid, best.text, photo
            count -= 1
        if not count:
            return


def boxed(data: Path, count: int) -> Iterator[tuple[str, Image.Image, list[datasets.Box]]]:
    """Yield photos with annotated boxes."""
    boxes = datasets.coco_boxes(data)
    names = random.Random(SEED).sample(sorted(boxes), count)
    for name, picture in datasets.pictures(data, "coco", set(names)):
        yield name, picture, boxes[name]


def _map(
    variant: str, head: Head, photo: Image.Image, target: ResolvedTarget
) -> tuple[np.ndarray, Head]:
    """Return a variant's map, (h, w) float32 >= 0, and the head bound to the picture behind it."""
    method, detail = VARIANTS[variant]
    if method == "centre":
        y, x = (np.mgrid[:14, :14] + 0.5) / 14 - 0.5
        return (1 - np.hypot(y, x)).astype(np.float32), head
    if detail != 1:
        head = head.model.bind(head.model.encode(photo, detail=detail))
    (maps,) = METHODS[method].attribute(head, [target])
    return maps.attribution.cpu().numpy(), head


def _slow(variant: str) -> bool:
    method = VARIANTS[variant][0]
    return method in METHODS and METHODS[method].slow


def _faithful(
    model: Model, name: str, label: str, photo: Image.Image, lacking: dict[str, set[str]]
) -> Iterator[Row]:
    head = model.bind(model.encode(photo))
    target = head.target(label)
    drops = None
    for variant, missing in lacking.items():
        if not missing:
            continue
        start = time.process_time()
        raw, map_head = _map(variant, head, photo, target)
        found = {"seconds": time.process_time() - start}
        measured = MeasuredMap(head, target, raw)
        if "occlusion" in missing:
            drops = faithfulness.occlusion_drops(measured) if drops is None else drops
            found["occlusion"] = rank_correlation(raw, drops)
        if "deletion" in missing:
            found["deletion"] = faithfulness.area_under_curve(measured, deleting=True)
        if "insertion" in missing:
            found["insertion"] = faithfulness.area_under_curve(measured, deleting=False)
        if missing & {"drop", "increase"}:
            drop = faithfulness.average_drop(measured)
            found |= {"drop": drop.value, "increase": drop.references["increase"]}
        if "road" in missing:
            found["road"] = faithfulness.road(measured).value
        if missing & {"sanity, head", "sanity, all"}:
            steps = list(cascade(MeasuredMap(map_head, target, raw), VARIANTS[variant][0]))
            found["sanity, head"] = steps[0].correlation
            found["sanity, all"] = steps[-1].correlation
        for metric in missing:
            yield name, variant, metric, found[metric]


def _in_grid(
    model: Model, name: str, label: str, grid: Image.Image, quarter: int, variants: list[str]
) -> Iterator[Row]:
    head = model.bind(model.encode(grid))
    target = head.target(label)
    row, across = divmod(quarter, 2)
    left, top = SIDE * across, SIDE * row
    box = (left, top, left + SIDE, top + SIDE)
    for variant in variants:
        raw, _ = _map(variant, head, grid, target)
        heatmap = enlarge(raw, (2 * SIDE, 2 * SIDE))
        yield name, variant, "grid share", metrics.share_inside(heatmap, box)
        yield name, variant, "grid maximum", float(metrics.points_at(heatmap, box))


def _on_boxes(
    model: Model, name: str, photo: Image.Image, boxes: list[datasets.Box], variants: list[str]
) -> Iterator[Row]:
    """Measure each class in the photo that the network knows; yield the photo's mean."""
    head = model.bind(model.encode(photo))
    known = dict(known_objects(head, photo, boxes))
    for variant in variants if known else []:
        found = [
            hit_and_miss(_map(variant, head, photo, target)[0], photo, there)
            for target, there in known.items()
        ]
        points, misses = zip(*found, strict=True)
        yield name, variant, "pointing", float(np.mean(points))
        yield name, variant, "localisation", float(np.mean(misses))


def known_objects(
    head: Head, photo: Image.Image, boxes: list[datasets.Box]
) -> Iterator[tuple[ResolvedTarget, list[Rectangle]]]:
    """Yield the classes in a photo that the network knows, each with its boxes."""
    for label in dict.fromkeys(box.label for box in boxes):
        try:
            target = head.target(label)
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
    """Return whether a map's maximum lies on the object, and whether its box misses it."""
    heatmap = enlarge(raw, (photo.height, photo.width))
    found = metrics.bounding_box(metrics.segment(heatmap))
    return (
        any(metrics.points_at(heatmap, box) for box in there),
        found is None or max(metrics.iou(found, box) for box in there) <= MIN_IOU,
    )


def _read(path: Path) -> Iterator[Row]:
    if path.exists():
        with path.open(newline="") as file:
            for photo, variant, metric, value in csv.reader(file):
                yield photo, variant, metric, float(value)


def _print(rows: list[Row]) -> None:
    """Print the tables in Markdown, with a row for each method and a column for each metric."""
    draw = np.random.default_rng(SEED)
    for question, known in TABLES.items():
        metrics = {name: about for name, about in known.items() if any(r[2] == name for r in rows)}
        if not metrics:
            continue
        print(f"\n| {question} | " + " | ".join(metric.title for metric in metrics.values()) + " |")
        print("|---" * (len(metrics) + 1) + "|")
        print("| better | " + " | ".join(metric.better for metric in metrics.values()) + " |")
        print("| source | " + " | ".join(metric.source for metric in metrics.values()) + " |")
        for variant in VARIANTS:
            values = [[v for _, c, m, v in rows if (c, m) == (variant, name)] for name in metrics]
            if any(values):
                fewer = f", {len(values[0])} photos" if _slow(variant) else ""
                print(f"| {variant}{fewer} | {' | '.join(cell(each, draw) for each in values)} |")
        counts = [str(len({p for p, _, m, _ in rows if m == name})) for name in metrics]
        print(f"| photos | {' | '.join(counts)} |")


def cell(values: list[float], draw: np.random.Generator) -> str:
    """Return a mean with its bootstrapped 95 % interval."""
    if not values:
        return "-"
    means = draw.choice(values, (RESAMPLES, len(values))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{np.mean(values):.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    typer.run(main)
