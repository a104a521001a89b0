"""Files and folders, here or in a store that pyarrow reaches: photos are read, results written."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from gradcam_core.batch.photos import (
    STANDARD_INPUT,
    SUFFIXES,
    find_photos,
    names_from_stdin,
)

_COLUMN = "source"  # of a Parquet file that lists photos


@dataclass(frozen=True)
class Location:
    """A file or folder, by its name for the user; can be pickled.

    Attributes:
        uri: A local path, or an address such as `s3://bucket/a folder`, not percent-encoded.
    """

    uri: str

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine."""
        return "://" not in self.uri

    @property
    def text(self) -> str:
        r"""The name as UTF-8, with \udc80 to \udcff for other bytes of a local path."""
        return self.uri.encode("utf-8", "backslashreplace").decode()

    @property
    def path(self) -> str:
        """The path in the file system."""
        return self._open()[1]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def __truediv__(self, name: str) -> "Location":
        """Return a file or folder in this folder."""
        return self.at(f"{self.path}/{name}")

    def at(self, path: str) -> "Location":
        """Return the location of another path in the same file system."""
        if self.is_local:
            return Location(path)
        address, mark, options = self.uri.partition("?")
        return Location(f"{address.rstrip('/').removesuffix(self.path)}{path}{mark}{options}")

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link of this machine."""
        return self.is_local and Path(self.uri).is_symlink()

    def exists(self) -> bool:
        """Tell whether it exists."""
        system, path = self._open()
        return system.get_file_info(path).type != fs.FileType.NotFound

    def files(self) -> list["Location"]:
        """Return all files in this folder, recursively, sorted; none if there is no such folder."""
        system, path = self._open()
        selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
        found = system.get_file_info(selector)
        return [self.at(path) for path in sorted(each.path for each in found if each.is_file)]

    def read(self) -> bytes:
        """Return a file's content.

        Raises:
            OSError: It cannot be read.
        """
        system, path = self._open()
        with system.open_input_stream(path) as stream:
            content: bytes = stream.read()
        return content

    def write(self, content: bytes | pa.Buffer) -> None:
        """Write a file as a whole: under another name until it is complete.

        Raises:
            OSError: It cannot be written.
        """
        system, path = self._open()
        folder, _, name = path.rpartition("/")
        system.create_dir(folder)
        unfinished = f"{folder}/.{name}.unfinished"
        with system.open_output_stream(unfinished) as stream:
            stream.write(content)
        system.move(unfinished, path)

    def remove(self) -> None:
        """Delete a file."""
        system, path = self._open()
        system.delete_file(path)

    def _open(self) -> tuple[fs.FileSystem, str]:
        """Return the file system and the path in it.

        Raises:
            ValueError: There is no such file system.
            OSError: It cannot be reached.
        """
        if self.is_local:
            return fs.LocalFileSystem(), str(Path(self.uri).absolute())
        scheme, _, rest = self.uri.partition("://")
        path, mark, options = rest.partition("?")
        address = f"{scheme}://{quote(path.rstrip('/'), safe='/:@')}{mark}{options}"
        system, path = fs.FileSystem.from_uri(address)
        return system, path


def list_photos(name: str, out: Location) -> list[Location]:
    """Return the photos that a user names, each once.

    Args:
        name: A folder, which is searched recursively; a pattern ("photos/*.jpg"); a text file with
            a photo per line (.txt); a Parquet file with a column "source"; or "-" for names from
            standard input. Relative names in a list are relative to the working directory. Empty
            entries are ignored.
        out: The folder for the results, which are not photos to explain.

    Raises:
        ValueError: There are none, or the list cannot be used.
        OSError: It cannot be read.
    """
    if name == STANDARD_INPUT:
        listed = [_listed(each) for each in names_from_stdin()]
        if not listed:
            raise ValueError("There are no names on standard input.")
        return list(dict.fromkeys(listed))
    location = Location(name)
    bare = name if location.is_local else name.partition("?")[0]
    if bare.endswith((".parquet", ".txt")):
        if not location.exists():
            raise ValueError(f"There is no file {name}.")
        read = _column if bare.endswith(".parquet") else _lines
        found = [_listed(text.strip()) for text in read(location) if text and text.strip()]
    elif location.is_local:
        if location.path == out.path:
            raise ValueError(
                f"The results need a folder of their own, such as {(out / 'results').uri}."
            )
        found = [_listed(str(file)) for file in find_photos(name, Path(out.uri))]
    else:
        found = [each for each in _match(location) if not each.path.startswith(f"{out.path}/")]
    if not found:
        raise ValueError(f"There are no photos in {name}.")
    return list(dict.fromkeys(found))


def _column(file: Location) -> list[str | None]:
    """Return what a Parquet file lists."""
    try:
        table = pq.read_table(pa.BufferReader(file.read()))
    except pa.ArrowInvalid:
        raise ValueError(f"{file.name} is not a Parquet file.") from None
    if _COLUMN not in table.column_names:
        raise ValueError(f"{file.name} has no column '{_COLUMN}'.")
    listed: list[str | None] = table[_COLUMN].to_pylist()
    if not all(text is None or isinstance(text, str) for text in listed):
        raise ValueError(f"The column '{_COLUMN}' of {file.name} is not text.")
    return listed


def _lines(file: Location) -> list[str]:
    """Return what a text file lists."""
    try:
        return file.read().decode("utf-8-sig").splitlines()  # Windows adds a byte order mark
    except UnicodeDecodeError:
        raise ValueError(f"{file.name} is not UTF-8: please save it as that.") from None


def _match(location: Location) -> list[Location]:
    """Return the photos in a folder of a store, or those that match a pattern."""
    folder, pattern = location.path, "*"
    wildcards = [folder.find(sign) for sign in "*[" if sign in folder]
    if wildcards and not location.exists():
        folder = folder[: min(wildcards)].rpartition("/")[0]
        pattern = location.path[len(folder) + 1 :]
    return [
        file
        for file in location.at(folder).files()
        if fnmatch.fnmatchcase(file.path[len(folder) + 1 :], pattern)
        and Path(file.name).suffix.lower() in SUFFIXES
        and "/." not in file.path[len(folder) :]
    ]


def _listed(name: str) -> Location:
    """Return a photo of this machine by its absolute path, any other by its address."""
    location = Location(name)
    return Location(location.path) if location.is_local else location
