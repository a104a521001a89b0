"""Photos per second of `explain_photos`, compared with a bare forward pass that reads no files.

    python -m benchmarks.folders FOLDER

The cases alternate, so that other load on the machine slows all of them alike.
"""

import resource
import statistics
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer

import gradcam_core
from gradcam_core import Explainer, Query
from gradcam_core.batch.explain_many import explain_photos, in_threads
from gradcam_core.models.backbone import batch_size
from gradcam_core.models.classifiers import Classifier


def main(
    folder: Annotated[Path, typer.Argument(help="Of JPEG photos")],
    photos: Annotated[int, typer.Option(help="Number of photos in a round")] = 32,
    rounds: Annotated[int, typer.Option(help="Number of rounds")] = 5,
) -> None:
    """Print photos per second for each case, and the peak memory."""
    model = gradcam_core.load("lite0")
    assert isinstance(model, Classifier)
    query = Query().resolved(model)
    files = list(islice(sorted(folder.rglob("*.jpg")), photos * rounds))
    picture = gradcam_core.open_image(files[0])
    one = model.encode(picture)
    pixels = one.pixels.repeat(batch_size(), 1, 1, 1)
    batches = photos // batch_size()

    def bare() -> None:
        with torch.no_grad():
            for _ in range(batches):
                for row in model.backbone.head_inputs(pixels):
                    model.head(row)

    def without_files() -> None:
        for _ in range(batches):
            with torch.no_grad():
                rows = model.backbone.head_inputs(pixels)
            for row in rows:
                row.requires_grad_()
                encoded = replace(one, activations=row, head_input=row)
                Explainer().explain_head(model.bind(encoded), picture, query, [None])

    def with_files(some: list[Path]) -> None:
        for _, explanation in explain_photos(some, query):
            assert not isinstance(explanation, Exception), explanation

    def written(some: list[Path]) -> None:
        with TemporaryDirectory() as out:
            results = in_threads(
                lambda result: result[1].save(Path(out) / result[0].stem),
                explain_photos(some, query),
                threads=1,
                ahead=2,
            )
            for _, saved in results:
                saved.result()

    times: dict[str, list[float]] = {}
    for number in range(rounds):
        some = files[number * photos :][:photos]
        for name, run in {
            "bare forward pass": bare,
            "explained, without files": without_files,
            "read and explained": lambda: with_files(some),  # noqa: B023
            "read, explained and written": lambda: written(some),  # noqa: B023
        }.items():
            start = time.perf_counter()
            run()
            times.setdefault(name, []).append(time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(f"after {(number + 1) * photos} photos: peak memory {peak:.0f} MB")
    first = statistics.median(times["bare forward pass"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:28} {photos / median:6.1f} photos/s   {first / median:5.2f}x")


if __name__ == "__main__":
    typer.run(main)
