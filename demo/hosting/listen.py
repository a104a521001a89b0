"""Whether the server can listen where it is told to."""

import errno
import os
import socket
import sys
from typing import NoReturn

from demo.hosting.settings import settings


def check_port() -> None:
    """End the program with a sentence, and status 1, if the port cannot be listened on."""
    host = settings().server_name.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, settings().server_port), family=family):
            pass
    except OSError as error:
        fail(error)


def fail(error: OSError) -> NoReturn:
    """End the program with a sentence that says why it cannot listen."""
    host, port = settings().server_name, settings().server_port
    reasons = {
        errno.EADDRINUSE: "another program listens there",
        errno.EACCES: "ports below 1024 are for the administrator",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }
    # Gradio raises errors without a number where a port has been taken since `check_port`.
    why = reasons.get(error.errno or errno.EADDRINUSE) or str(error.strerror or error)
    print(
        f"Cannot listen on port {port} of {host}: {why}. GRADIO_SERVER_NAME and GRADIO_SERVER_PORT "
        "choose others.",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)  # threads of a server that has not started may remain
