"""Folders, here or where pyarrow's file systems reach: photos are read there, results written."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from gradcam_core.cli.options import SUFFIXES, files_of

_COLUMN = "source"  # of a Parquet file that lists photos


@dataclass(frozen=True)
class Place:
    """A file or folder, by what a user calls it; can be sent to other machines.

    Attributes:
        uri: A local path, or an address as `s3://bucket/a folder`, its characters as they are.
    """

    uri: str

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine."""
        return "://" not in self.uri

    def opened(self) -> tuple[fs.FileSystem, str]:
        """Return the file system that it is in, and its path there.

        Raises:
            ValueError: There is no such file system.
            OSError: It cannot be reached.
        """
        if self.is_local:
            return fs.LocalFileSystem(), str(Path(self.uri).absolute())
        scheme, _, rest = self.uri.partition("://")
        path, mark, options = rest.partition("?")
        system, path = fs.FileSystem.from_uri(f"{scheme}://{quote(path)}{mark}{options}")
        return system, path

    def inside(self, path: str) -> "Place":
        """Return a place by its path in the same file system."""
        if self.is_local:
            return Place(path)
        address, mark, options = self.uri.partition("?")
        return Place(f"{address.partition('://')[0]}://{path}{mark}{options}")

    def below(self, *names: str) -> "Place":
        """Return a place in this folder."""
        if self.is_local:
            return Place("/".join([self.uri.rstrip("/"), *names]))
        address, mark, options = self.uri.partition("?")
        return Place("/".join([address.rstrip("/"), *names]) + mark + options)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.opened()[1].rstrip("/").rpartition("/")[2]

    def exists(self) -> bool:
        """Tell whether it is there."""
        system, path = self.opened()
        return system.get_file_info(path).type != fs.FileType.NotFound

    def files(self) -> list["Place"]:
        """Return all files in this folder, to the bottom, sorted; none if it is not there."""
        system, path = self.opened()
        selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
        found = system.get_file_info(selector)
        return [self.inside(each.path) for each in sorted(found, key=_path) if each.is_file]

    def read(self) -> bytes:
        """Return a file's content.

        Raises:
            OSError: It cannot be read.
        """
        system, path = self.opened()
        with system.open_input_stream(path) as stream:
            content: bytes = stream.read()
        return content

    def write(self, content: bytes | pa.Buffer) -> None:
        """Write a file, as a whole: until all is written, it has another name.

        Raises:
            OSError: It cannot be written.
        """
        system, path = self.opened()
        folder, _, name = path.rpartition("/")
        system.create_dir(folder)
        unfinished = f"{folder}/.{name}.unfinished"
        with system.open_output_stream(unfinished) as stream:
            stream.write(content)
        system.move(unfinished, path)

    def remove(self) -> None:
        """Delete a file."""
        system, path = self.opened()
        system.delete_file(path)

    def clear(self) -> None:
        """Make it an empty folder."""
        system, path = self.opened()
        system.create_dir(path)
        system.delete_dir_contents(path)


def photos(named: str, out: Place) -> list[Place]:
    """Return the photos that a user names, each once.

    Args:
        named: A folder, which is searched to the bottom; a pattern ("photos/*.jpg"); a list, a
            photo a line (.txt); or a Parquet file with a column "source". A list names photos
            by what they are from here, not from the list; where it names none, it is passed over.
        out: Where the results go: none of them is a photo to explain.

    Raises:
        ValueError: There are none, or it is no such list.
        OSError: It cannot be read.
    """
    place = Place(named)
    bare = named.partition("?")[0] if not place.is_local else named
    if bare.endswith((".parquet", ".txt")):
        if not place.exists():
            raise ValueError(f"There is no file {named}.")
        read = _column if bare.endswith(".parquet") else _lines
        found = [_named(text.strip()) for text in read(place) if text and text.strip()]
    elif place.is_local:
        if place.opened()[1] == out.opened()[1]:
            raise ValueError(
                f"Results want a folder of their own, such as {out.below('results').uri}."
            )
        found = [_named(str(file)) for file in files_of(named, Path(out.uri))]
    else:
        found = _matching(place)
        results = f"{out.opened()[1].rstrip('/')}/"
        found = [each for each in found if not each.opened()[1].startswith(results)]
    if not found:
        raise ValueError(f"There are no photos in {named}.")
    odd = [each.uri for each in found if each.uri != each.uri.encode("utf-8", "replace").decode()]
    if odd:
        raise ValueError(f"The name {odd[0]!r} is not in UTF-8: please rename that photo.")
    return list(dict.fromkeys(found))


def _column(place: Place) -> list[str | None]:
    """Return what a Parquet file lists."""
    try:
        table = pq.read_table(pa.BufferReader(place.read()))
    except pa.ArrowInvalid:
        raise ValueError(f"{place.name} is not a Parquet file.") from None
    if _COLUMN not in table.column_names:
        raise ValueError(f"{place.name} has no column '{_COLUMN}'.")
    listed: list[str | None] = table[_COLUMN].to_pylist()
    if not all(text is None or isinstance(text, str) for text in listed):
        raise ValueError(f"The column '{_COLUMN}' of {place.name} is not text.")
    return listed


def _lines(place: Place) -> list[str]:
    """Return what a text lists."""
    try:
        return place.read().decode("utf-8-sig").splitlines()  # Windows marks its files
    except UnicodeDecodeError:
        raise ValueError(f"{place.name} is not text in UTF-8: please save it as that.") from None


def _matching(place: Place) -> list[Place]:
    """Return the photos in a folder of a store, or those that fit a pattern."""
    path = place.opened()[1]
    folder, pattern = path.rstrip("/"), "*"
    if any(sign in path for sign in "*[") and not place.exists():
        folder = path[: min(path.find(sign) for sign in "*[" if sign in path)].rpartition("/")[0]
        pattern = path[len(folder) + 1 :]
    found = (each.opened()[1] for each in place.inside(folder).files())
    return [
        place.inside(each)
        for each in found
        if fnmatch.fnmatchcase(each[len(folder) + 1 :], pattern)
        and Path(each).suffix.lower() in SUFFIXES
        and "/." not in each[len(folder) :]
    ]


def _named(text: str) -> Place:
    """Return a listed photo by what it is called from everywhere on its machine."""
    place = Place(text)
    return Place(str(Path(text).absolute())) if place.is_local else place


def _path(found: fs.FileInfo) -> str:
    path: str = found.path
    return path
