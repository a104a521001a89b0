"""Compare methods: whose maps show what the network uses, and lie on the object?

    nice -n 19 python -m benchmarks.evaluate ../shared/data --work ../scratch/evaluate

Data: random ImageNet photos that the network classifies correctly for faithfulness and
randomization, collages of four of them for grid pointing; COCO photos and their boxes for the
pointing game and localization. Each value is appended to a CSV file when it is measured, so a
stopped run can be resumed. `--parts 2 --part 0` and `--part 1` share the photos between two
processes, which may write to the same folder. `benchmarks.evaluate_tables` prints the tables.

Two baselines know nothing of the network: the picture's centre, and Grad-CAM's map with its cells
shuffled. Slow methods are measured on fewer photos, and without collages and boxes.
"""

import csv
import random
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from tqdm import tqdm

import gradcam_core
from benchmarks.classification import SIDE, class_index, collage, read_photos
from benchmarks.evaluate_tables import SEED, VARIANTS, Row, is_slow, kept_in, print_tables, read
from gradcam_core import metrics
from gradcam_core.image.geometry import enlarge, in_pixels
from gradcam_core.methods import METHODS
from gradcam_core.metrics import MeasuredMap, faithfulness
from gradcam_core.metrics.localization import MIN_IOU, Rectangle
from gradcam_core.metrics.metric import rank_correlation
from gradcam_core.metrics.randomization import randomized
from gradcam_core.models.base import Head, Model, ResolvedTarget
from gradcam_core.models.classifiers import Classifier
from training import datasets


def main(
    data: Annotated[Path, typer.Argument(help="Folder with imagenet/ and coco/")],
    work: Annotated[Path, typer.Option(help="Folder for the measured values")],
    photos: Annotated[
        int, typer.Option(help="Number of ImageNet photos; up to twice as many of COCO")
    ] = 200,
    slow: Annotated[int, typer.Option(min=0, help="Number of photos for slow methods")] = 60,
    name: Annotated[str, typer.Option("--model", help="Trained on ImageNet-1k")] = "lite0",
    parts: Annotated[int, typer.Option(min=1, help="Number of processes")] = 1,
    part: Annotated[int, typer.Option(min=0, help="Which of them this is, from 0")] = 0,
) -> None:
    """Measure what is missing, and print the tables."""
    work.mkdir(parents=True, exist_ok=True)
    kept = kept_in(work, name)
    done = {row[:3] for row in read(kept)}
    model = gradcam_core.load(name, "classification")
    assert isinstance(model, Classifier)
    with kept.open("a", newline="") as file:
        writer = csv.writer(file)
        for new in Measuring(model, data, photos).rows(_rounds(photos, slow, part, parts), done):
            writer.writerow(new)
            file.flush()
    print_tables(list(read(kept)))


def _rounds(photos: int, slow: int, part: int, parts: int) -> list[tuple[int, bool]]:
    """Return (photo, whether for the slow methods); both kinds are spread over the run."""
    found = []
    for place in range(photos):
        found.append((place, False))
        at = -(-place * slow // photos)  # the slow methods get the first photos, too
        if at < slow and at * photos // slow == place:
            found.append((at, True))
    return [each for each in found if each[0] % parts == part]


class Measuring:
    """What all rounds share: the photos, and two networks with random weights."""

    def __init__(self, model: Classifier, data: Path, count: int) -> None:
        self.model = model
        self.right = list(right_photos(model, data, count))
        self.boxed = list(boxed(data, 2 * count))
        self.random = dict(
            zip(("sanity, head", "sanity, all"), random_networks(model), strict=True)
        )

    def rows(
        self, rounds: list[tuple[int, bool]], done: set[tuple[str, str, str]]
    ) -> Iterator[Row]:
        """Measure in each round what is not done yet."""
        model, count = self.model, len(self.right)
        for place, slow in tqdm(rounds, desc="rounds"):
            variants = [variant for variant in VARIANTS if is_slow(variant) == slow]
            wnid, label, photo = self.right[place]
            lacking = {
                variant: {
                    metric for metric in _metrics_of(variant) if (wnid, variant, metric) not in done
                }
                for variant in variants
            }
            yield from self._faithful(wnid, label, photo, lacking)
            if slow:
                continue
            others = [self.right[(place + step) % count][2] for step in (1, 2, 3)]
            quarter = place % 4
            grid = collage([*others[:quarter], photo, *others[quarter:]])
            todo = [variant for variant in variants if (wnid, variant, "grid share") not in done]
            yield from _in_grid(model, wnid, label, grid, quarter, todo)
            for image, picture, boxes in self.boxed[2 * place : 2 * place + 2]:
                todo = [variant for variant in variants if (image, variant, "pointing") not in done]
                yield from _on_boxes(model, image, picture, boxes, todo)

    def _faithful(
        self, name: str, label: str, photo: Image.Image, lacking: dict[str, set[str]]
    ) -> Iterator[Row]:
        if not any(lacking.values()):
            return
        head = self.model.bind(self.model.encode(photo))
        target = head.target(label)
        drops = faithfulness.occlusion_drops(MeasuredMap(head, target, np.zeros((1, 1))))
        for variant, missing in lacking.items():
            if not missing:
                continue
            start = time.process_time()
            raw, map_head = _map(variant, head, photo, target)
            found = {"seconds": time.process_time() - start}
            measured = MeasuredMap(head, target, raw)
            if "occlusion" in missing:
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
            for metric in missing & self.random.keys():
                network = self.random[metric]
                encoded = network.backbone.encode_pixels(
                    map_head.encoded.pixels, map_head.encoded.layer
                )
                method = METHODS[VARIANTS[variant][0]]
                (maps,) = method.attribute(network.bind(encoded), [target])
                found[metric] = rank_correlation(maps.attribution.cpu().numpy(), raw)
            for metric in missing:
                yield name, variant, metric, found[metric]


def _metrics_of(variant: str) -> list[str]:
    """Return what is measured of a variant's map of a single photo."""
    names = ["occlusion", "deletion", "insertion", "drop", "increase", "road"]
    if VARIANTS[variant][0] in METHODS:
        names.append("seconds")
        if not is_slow(variant):
            names += ["sanity, head", "sanity, all"]
    return names


def random_networks(model: Classifier) -> list[Classifier]:
    """Return a network with a random last layer, and one with all layers random."""
    ends = {next(iter(model.parts())), list(model.parts())[-1]}
    return [deepcopy(network) for layer, network in randomized(model) if layer in ends]


def right_photos(model: Model, data: Path, count: int) -> Iterator[tuple[str, str, Image.Image]]:
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
    """Yield photos with annotated boxes, as many as there are."""
    boxes = datasets.coco_boxes(data)
    names = random.Random(SEED).sample(sorted(boxes), min(count, len(boxes)))
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
    if method == "shuffled":
        raw, _ = _map("Grad-CAM", head, photo, target)
        draw = np.random.default_rng(target.ids[0])
        return draw.permutation(raw.ravel()).reshape(raw.shape), head
    if detail != 1:
        head = head.model.bind(head.model.encode(photo, detail=detail))
    (maps,) = METHODS[method].attribute(head, [target])
    return maps.attribution.cpu().numpy(), head


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


if __name__ == "__main__":
    typer.run(main)
