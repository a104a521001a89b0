"""Train all captioners and answerers and name the concepts, one after the other.

    python -m training ../shared/data --work ../scratch

An interrupted run resumes: features and checkpoints are kept in the work folder, and finished
steps are only written again. Empty the folder to start over.
"""

from pathlib import Path
from typing import Annotated

import typer

from training import captioning, channels, vqa


def main(
    data: Annotated[Path, typer.Argument(help="Folder of all data sets")],
    work: Annotated[Path, typer.Option(help="Folder for features and checkpoints")],
) -> None:
    """Name concepts, then train captioners and answerers; each follows what it starts from."""
    channels.main(data, work)
    for backbone in (0, 2):
        captioning.main(data, work, backbone)
    vqa.main(data, work)
    vqa.main(data, work, coattention=True)
    vqa.main(data, work, backbone=2)


if __name__ == "__main__":
    typer.run(main)
