"""Whatever goes wrong in a call over the API becomes one sentence."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from demo.handlers import FAILED
from demo.hosting.cancellation import Stopped, stoppable

_log = logging.getLogger(__name__)


def in_sentences(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Let what a handler raises reach the caller as one sentence, without a traceback."""

    @functools.wraps(handler)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with stoppable():
                return handler(*args, **kwargs)
        except Stopped:
            raise gr.Error("Stopped.", print_exception=False) from None
        except gr.Error:
            raise
        except (ValueError, FileNotFoundError, ConnectionError) as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception:
            _log.exception("A request failed")
            raise gr.Error(FAILED, print_exception=False) from None

    return wrapped
