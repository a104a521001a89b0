"""The cache folders of huggingface_hub, filled by hand."""

from pathlib import Path


def snapshot(cache: Path, name: str) -> Path:
    """Return the folder for the files of model "owner/name"."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    return repository / "snapshots" / ("0" * 40)
