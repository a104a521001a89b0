"""Finding photos on this machine."""

import glob
from pathlib import Path

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm"}


def find_photos(name: str, excluded: Path | None = None) -> list[Path]:
    """Return the photos that a path or a pattern names, sorted.

    Args:
        name: A photo; a folder, which is searched recursively but for hidden files; or a pattern
            such as "photos/*.jpg". A photo need not exist.
        excluded: A folder of results in it, which are not photos to explain.

    Raises:
        ValueError: There are no photos in the folder, or none that match the pattern.
    """
    path = Path(name)
    if path.is_dir():
        found = [
            file
            for file in path.rglob("*")
            if not any(part.startswith(".") for part in file.relative_to(path).parts)
            and (excluded is None or excluded.resolve() not in file.resolve().parents)
        ]
    elif glob.has_magic(name) and not path.exists():
        # Path.glob takes no absolute pattern.
        found = [Path(match) for match in glob.glob(name, recursive=True)]  # noqa: PTH207
    else:
        return [path]
    found = sorted(file for file in found if file.suffix.lower() in SUFFIXES)
    if not found:
        where = f"in the folder {path}" if path.is_dir() else f"that match {name}"
        raise ValueError(f"There are no photos {where}.")
    return found
