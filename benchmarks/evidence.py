"""Methods against metrics: which map shows what the network uses, and where the thing is?

    python -m benchmarks.evidence ../shared/data --work ../scratch --photos 40

Photos that the network is right about, drawn at random; collages of four of them for grid
pointing. Every photo's row is kept as it is measured, so a run that was stopped goes on. Means
with 95 % intervals, bootstrapped over photos.
"""

import csv
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from tqdm import tqdm

import gradcam_core
from benchmarks.classification import SIDE, class_index, collage, read_photos
from gradcam_core import evidence

SEED = 0
METHODS = ("grad-cam", "grad-cam++", "layercam", "occlusion", "rise")
DRAWS = 2000  # of the bootstrap


def main(
    data: Annotated[Path, typer.Argument(help="Folder with imagenet/images.tar")],
    work: Annotated[Path, typer.Option(help="Folder that keeps the rows")],
    photos: Annotated[int, typer.Option(help="How many")] = 40,
    name: Annotated[str, typer.Option("--model", help="Trained on ImageNet-1k")] = "lite0",
    layer: Annotated[str | None, typer.Option(help="Target layer; the last if left out")] = None,
) -> None:
    """Measure what is not measured yet, and print the table."""
    work.mkdir(parents=True, exist_ok=True)
    kept = work / f"evidence-{name}-{layer or 'last'}.csv"
    rows = list(_read(kept))
    done = {(photo, method) for photo, method, _, _ in rows}
    chosen = list(_chosen(data, name, photos))
    with kept.open("a", newline="") as file:
        writer = csv.writer(file)
        for place, (wnid, label, photo) in enumerate(tqdm(chosen, desc="photos")):
            others = [chosen[(place + step) % len(chosen)][2] for step in (1, 2, 3)]
            for method in METHODS:
                if (wnid, method) in done:
                    continue
                found = _measure(photo, others, label, method, name, layer)
                new = [(wnid, method, metric, value) for metric, value in found.items()]
                writer.writerows(new)
                file.flush()
                rows += new
    _print(rows, {wnid for wnid, _, _ in chosen})


def _chosen(data: Path, name: str, count: int) -> Iterator[tuple[str, str, Image.Image]]:
    """Return photos that the network is right about: WordNet id, label, photo."""
    model = gradcam_core.load(name, "classification")
    found = list(read_photos(data / "imagenet" / "images.tar").items())
    random.Random(SEED).shuffle(found)
    for wnid, photo in found:
        best = model.predict(model.encode(photo), k=1)[0]
        if model.target(best.text).ids == (class_index(wnid),):
            yield wnid, best.text, photo
            count -= 1
        if not count:
            return


def _measure(
    photo: Image.Image,
    others: list[Image.Image],
    label: str,
    method: str,
    name: str,
    layer: str | None,
) -> dict[str, float]:
    """Return what each metric says of one photo's map, and of its map in a collage."""
    start = time.perf_counter()
    explanation = gradcam_core.explain(photo, target=label, model=name, layer=layer, method=method)
    seconds = time.perf_counter() - start
    found = {"seconds per map": seconds}
    for metric, finding in evidence.measure(explanation).items():
        found[metric] = finding.value
        found |= {f"{metric}, {beside}": value for beside, value in finding.beside.items()}
    grid = gradcam_core.explain(
        collage([photo, *others]), target=label, model=name, layer=layer, method=method
    )
    quarter = (0, 0, SIDE, SIDE)
    found["grid pointing: share in the right quarter"] = evidence.share_inside(
        grid.heatmap, quarter
    )
    found["grid pointing: maximum in it"] = float(evidence.points_at(grid.heatmap, quarter))
    return found


def _read(path: Path) -> Iterator[tuple[str, str, str, float]]:
    if path.exists():
        with path.open(newline="") as file:
            for photo, method, metric, value in csv.reader(file):
                yield photo, method, metric, float(value)


def _print(rows: list[tuple[str, str, str, float]], photos: set[str]) -> None:
    """Print a Markdown table: a row a metric, a column a method."""
    print(f"\n| {len(photos)} photos | " + " | ".join(METHODS) + " |")
    print("|---" * (len(METHODS) + 1) + "|")
    draw = np.random.default_rng(SEED)
    for metric in dict.fromkeys(metric for _, _, metric, _ in rows):
        cells = []
        for method in METHODS:
            values = np.array(
                [v for p, m, what, v in rows if (m, what) == (method, metric) and p in photos]
            )
            means = draw.choice(values, (DRAWS, len(values))).mean(1)
            low, high = np.percentile(means, [2.5, 97.5])
            cells.append(f"{values.mean():.3f} ({low:.3f} to {high:.3f})")
        better = evidence.METRICS[metric].better if metric in evidence.METRICS else ""
        print(f"| {metric}{f' ({better} is better)' if better else ''} | {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
