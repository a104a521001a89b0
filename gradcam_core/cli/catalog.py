"""gradcam models, gradcam methods: what there is to choose from."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

import gradcam_core

_JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]


def models(as_json: _JsonOption = False) -> None:
    """List the models: name, task, title, year, backbone, download, licence."""
    found = gradcam_core.models()
    if as_json:
        typer.echo(json.dumps([asdict(info) for info in found], indent=1))
        return
    print_table(
        [
            info.name,
            info.task,
            info.title,
            str(info.year),
            info.backbone,
            f"{info.download_mb:,} MB to download" if info.download_mb else "embedded",
            info.licence,
        ]
        for info in found
    )


def methods(as_json: _JsonOption = False) -> None:
    """List the methods: name, title, paper, and what each does."""
    found = gradcam_core.methods().items()
    if as_json:
        rows = [
            {"name": name, "title": each.title, "paper": each.paper, "about": each.about}
            for name, each in found
        ]
        typer.echo(json.dumps(rows, indent=1))
        return
    print_table([name, each.title, each.paper, each.about] for name, each in found)


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Print rows with columns that line up, also with characters that take two places or none."""
    cells = list(rows)
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [
            text + " " * (width - _width(text)) for text, width in zip(row, widths, strict=True)
        ]
        typer.echo("  ".join(padded).rstrip())


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
