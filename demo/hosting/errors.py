"""A failed API call answers with one sentence, never with a traceback."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from demo.hosting import logs, metrics
from demo.hosting.cancellation import Cancelled, Stopped, cancellable
from demo.hosting.disk_quota import DISK_FULL, is_disk_full
from demo.hosting.gradio_internals import current_address
from demo.hosting.shutdown import STOPPING

INTERNAL_ERROR = (
    "Something went wrong on the server. The error has been logged; please try another picture."
)

_log = logging.getLogger(__name__)


def log_failure(code: str, message: str) -> None:
    """Log and count a request of the page that is answered with an error; call it in a handler.

    The queue does so for those that end with an exception.
    """
    metrics.failed.labels(code).inc()
    level = logging.INFO if code == "cancelled" else logging.WARNING
    logs.write(_log, level, "Failed.", code=code, why=message, address=current_address() or "")


def api_errors(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a handler: it can be cancelled, and every exception becomes a `gr.Error`."""

    @functools.wraps(handler)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with cancellable():
                return handler(*args, **kwargs)
        except gr.Error:
            raise
        except Stopped:
            message = STOPPING
        except Cancelled:
            message = "Cancelled."
        except (ValueError, FileNotFoundError, ConnectionError) as error:
            message = str(error)
        except Exception as error:
            message = DISK_FULL if is_disk_full(error) else INTERNAL_ERROR
            if message is INTERNAL_ERROR:
                _log.exception("A request failed")
        raise gr.Error(message, print_exception=False)

    return wrapped
