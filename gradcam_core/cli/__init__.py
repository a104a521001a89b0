"""The command line: `gradcam COMMAND ...`, or `python -m gradcam_core COMMAND ...`."""

import io
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gradcam_core.version import __version__

# Command -> the file that has a function of this name. It is imported when the command is called.
_COMMANDS = {
    "explain": "explain",
    "evaluate": "evaluate",
    "batch": "batch",
    "localise": "studies",
    "adversarial": "studies",
    "bias": "studies",
    "models": "catalog",
    "methods": "catalog",
}


class _LazyGroup(TyperGroup):
    """Imports a command when it is called; prints expected errors without a traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"{__name__}.{_COMMANDS[cmd_name]}")
        command = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        command.command(cmd_name)(getattr(module, cmd_name))
        return typer.main.get_command(command)

    def invoke(self, ctx: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # File names and class names may have characters that the terminal's encoding lacks.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # such as `gradcam models | head`
            raise
        except (ValueError, OSError) as error:
            typer.echo(error, err=True)
            raise typer.Exit(1) from None


app = typer.Typer(cls=_LazyGroup, no_args_is_help=True, add_completion=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gradcam {__version__}")
        raise typer.Exit


@app.callback()
def gradcam(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version"),
    ] = False,
) -> None:
    """Grad-CAM: why does the network say that?"""
