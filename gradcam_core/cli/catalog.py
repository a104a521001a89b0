"""gradcam models, gradcam methods: what there is to choose from."""

import typer

import gradcam_core


def models() -> None:
    """List the models: name, task, title, year, backbone, download, licence."""
    for info in gradcam_core.models():
        size = f"{info.download_mb:,} MB to download" if info.download_mb else "embedded"
        typer.echo(
            f"{info.name:18}  {info.task:14}  {info.title:35}  {info.year}  "
            f"{info.backbone:38}  {size:20}  {info.licence}"
        )


def methods() -> None:
    """List the methods: name, title, paper, and what each does."""
    for name, method in gradcam_core.methods().items():
        typer.echo(f"{name:12}  {method.title:12}  {method.paper:32}  {method.about}")
