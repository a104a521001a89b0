"""How near an embedded captioner's sentences come to people's, on pictures it was not trained on.

python -m benchmarks.captioning ../shared/data
"""

import io
import tarfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from tqdm import tqdm

import gradcam_core
from training.captioning import SPELLING, daquar, flickr8k, pets


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k/, pets/, daquar/")],
    model: Annotated[str, typer.Option(help="A captioner's name")] = "lite0-caption",
) -> None:
    """Print BLEU and CIDEr on Flickr8k's dev split, and how often cats, dogs, things are named."""
    dev = flickr8k(data, "dev")
    said = captions(model, data / "flickr8k", [picture.name for picture in dev])
    scores = metrics(said, [picture.captions for picture in dev])
    print(
        f"flickr8k dev, {len(dev)} photos: " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items())
    )

    held_back = pets("dev")
    said = captions(model, data / "pets", [picture.name for picture in held_back])
    for kind in ("cat", "dog"):
        named = [kind in s for p, s in zip(held_back, said, strict=True) if p.name.startswith(kind)]
        print(
            f"pets held back, {len(named)} {kind}s called a {kind}: {sum(named) / len(named):.3f}"
        )

    things = daquar(data, "dev")
    said = captions(model, data / "daquar", list(things))
    named = [
        any(SPELLING.get(thing, thing) in " ".join(s) for thing in things[name])
        for name, s in zip(things, said, strict=True)
    ]
    print(
        f"daquar dev, {len(named)} rooms, a thing that people named there is in the caption: "
        f"{sum(named) / len(named):.3f}"
    )


def captions(name: str, folder: Path, names: Sequence[str]) -> list[list[str]]:
    """Return the words of a model's best caption of some pictures of `folder/images.tar`."""
    model = gradcam_core.load(name, "captioning")
    said = {
        file: model.predict(model.encode(picture), k=1)[0].text.split()
        for file, picture in tqdm(pictures(folder, names), folder.name, total=len(names))
    }
    return [said[file] for file in names]


def metrics(said: Sequence[Sequence[str]], people: Sequence[Sequence[Sequence[str]]]) -> dict:
    """Return BLEU-1 to 4 and CIDEr of sentences against those of people, all split into words."""
    ours = {i: [" ".join(words)] for i, words in enumerate(said)}
    theirs = {i: [" ".join(words) for words in sentences] for i, sentences in enumerate(people)}
    bleu, _ = Bleu(4).compute_score(theirs, ours, verbose=0)
    cider, _ = Cider().compute_score(theirs, ours)
    return {f"BLEU-{n}": score for n, score in enumerate(bleu, 1)} | {"CIDEr": float(cider)}


def pictures(folder: Path, names: Collection[str]) -> Iterator[tuple[str, Image.Image]]:
    """Give the pictures of these names in `folder/images.tar`, RGB."""
    with tarfile.open(folder / "images.tar") as archive:
        for member in archive:
            name = member.name.removeprefix("images/")
            if name in names:
                data = io.BytesIO(archive.extractfile(member).read())
                yield name, Image.open(data).convert("RGB")


if __name__ == "__main__":
    typer.run(main)
