"""The log: lines with time and level, as text or JSON, on standard error.

What came from a client is escaped and shortened, so that nobody can write lines of their own.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal

_MAX_TEXT = 200  # characters of a value
_MAX_MESSAGE = 2000


def configure(style: Literal["text", "json"]) -> None:
    """Log to standard error; of other packages warnings and errors only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if style == "json" else _TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in ("demo", "gradcam_core"):
        logging.getLogger(name).setLevel(logging.INFO)
    logging.captureWarnings(True)


def include_web_server() -> None:
    """Give the log the messages of uvicorn, which has set up one of its own before it starts."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def write(logger: logging.Logger, level: int, message: str, **facts: Any) -> None:
    """Log a message with facts; those in JSON have keys of their own."""
    logger.log(level, _Event(message, facts))


class _Event:
    """A message with facts; other formatters than ours write it as text."""

    def __init__(self, message: str, facts: Mapping[str, Any]) -> None:
        self.message = message
        self.facts = facts

    def __str__(self) -> str:
        return " ".join(
            (self.message, *(f"{key}={_text(each)}" for key, each in self.facts.items()))
        )


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = _printable(record.getMessage())[:_MAX_MESSAGE]
        lines = [f"{_time(record)} {record.levelname} {record.name}: {message}"]
        if record.exc_info:
            # Indented: a line of a traceback may hold what a client sent.
            trace = self.formatException(record.exc_info).splitlines()
            lines += [f"    {_printable(line)}" for line in trace]
        return "\n".join(lines)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = record.msg if isinstance(record.msg, _Event) else _Event(record.getMessage(), {})
        line = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": event.message[:_MAX_MESSAGE],
            **{key: _short(value) for key, value in event.facts.items()},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03}Z"


def _short(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else str(value)[:_MAX_TEXT]


def _text(value: Any) -> str:
    text = str(_short(value))
    plain = text.isascii() and text.isprintable() and not set(text) & set(" \"'\\=")
    return text if plain and text else json.dumps(text)


def _printable(text: str) -> str:
    """Return a text with control characters escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
