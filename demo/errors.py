"""Whatever goes wrong becomes one sentence in the page."""

import functools
import html
import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

_log = logging.getLogger(__name__)

_FAILED = "Something went wrong in the demo itself. It has been logged; please try another picture."


def in_sentences(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Show what a handler raises as a toast, without a traceback, and go on."""

    @functools.wraps(handler)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except gr.Error:
            raise
        except (ValueError, FileNotFoundError, ConnectionError) as error:
            # Gradio shows the message as HTML, and it may repeat what the user typed.
            raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None
        except Exception:
            _log.exception("A request failed")
            raise gr.Error(_FAILED, print_exception=False) from None

    return wrapped
