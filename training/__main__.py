"""Make all the weights of this project's own heads, one after the other.

    python -m training ../shared/data --work ../scratch

Stopped, it goes on where it was: features and checkpoints are kept in the folder for work, and
what is done there is only written again. Empty it to begin anew.
"""

from pathlib import Path
from typing import Annotated

import typer

from training import captioning, channels, vqa


def main(
    data: Annotated[Path, typer.Argument(help="Folder of all data sets")],
    work: Annotated[Path, typer.Option(help="Folder for features and checkpoints")],
) -> None:
    """Name channels, train the captioners and the answerers; what starts from another is later."""
    channels.main(data, work)
    for backbone in (0, 2):
        captioning.main(data, work, backbone)
    vqa.main(data, work)
    vqa.main(data, work, coattention=True)
    vqa.main(data, work, backbone=2)


if __name__ == "__main__":
    typer.run(main)
