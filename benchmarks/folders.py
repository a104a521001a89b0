"""Photos a second: of a folder, beside a bare forward pass in batches that reads no file.

python -m benchmarks.folders FOLDER

The three ways alternate, so that whatever else the machine does slows all of them alike.
"""

import resource
import statistics
import time
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer

import gradcam_core
from gradcam_core.batch.explain_many import beside, explain_many
from gradcam_core.explain import explain_encoded
from gradcam_core.models.backbone import Encoded, pictures_a_pass


def main(
    folder: Annotated[Path, typer.Argument(help="Of JPEG photos")],
    photos: Annotated[int, typer.Option(help="How many in a round")] = 32,
    rounds: Annotated[int, typer.Option(help="How many")] = 5,
) -> None:
    """Print photos a second of each way, and the most memory that was held."""
    model = gradcam_core.load("lite0")
    files = list(islice(sorted(folder.rglob("*.jpg")), photos * rounds))
    picture = gradcam_core.open_image(files[0])
    (one,) = model.backbone.encode_many([picture])
    batch = pictures_a_pass()
    pixels = one.pixels.expand(batch, -1, -1, -1).contiguous()
    passes = photos // batch

    def bare() -> None:
        with torch.no_grad():
            for _ in range(passes):
                for row in model.backbone.features(pixels).split(1):
                    model.logits(row, None)

    def without_files() -> None:
        for _ in range(passes):
            with torch.no_grad():
                maps = model.backbone.features(pixels)
            for row in maps.split(1):
                encoded = Encoded(one.layer, row.detach().requires_grad_(), row, one.pixels)
                explain_encoded(model, encoded, picture)

    def with_files(some: list[Path]) -> None:
        for _, explanation in explain_many(some, model):
            assert not isinstance(explanation, Exception), explanation

    def written(some: list[Path]) -> None:
        with TemporaryDirectory() as out:
            kept = beside(
                lambda found: found[1].save(Path(out) / found[0].stem),
                explain_many(some, model),
                threads=1,
                ahead=2,
            )
            for _, saved in kept:
                saved.result()

    times: dict[str, list[float]] = {}
    for turn in range(rounds):
        some = files[turn * photos :][:photos]
        for name, way in {
            "bare forward pass": bare,
            "explained, without files": without_files,
            "read and explained": lambda: with_files(some),  # noqa: B023
            "read, explained and written": lambda: written(some),  # noqa: B023
        }.items():
            start = time.perf_counter()
            way()
            times.setdefault(name, []).append(time.perf_counter() - start)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(f"after {(turn + 1) * photos} photos: at most {most:.0f} MB")
    first = statistics.median(times["bare forward pass"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:28} {photos / median:6.1f} photos/s   {first / median:5.2f}x")


if __name__ == "__main__":
    typer.run(main)
