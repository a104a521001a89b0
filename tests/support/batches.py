"""Photos for batches, and the tables that come of them."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

CATS = [f"cat {number}.png" for number in range(6)]


@pytest.fixture(scope="session")
def folder(cat_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos, two of them in a subfolder, and another file."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deeper").mkdir()
    cat = Image.open(cat_file).convert("RGB")
    for number in range(6):
        name = f"{'deeper/' if number > 3 else ''}cat {number}.png"
        cat.rotate(number).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


def table(out: str | Path, kind: str = "results") -> list[dict[str, Any]]:
    """All rows, from whatever store."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gradcam_core.batch.storage import Location

    files = (Location(str(out)) / kind).files()
    return [
        row for file in files for row in pq.read_table(pa.BufferReader(file.read())).to_pylist()
    ]


def names(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(Path(row["source"]).name for row in rows)
