"""What several commands share: their options, the photos that are named, and the first check."""

import inspect
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer
from PIL import Image

from gradcam_core.batch.photos import STANDARD_INPUT, find_photos, names_from_stdin
from gradcam_core.cli.output import Report, write_file
from gradcam_core.explain import Explainer, check
from gradcam_core.explanation import Explanation
from gradcam_core.figure import MOST_ROWS, PanelName, Size, figure
from gradcam_core.methods import DEFAULT_METHOD, METHODS
from gradcam_core.models.info import TASKS
from gradcam_core.models.model_cache import load
from gradcam_core.models.registry import describe, models
from gradcam_core.query import Query

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
FIGURE_FORMATS = (".pdf", ".png", ".svg")


def no_address(value: Any) -> Any:
    """Refuse addresses where files of this machine are meant."""
    for each in value if isinstance(value, list) else [value]:
        if each is not None and _ADDRESS.match(str(each)) and not Path(each).exists():
            raise typer.BadParameter(f"{each} is an address: name a file of this machine.")
    return value


def _completing(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


# Field of Query -> its option. The defaults are those of Query.
QUERY_OPTIONS: dict[str, Any] = {
    "task": Annotated[
        str,
        typer.Option(
            help="classification, captioning or vqa", autocompletion=_completing(lambda: TASKS)
        ),
    ],
    "target": Annotated[
        str | None, typer.Option(help="Class, caption or answer; the model's prediction if omitted")
    ],
    "question": Annotated[str | None, typer.Option(help="The question, for vqa")],
    "model": Annotated[
        str | None,
        typer.Option(
            help="A name from `gradcam models`, a folder, or an id on the Hugging Face Hub",
            autocompletion=_completing(lambda: [info.name for info in models()]),
        ),
    ],
    "layer": Annotated[str | None, typer.Option(help="Target layer; the last if omitted")],
    "method": Annotated[
        str,
        typer.Option(
            help="A name from `gradcam methods`", autocompletion=_completing(lambda: METHODS)
        ),
    ],
    "guided": Annotated[
        bool, typer.Option("--guided", help="Also compute Guided Backprop and Guided Grad-CAM")
    ],
    "detail": Annotated[
        float,
        typer.Option(help="1 to 2: a finer map, of the picture enlarged by this factor"),
    ],
}

_REPORT_OPTIONS: dict[str, tuple[Any, Any]] = {
    "json": (
        Annotated[bool, typer.Option("--json", help="Print JSON, an object in each line")],
        False,
    ),
    "quiet": (
        Annotated[bool, typer.Option("--quiet", help="No progress bar, no line for each photo")],
        False,
    ),
}

_FIGURE_OPTIONS: dict[str, tuple[Any, Any]] = {
    "figure": (
        Annotated[
            Path | None,
            typer.Option(
                callback=no_address,
                help=f"File for a figure with a row per photo, at most {MOST_ROWS}: .pdf, .svg or "
                ".png",
            ),
        ],
        None,
    ),
    "panels": (
        Annotated[
            str | None,
            typer.Option(help=f"Its panels, joined by commas: {', '.join(get_args(PanelName))}"),
        ],
        None,
    ),
    "size": (
        Annotated[
            str,
            typer.Option(
                help=f"Its size: {', '.join(get_args(Size))}",
                autocompletion=_completing(lambda: get_args(Size)),
            ),
        ],
        "page",
    ),
}

PhotosArgument = Annotated[
    list[str],
    typer.Argument(
        callback=no_address,
        help="Photos, folders of photos, or quoted patterns such as 'a/*.jpg'; - reads names from "
        "standard input, one in a line",
    ),
]
PhotoSetArgument = Annotated[
    str,
    typer.Argument(
        callback=no_address, help="A folder of photos, a quoted pattern, or - as for `explain`"
    ),
]
OutOption = Annotated[
    Path, typer.Option(callback=no_address, help="Folder for the results, with summary.csv in it")
]
SkipOption = Annotated[
    bool,
    typer.Option(
        "--skip-existing", help="Skip photos that have results of the same query in the table"
    ),
]


@dataclass
class FigureFile:
    """The file of a figure with a row for each photo, if there is to be one."""

    file: Path | None
    panels: tuple[PanelName, ...] | None
    size: Size
    rows: list[Explanation] = field(default_factory=list)

    @classmethod
    def of_options(cls, figure: Path | None, panels: str | None, size: str) -> "FigureFile":
        """Check the values of the options.

        Raises:
            typer.BadParameter: They cannot be used.
        """
        file = figure
        if file is not None and file.suffix.lower() not in FIGURE_FORMATS:
            raise typer.BadParameter(f"--figure {file}: use .pdf, .svg or .png.")
        if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
            raise typer.BadParameter(f"--figure {file}: this cannot be a file.")
        names = None if panels is None else [each.strip() for each in panels.split(",")]
        for name in names or ():
            if name not in get_args(PanelName):
                known = ", ".join(get_args(PanelName))
                raise typer.BadParameter(f"There is no panel '{name}'. Known: {known}.")
        if size not in get_args(Size):
            known = ", ".join(get_args(Size))
            raise typer.BadParameter(f"There is no size '{size}'. Known: {known}.")
        return cls(file, cast(Any, names and tuple(names)), cast(Size, size))

    def check(self, photos: Sequence[Path]) -> None:
        """Refuse more photos than a figure has rows, and to replace one of them."""
        if self.file is None:
            return
        if len(photos) > MOST_ROWS:
            raise typer.BadParameter(
                f"A figure has at most {MOST_ROWS} rows, and these are {len(photos)} photos."
            )
        not_a_photo(self.file, photos)

    def add(self, explanation: Explanation) -> None:
        """Add a row, if there is to be a figure."""
        if self.file is not None:
            self.rows.append(explanation)

    def write(self) -> None:
        """Write the figure, if there are rows for it."""
        if self.file is not None and self.rows:
            drawn = figure(self.rows, panels=self.panels, size=self.size)
            write_figure(drawn, self.file)


def write_figure(drawn: "Figure", file: Path) -> None:
    """Write a figure in the format of its file's name, as a whole."""
    content = BytesIO()
    drawn.savefig(content, format=file.suffix[1:].lower())
    write_file(file, content.getvalue())


def not_a_photo(file: Path, photos: Iterable[Path]) -> None:
    """Refuse to write to a file that is one of the photos."""
    if file.exists() and any(photo.exists() and file.samefile(photo) for photo in photos):
        raise typer.BadParameter(f"{file} is one of the photos: use another name.")


def command_options(
    names: Iterable[str] = tuple(QUERY_OPTIONS),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options in place of its arguments of type Query, Report and FigureFile.

    Args:
        names: The fields of `Query` that can be set.
    """
    query_options = {
        each.name: (QUERY_OPTIONS[each.name], each.default)
        for each in fields(Query)
        if each.name in names
    }
    made: dict[type, tuple[dict[str, tuple[Any, Any]], Callable[..., Any]]] = {
        Query: (query_options, _query),
        Report: (_REPORT_OPTIONS, Report),
        FigureFile: (_FIGURE_OPTIONS, FigureFile.of_options),
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        wanted = {
            name: made[each.annotation]
            for name, each in signature.parameters.items()
            if isinstance(each.annotation, type) and each.annotation in made
        }

        @wraps(command)
        def run(**values: Any) -> None:
            found = {
                name: make(**{option: values.pop(option) for option in options})
                for name, (options, make) in wanted.items()
            }
            command(**values, **found)

        options = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for group, _ in wanted.values()
            for name, (annotation, default) in group.items()
        ]
        # Typer reads the options from these two.
        own = [each for name, each in signature.parameters.items() if name not in wanted]
        run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in [*own, *options]}
        return run

    return decorate


def _query(**values: Any) -> Query:
    try:
        return Query(**values)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def begin(query: Query) -> tuple[Query, Explanation]:
    """Load the query's model and try the query, so that one that cannot be used is refused once.

    Returns:
        The query with the model's name, and the explanation of some picture, which has the full
        names of layer and target.

    Raises:
        ValueError: There is no such model for this task, or the query cannot be answered for any
            photo.
        OSError: There is no such folder, or the hub cannot be reached.
    """
    name = query.model_name
    info, here = describe(name)
    if not here:
        typer.echo(
            f"{name} is not on this machine: {info.download_mb:,} MB, licence {info.licence}.",
            err=True,
        )
        # The library logs the download once the hub has answered.
        logging.basicConfig(format="%(message)s")
        logging.getLogger("gradcam_core").setLevel(logging.INFO)
    query = replace(query, model=name)
    check(query, load(name, query.task))
    method = DEFAULT_METHOD if METHODS[query.method].slow else query.method
    # Not of one colour: some models divide by the spread of the colours.
    picture = Image.linear_gradient("L").convert("RGB")
    tried = Explainer().explain(picture, replace(query, method=method))
    return query, tried


def photos_named(names: Sequence[str], excluded: Path | None = None) -> list[Path]:
    """Return the photos that a user names, each once; see `find_photos`.

    Args:
        names: "-" stands for names from standard input: of files and folders, no patterns.
        excluded: A folder of results, which are not photos to explain.

    Raises:
        ValueError: There are none.
    """
    found: list[Path] = []
    for name in names:
        if name != STANDARD_INPUT:
            found += find_photos(name, excluded)
            continue
        for each in names_from_stdin():
            found += find_photos(each, excluded) if Path(each).is_dir() else [Path(each)]
    if not found:
        raise ValueError("There are no names on standard input.")
    return list(dict.fromkeys(found))
