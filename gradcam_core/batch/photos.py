"""Finding photos on this machine."""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from gradcam_core.image.decode import suffixes

SUFFIXES = suffixes()
STANDARD_INPUT = "-"  # in place of a name: names are read from there


def names_from_stdin() -> list[str]:
    """Return the names on standard input: one in a line, or ended by zero bytes (`find -print0`).

    They need not be UTF-8.
    """
    content = sys.stdin.buffer.read()
    if b"\0" in content:
        names = content.split(b"\0")
    else:
        names = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(name) for name in names if name.strip()]


def find_photos(name: str, excluded: Path | None = None) -> list[Path]:
    """Return the photos that a path or a pattern names, sorted.

    Args:
        name: A photo; a folder, which is searched recursively except for hidden files; or a pattern
            such as "photos/*.jpg" or "photos/**/*.jpg". A photo need not exist. Symbolic links are
            followed; a folder that is reached several times is searched once.
        excluded: A folder of results, which are not photos to explain.

    Raises:
        ValueError: There are no photos in the folder, or none that match the pattern.
    """
    path = Path(name)
    if path.is_dir():
        found = list(_files(path, excluded))
    elif not glob.has_magic(name) or path.exists():
        return [path]
    elif "**" in path.parts:
        first = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
        folder, pattern = Path(*path.parts[:first]), path.parts[first:]
        found = [file for file in _files(folder) if _fits(file.relative_to(folder).parts, pattern)]
    else:  # Path.glob takes no absolute pattern
        found = [Path(match) for match in glob.glob(name)]  # noqa: PTH207
    found = sorted(file for file in found if file.suffix.lower() in SUFFIXES)
    if not found:
        where = f"in the folder {path}" if path.is_dir() else f"that match {name}"
        raise ValueError(f"There are no photos {where}.")
    return found


def _files(folder: Path, excluded: Path | None = None) -> Iterator[Path]:
    """Yield the files in a folder recursively, except for hidden ones.

    Links to folders are followed last, so that each folder is found by its own path if possible.
    """
    results = None if excluded is None else excluded.resolve()
    folders, links, searched = [folder], list[Path](), set[Path]()
    while folders or links:
        current = folders.pop() if folders else links.pop(0)
        real = current.resolve()
        if real in searched or results in (real, *real.parents):
            continue
        searched.add(real)
        for name in os.listdir(current) if os.access(current, os.R_OK) else ():  # noqa: PTH208
            path = current / name
            if name.startswith("."):
                continue
            if not path.is_dir():
                yield path
            elif path.is_symlink():
                links.append(path)
            else:
                folders.append(path)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Match the parts of a path; "**" stands for any number of them."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])
