"""What several commands share: the options that make a Query, and loading its model."""

import inspect
import logging
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import wraps
from typing import Annotated, Any

import typer

from gradcam_core.models.model_cache import load
from gradcam_core.models.registry import describe
from gradcam_core.query import Query

# Field of Query -> its option. The defaults are those of Query.
QUERY_OPTIONS: dict[str, Any] = {
    "task": Annotated[str, typer.Option(help="classification, captioning or vqa")],
    "target": Annotated[
        str | None, typer.Option(help="Class, caption or answer; the model's prediction if omitted")
    ],
    "question": Annotated[str | None, typer.Option(help="The question, for vqa")],
    "model": Annotated[
        str | None,
        typer.Option(
            help="A name from `gradcam models`, a folder, or an id on the Hugging Face Hub"
        ),
    ],
    "layer": Annotated[str | None, typer.Option(help="Target layer; the last if omitted")],
    "method": Annotated[str, typer.Option(help="A name from `gradcam methods`")],
    "guided": Annotated[
        bool, typer.Option("--guided", help="Also compute Guided Backprop and Guided Grad-CAM")
    ],
    "detail": Annotated[
        float,
        typer.Option(help="1 to 2: a finer map, of the picture enlarged by this factor"),
    ],
}


def query_options(
    names: Iterable[str] = tuple(QUERY_OPTIONS),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options in place of its keyword argument `query`.

    Args:
        names: The fields of `Query` that can be set.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=QUERY_OPTIONS[field.name],
            )
            for field in fields(Query)
            if field.name in names
        ]

        @wraps(command)
        def run(**values: Any) -> None:
            query = Query(**{option.name: values.pop(option.name) for option in options})
            command(**values, query=query)

        # Typer reads the options from these two.
        signature = inspect.signature(command)
        own = [each for each in signature.parameters.values() if each.name != "query"]
        run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in [*own, *options]}
        return run

    return decorate


def load_model(query: Query) -> Query:
    """Load the query's model, after announcing its download; return the query with its name.

    Raises:
        ValueError: There is no such model for this task.
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
    load(name, query.task)
    return replace(query, model=name)
