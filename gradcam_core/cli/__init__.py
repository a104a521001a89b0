"""The command line: `gradcam COMMAND ...`, or `python -m gradcam_core COMMAND ...`."""

import io
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from gradcam_core.cli.output import message, printable
from gradcam_core.startup import raise_at_interrupt
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


class _Command(TyperCommand):
    """Refuses an option that is given twice: only the last would count."""

    def make_parser(self, ctx: Any) -> Any:
        parser: Any = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_once(args: list[str]) -> Any:
            options, rest, order = parse(args)
            option: Any
            for option in order:
                if order.count(option) > 1:
                    raise typer.BadParameter("It is given more than once.", ctx, option)
            return options, rest, order

        parser.parse_args = parse_once
        return parser


class _LazyGroup(TyperGroup):
    """Imports a command when it is called; prints expected errors without a traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"{__name__}.{_COMMANDS[cmd_name]}")
        command = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        command.command(cmd_name, cls=_Command)(getattr(module, cmd_name))
        return typer.main.get_command(command)

    def invoke(self, ctx: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # Class names may have characters that the terminal's encoding lacks.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            raise_at_interrupt()
            result = super().invoke(ctx)
            sys.stdout.flush()
        except typer.BadParameter as error:
            error.message = printable(error.message)
            raise
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:  # such as `gradcam models | head`
            raise
        except (ValueError, OSError) as error:
            typer.echo(message(error), err=True)
            _drop_unwritten_output()
            raise typer.Exit(1) from None
        return result


def _drop_unwritten_output() -> None:
    """Let Python end without a second error where standard output is on a full disk."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(cls=_LazyGroup, no_args_is_help=True)


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
