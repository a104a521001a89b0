"""Serves the demo until a signal ends it."""

import logging
import os
import platform
import threading
import time
from typing import Any

import gradio as gr
import torch

import gradcam_core
from demo.build import launch_options, warm_up
from demo.compute.base import Compute
from demo.hosting import listen, logs, shutdown
from demo.hosting.gradio_internals import finish, upload_folder
from demo.hosting.settings import settings

_log = logging.getLogger(__name__)


def serve(demo: gr.Blocks, compute: Compute) -> None:
    """Launch the demo, load the models, and stop in order; does not return."""
    found = settings()
    logs.configure(found.log)
    _reach_itself_directly(found.server_name)
    options: dict[str, Any] = launch_options()
    try:
        demo.launch(
            **options,
            server_name=found.server_name,
            server_port=found.server_port,
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        listen.fail(error)
    _log_start()
    # Only now, and in a thread: neither the page nor a signal waits for it.
    threading.Thread(target=_load, args=(compute,), daemon=True).start()
    shutdown.wait_for_signal()
    shutdown.stopping.set()
    _log.info("Stopping: running answers are finished, slow work is stopped.")
    finish(demo)
    demo.close(verbose=False)
    _log.info("Stopped.")
    shutdown.end()


def _reach_itself_directly(host: str) -> None:
    """Let Gradio, which asks its own server when it starts, not do so by a proxy for the web."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(
            filter(None, (os.environ.get(name), "localhost,127.0.0.1,::1", host))
        )


def _log_start() -> None:
    found = settings()
    logs.write(
        _log,
        logging.INFO,
        "Started.",
        address=f"http://{found.server_name}:{found.server_port}{found.root_path}",
        public=found.is_public,
        passwords=bool(found.users),
        version=gradcam_core.__version__,
        python=platform.python_version(),
        gradio=gr.__version__,
        torch=torch.__version__,
        device=str(found.device or ("cuda" if torch.cuda.is_available() else "cpu")),
        models=",".join(info.name for info in gradcam_core.models() if not info.download_mb),
        default_models=",".join(found.default_models),
        uploads=str(upload_folder()),
        uploads_gb=found.uploads_gb,
        queue=found.max_waiting,
        concurrency=found.concurrency,
    )


def _load(compute: Compute) -> None:
    """Load the models that the settings name, and download them if need be."""
    try:
        warm_up(compute)
    except (ValueError, OSError) as error:
        logs.write(_log, logging.ERROR, "The first answer was not computed.", why=str(error))
    for name in dict.fromkeys((*settings().default_models, *settings().preload)):
        start = time.perf_counter()
        try:
            gradcam_core.load(name)
        except (ValueError, OSError) as error:
            logs.write(_log, logging.ERROR, "A model was not loaded.", model=name, why=str(error))
        else:
            seconds = round(time.perf_counter() - start, 1)
            logs.write(_log, logging.INFO, "Model loaded.", model=name, seconds=seconds)
    _log.info("Ready.")
