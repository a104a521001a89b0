"""The page for very many visitors, on Ray Serve: serve run scale.serve:build replicas=4

The page is one deployment. What it asks of the core is computed by others, one for each network, in
several replicas: `service.compute_by` is the switch, all else of the page is that of `app.py`.

All that is asked of a picture goes to one replica, chosen by the digest of its file: that one has
its feature map. If too much waits there, another one answers. How much waits at all is bounded by
the page's own queue (`demo.turns`), and by Serve. A replica that dies loses nobody's question.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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
from ray.serve.handle import DeploymentHandle, DeploymentResponse
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp
from tqdm import tqdm

import gradcam_core
from demo import service
from demo.build import build_demo, launch_options
from gradcam_core.batch import pictures_a_pass
from gradcam_core.session import encode_files

BUSY = "Too many people are asking at this moment: please try again in a minute."

OTHERS = "Others"  # the deployment of all models but those that were here when it started

_AT_ONCE = 4  # questions that a replica answers
_WAITING = 64  # more of them for a network, wherever they were asked
_TRIES = 3  # of a question whose replica dies
_SOON = 2  # seconds; who waits longer sees a bar


class Size(BaseModel):
    """How large it may become: serve run scale.serve:build replicas=4 gpus=1.

    Attributes:
        replicas: That explain by the default network: so many; None for 1 to `at_most`, as they
            are needed.
        at_most: See `replicas`. Of each other network there are none until it is asked, and then
            as many as are needed, but no more than this machine has processors.
        cpus: That each of the default network needs. The others share what there is: else nothing
            would be left for them where those take all.
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

    def answer(self, picture: Path | Image.Image) -> Any:
        """Compute it of the picture or its file; returns what the function returns or raises."""
        try:
            return self.function(picture, **self.settings)
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
    """Holds models, and the feature maps of the pictures that it was asked about."""

    def __init__(self, models: Sequence[str]) -> None:
        for name in models:
            gradcam_core.load(name)
        self.check_health()
        self._asked = 0
        self._encode.set_max_batch_size(pictures_a_pass())

    async def answer(self, question: Question) -> Any:
        """Answer beside other questions."""
        if isinstance(question.picture, Image.Image):
            return await asyncio.to_thread(question.answer, question.picture)
        self._asked += 1
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / question.name
                file.write_bytes(question.picture)
                if self._asked > 1 and question.function is gradcam_core.explain_file:
                    asked = question.settings
                    await self._encode((file, asked["model"], asked.get("layer")))
                return await asyncio.to_thread(question.answer, file)
        finally:
            self._asked -= 1

    # None waits for another one to come: while a pass runs, others wait for the next.
    @serve.batch(batch_wait_timeout_s=0)
    async def _encode(self, asked: list[tuple[Path, str, str | None]]) -> list[None]:
        """Let the CNN see in one pass what waits for it."""
        with suppress(ValueError, OSError):  # the answer will say it
            await asyncio.to_thread(encode_files, asked)
        return [None for _ in asked]

    def check_health(self) -> None:
        """Explain a small picture; Serve replaces a replica that cannot."""
        gradcam_core.explain(Image.new("RGB", (8, 8)))


def asked_of(explainers: Mapping[str, DeploymentHandle]) -> service.Compute:
    """Return how the replicas compute.

    Args:
        explainers: The deployments by their names, see `networks`.
    """
    known = {model: name for model, name in networks().items() if name in explainers}
    # Begun here: threads that ask at once for the first time would begin several, and how much is
    # asked, by which replicas are added, is told of each as if it were all.
    asks = {name: explainer.answer for name, explainer in explainers.items()}

    def compute(function: Callable[..., Any], picture: Path | Image.Image, **settings: Any) -> Any:
        if _takes_long(settings):  # only here its progress is shown, and can it be stopped
            return function(picture, **settings)
        model = settings["model"]
        ask = asks[known.get(model, OTHERS)]
        if isinstance(picture, Path):
            content = picture.read_bytes()
            asked = Question(function, content, picture.name, settings)
            # Of networks that come and go, each replica is to hold few.
            key = hashlib.sha256(content).hexdigest() if model in known else model
            found = _answer(ask.options(session_id=key), asked)
        else:
            found = _answer(ask, Question(function, picture, "", settings))
        if isinstance(found, Exception):
            raise found
        if isinstance(found, gradcam_core.Explanation) and isinstance(picture, Path):
            return replace(found, source=picture)
        return found

    return compute


def networks() -> dict[str, str]:
    """Return the deployment of each model that is on this machine: it has its network's name.

    So models of one network, whose feature maps are the same, are held by one deployment.
    """
    here = [info for info in gradcam_core.models() if gradcam_core.describe(info.name)[1]]
    return {info.name: info.backbone for info in here}


def _takes_long(settings: dict[str, Any]) -> bool:
    method = gradcam_core.methods().get(settings.get("method", ""))
    return method is not None and method.slow


def _answer(ask: DeploymentHandle, question: Question) -> Any:
    for _ in range(_TRIES):
        try:
            return _awaited(ask.remote(question))
        except BackPressureError:
            raise ValueError(BUSY) from None
        except RayActorError:  # the replica has died: another one answers
            continue
    raise ValueError(BUSY)


def _awaited(response: DeploymentResponse) -> Any:
    """Wait for an answer, where a visitor can see that, and stop it: see `demo.stopping`."""
    try:
        with suppress(TimeoutError):
            return response.result(timeout_s=_SOON)
        with tqdm(desc="waiting for a process", leave=False, disable=None) as bar:
            while True:
                bar.update()
                with suppress(TimeoutError):
                    return response.result(timeout_s=_SOON)
    finally:
        response.cancel()


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

    def __init__(self, explainers: Mapping[str, DeploymentHandle]) -> None:
        service.compute_by(asked_of(explainers))


def replicas(size: Size) -> dict[str, serve.Application]:
    """Return what explains, without the page: the deployments by their names."""
    held: dict[str, list[str]] = {}
    for model, network in networks().items():
        held.setdefault(network, []).append(model)
    (default, models), *others = [*held.items(), (OTHERS, [])]
    how_many = (
        _as_needed(1, size.at_most) if size.replicas is None else {"num_replicas": size.replicas}
    )
    needed = {"num_cpus": size.cpus, "num_gpus": size.gpus}
    sized = Explainer.options(name=default, ray_actor_options=needed, **how_many)
    found = {default: sized.bind(models)}
    for name, models in others:
        how_many = _as_needed(0, min(size.at_most, os.cpu_count() or 1))
        sized = Explainer.options(name=name, ray_actor_options=needed | {"num_cpus": 0}, **how_many)
        found[name] = sized.bind(models)
    return found


def _as_needed(least: int, most: int) -> dict[str, Any]:
    limits = {"min_replicas": least, "max_replicas": most}
    # A class opens the page all at once: Serve's own 30 seconds before it adds any are long.
    load = {"target_ongoing_requests": 2, "upscale_delay_s": 5}
    return {"num_replicas": "auto", "autoscaling_config": limits | load}


def build(size: Size) -> serve.Application:
    """Return the application; Serve calls it with what stands after `scale.serve:build`."""
    return Page.bind(replicas(size))


app = build(Size())
