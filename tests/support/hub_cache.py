"""The folders in which huggingface_hub keeps what it downloaded, filled by hand."""

from pathlib import Path


def snapshot(cache: Path, name: str) -> Path:
    """Return the folder where the files of "owner/name" belong."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    return repository / "snapshots" / ("0" * 40)
