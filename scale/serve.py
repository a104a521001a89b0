"""The page for very many visitors, on Ray Serve: serve run scale.serve:build replicas=4

The page is one deployment. What it asks of the core is computed by another, in several replicas:
`service.compute_by` is the switch, all else of the page is that of `app.py`.

All that is asked of a picture goes to one replica, chosen by the digest of its file: that one has
its feature map. If too much waits there, another one answers. How much waits at all is bounded by
the page's own queue (`demo.turns`), and by Serve. A replica that dies loses nobody's question.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from PIL import Image
from pydantic import BaseModel
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.config import RequestRouterConfig
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp

import gradcam_core
from demo import service
from demo.build import build_demo, launch_options

BUSY = "Too many people are asking at this moment: please try again in a minute."

_AT_ONCE = 4  # questions that a replica answers
_WAITING = 64  # more of them, wherever they were asked
_TRIES = 3  # of a question whose replica dies


class Size(BaseModel):
    """How large it may become: serve run scale.serve:build replicas=4 gpus=1.

    Attributes:
        replicas: That explain: so many; None for 1 to `at_most`, as they are needed.
        at_most: See `replicas`.
        cpus: That each needs.
        gpus: That each needs.
    """

    replicas: int | None = None
    at_most: int = 8
    cpus: float = 1
    gpus: float = 0


@dataclass(frozen=True)
class Question:
    """What a replica computes.

    Attributes:
        function: Of the core; it takes a picture or a file first.
        picture: The content of a file, or a picture of which nothing is kept.
        name: The file's name.
        settings: What else the function takes.
    """

    function: Callable[..., Any]
    picture: bytes | Image.Image
    name: str
    settings: dict[str, Any]

    def answer(self) -> Any:
        """Compute it; returns what the function returns or raises."""
        try:
            if isinstance(self.picture, Image.Image):
                return self.function(self.picture, **self.settings)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / self.name
                file.write_bytes(self.picture)
                return self.function(file, **self.settings)
        except (ValueError, OSError) as error:
            return error


@serve.deployment(
    max_ongoing_requests=_AT_ONCE,
    max_queued_requests=_WAITING,
    health_check_timeout_s=60,
    request_router_config=RequestRouterConfig(
        request_router_class="ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
    ),
    logging_config=LoggingConfig(enable_access_log=False),
)
class Explainer:
    """Holds the models, and the feature maps of the pictures that it was asked about."""

    def __init__(self) -> None:
        self.check_health()

    async def answer(self, question: Question) -> Any:
        """Answer beside other questions."""
        return await asyncio.to_thread(question.answer)

    def check_health(self) -> None:
        """Explain a small picture; Serve replaces a replica that cannot."""
        gradcam_core.explain(Image.new("RGB", (8, 8)))


def asked_of(explainer: DeploymentHandle) -> service.Compute:
    """Return how the replicas compute."""
    # Begun here: threads that ask at once for the first time would begin several, and how much is
    # asked, by which replicas are added, is told of each as if it were all.
    ask = explainer.answer

    def compute(function: Callable[..., Any], picture: Path | Image.Image, **settings: Any) -> Any:
        if _takes_long(settings):  # only here its progress is shown, and can it be stopped
            return function(picture, **settings)
        if isinstance(picture, Path):
            content = picture.read_bytes()
            asked = Question(function, content, picture.name, settings)
            digest = hashlib.sha256(content).hexdigest()
            found = _answer(ask.options(session_id=digest), asked)
        else:
            found = _answer(ask, Question(function, picture, "", settings))
        if isinstance(found, Exception):
            raise found
        if isinstance(found, gradcam_core.Explanation) and isinstance(picture, Path):
            return replace(found, source=picture)
        return found

    return compute


def _takes_long(settings: dict[str, Any]) -> bool:
    method = gradcam_core.methods().get(settings.get("method", ""))
    return method is not None and method.slow


def _answer(ask: DeploymentHandle, question: Question) -> Any:
    for _ in range(_TRIES):
        try:
            return ask.remote(question).result()
        except BackPressureError:
            raise ValueError(BUSY) from None
        except RayActorError:  # the replica has died: another one answers
            continue
    raise ValueError(BUSY)


def _page() -> ASGIApp:
    """Build the page, in the process that serves it."""
    os.environ.setdefault("GRADIO_SERVER_NAME", "0.0.0.0")  # others can reach it, see SECURITY.md
    options: dict[str, Any] = launch_options()
    del options["strict_cors"]  # `demo.doors` is stricter
    demo = build_demo(_AT_ONCE * Size().at_most)
    demo.state_session_capacity = options.pop("state_session_capacity")
    around = FastAPI(openapi_url=None)  # which would tell of its own routes
    return gr.mount_gradio_app(around, demo, path="", **options)


# One, since uploads and queue are those of a process. No processor is kept for it, so that there
# are as many replicas as processors.
@serve.deployment(
    max_ongoing_requests=2000,
    ray_actor_options={"num_cpus": 0},
    logging_config=LoggingConfig(enable_access_log=False),
)
@serve.ingress(_page)
class Page:
    """The page and its endpoints."""

    def __init__(self, explainer: DeploymentHandle) -> None:
        service.compute_by(asked_of(explainer))


def replicas(size: Size) -> serve.Application:
    """Return what explains, without the page."""
    options: dict[str, Any] = {"num_replicas": size.replicas}
    if size.replicas is None:
        limits = {"min_replicas": 1, "max_replicas": size.at_most}
        # A class opens the page all at once: Serve's own 30 seconds before it adds any are long.
        load = {"target_ongoing_requests": 2, "upscale_delay_s": 5}
        options = {"num_replicas": "auto", "autoscaling_config": limits | load}
    needed = {"num_cpus": size.cpus, "num_gpus": size.gpus}
    return Explainer.options(**options, ray_actor_options=needed).bind()


def build(size: Size) -> serve.Application:
    """Return the application; Serve calls it with what stands after `scale.serve:build`."""
    return Page.bind(replicas(size))


app = build(Size())
