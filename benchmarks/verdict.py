"""How often does a verdict support a map that shows what the network uses, and one that cannot?

    nice -n 19 python -m benchmarks.verdict ../shared/data --work ../scratch/evaluate

Data: random ImageNet photos that the network classifies correctly, the target is the photo's class.
Tested are Grad-CAM's map, and maps of which the verdict must not say that they show what the
network uses: that of the likeliest other class, of one of the ten likeliest, of a random class; the
photo's centre; Grad-CAM's map with its cells shuffled; and the map of a network with random
weights, in its last layer or in all. The verdict is that of the page, the command line and
`/evaluate`: after "faithfulness-correlation", it takes deletion and insertion into account. Each
outcome is appended to a CSV file, so a stopped run can be resumed.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from tqdm import tqdm

import gradcam_core
from benchmarks.evaluate import random_networks, right_photos
from benchmarks.evaluate_tables import SEED, cell
from gradcam_core.methods import method_named
from gradcam_core.metrics import METRICS, MeasuredMap, supports
from gradcam_core.metrics.faithfulness_correlation import faithfulness_correlations
from gradcam_core.metrics.verdict import DECIDING
from gradcam_core.models.classifiers import Classifier, ClassifierHead

KINDS = (
    "Grad-CAM's map",
    "map of the likeliest other class",
    "map of one of the ten likeliest others",
    "map of a random class",
    "centre",
    "shuffled map",
    "map of a network with a random head",
    "map of a random network",
)
OUTCOMES = {True: "supports", False: "does not support", None: "cannot tell"}

Row = tuple[str, str, str]  # photo, kind, outcome


def main(
    data: Annotated[Path, typer.Argument(help="Folder with imagenet/")],
    work: Annotated[Path, typer.Option(help="Folder for the outcomes")],
    photos: Annotated[int, typer.Option(help="Number of photos")] = 200,
    name: Annotated[str, typer.Option("--model", help="Trained on ImageNet-1k")] = "lite0",
    method: Annotated[str, typer.Option(help="Of all maps")] = "grad-cam",
) -> None:
    """Measure what is missing, and print the table."""
    work.mkdir(parents=True, exist_ok=True)
    kept = work / f"verdicts-{name}-{method}.csv"
    rows = list(_read(kept))
    done = {photo for photo, _, _ in rows}
    model = gradcam_core.load(name, "classification")
    assert isinstance(model, Classifier)
    networks = random_networks(model)
    with kept.open("a", newline="") as file:
        writer = csv.writer(file)
        for wnid, label, photo in tqdm(list(right_photos(model, data, photos)), desc="photos"):
            if wnid not in done:
                new = [(wnid, *each) for each in _outcomes(model, networks, label, photo, method)]
                writer.writerows(new)
                file.flush()
                rows += new
    _print(rows)


def _outcomes(
    model: Classifier, networks: list[Classifier], label: str, photo: Image.Image, method: str
) -> Iterator[tuple[str, str]]:
    """Yield the outcome of each kind of map for one photo."""
    head = model.bind(model.encode(photo))
    assert isinstance(head, ClassifierHead)
    target = head.target(label)
    measured = MeasuredMap(head, target, np.zeros((1, 1), np.float32), method)
    draw = np.random.default_rng(target.ids[0])
    likeliest = [i for i in head.logits.argsort(descending=True).tolist() if (i,) != target.ids]
    classes = [
        target.ids[0],
        likeliest[0],
        *(int(draw.choice(some)) for some in (likeliest[:10], likeliest)),
    ]
    targets = [model.label_at(i) for i in classes]
    found = method_named(method).attribute(head, targets)
    maps = [each.attribution.cpu().numpy() for each in found]
    y, x = (np.mgrid[:14, :14] + 0.5) / 14 - 0.5
    maps += [
        (1 - np.hypot(y, x)).astype(np.float32),
        draw.permutation(maps[0].ravel()).reshape(maps[0].shape),
    ]
    for network in networks:
        encoded = network.backbone.encode_pixels(head.encoded.pixels, head.encoded.layer)
        (made,) = method_named(method).attribute(network.bind(encoded), [target])
        maps.append(made.attribution.cpu().numpy())
    correlations = faithfulness_correlations(measured, maps)
    for kind, raw, correlation in zip(KINDS, maps, correlations, strict=True):
        measurements = {DECIDING: correlation}
        if supports(measurements):  # no others can change
            tested = measured._replace(raw=raw)
            measurements |= {
                name: METRICS[name].measure(tested) for name in ("deletion", "insertion")
            }
        yield kind, OUTCOMES[supports(measurements)]


def _read(path: Path) -> Iterator[Row]:
    if path.exists():
        with path.open(newline="") as file:
            for line in csv.reader(file):
                yield line[0], line[1], line[2]


def _print(rows: list[Row]) -> None:
    draw = np.random.default_rng(SEED)
    print(f"| {len({photo for photo, _, _ in rows})} photos | {' | '.join(OUTCOMES.values())} |")
    print("|---" * (len(OUTCOMES) + 1) + "|")
    for kind in KINDS:
        found = [outcome for _, k, outcome in rows if k == kind]
        shares = (cell([float(each == o) for each in found], draw) for o in OUTCOMES.values())
        print(f"| {kind} | {' | '.join(shares)} |")


if __name__ == "__main__":
    typer.run(main)
