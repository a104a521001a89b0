"""The page for very many visitors, on Ray Serve: serve run demo.compute.ray_serve:build replicas=4

The page is one deployment. What it asks of the core is computed by others, one for each network, in
several replicas: `service.compute_by` is the switch, all else of the page is that of `app.py`.

All that is asked of a picture goes to one replica, chosen by the digest of its file: that one has
its feature map. If too much waits there, another one answers. How much waits at all is bounded by
the page's own queue (`demo.hosting.fair_queue`), and by Serve. A replica that dies loses
nobody's question.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from PIL import Image
from pydantic import BaseModel
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp
from tqdm import tqdm

import gradcam_core
from demo import evaluation as evidence
from demo.build import build_demo, launch_options
from demo.compute import service
from demo.compute.ray_replica import AT_ONCE, Explainer, Question
from demo.hosting.gradio_internals import limit_sessions

BUSY = "Too many people are asking at this moment: please try again in a minute."

OTHERS = "Others"  # the deployment of all models but those that were here when it started

_TRIES = 3  # of a question whose replica dies
_SOON = 2  # seconds; who waits longer sees a bar


class Size(BaseModel):
    """How large it may become: serve run demo.compute.ray_serve:build replicas=4 gpus=1.

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


def asked_of(explainers: Mapping[str, DeploymentHandle]) -> service.Compute:
    """Return how the replicas compute.

    Args:
        explainers: The deployments by their names, see `networks`.
    """
    known = {model: name for model, name in networks().items() if name in explainers}
    # Begun here: threads that ask at once for the first time would begin several, and how much is
    # asked, by which replicas are added, is told of each as if it were all.
    asks = {name: explainer.answer for name, explainer in explainers.items()}

    def compute(
        function: Callable[..., Any], picture: Path | Image.Image | None = None, **settings: Any
    ) -> Any:
        model = settings["model"]
        ask = asks[known.get(model, OTHERS)]
        if isinstance(picture, Path):
            content = picture.read_bytes()
            question = Question(function, content, picture.name, settings)
            # Of networks that come and go, each replica is to hold few.
            key = hashlib.sha256(content).hexdigest() if model in known else model
            ask = ask.options(session_id=key)
        else:
            question = Question(function, picture, "", settings)
        found = _answer(ask, question, followed=_takes_long(function, settings))
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
    # Ray names files after it.
    return {info.name: re.sub(r"[^\w.]+", "-", info.backbone).strip("-") for info in here}


def _takes_long(function: Callable[..., Any], settings: dict[str, Any]) -> bool:
    method = gradcam_core.methods().get(settings.get("method", ""))
    return function is evidence.tested or (method is not None and method.slow)


def _answer(ask: DeploymentHandle, question: Question, *, followed: bool) -> Any:
    for _ in range(_TRIES):
        try:
            if followed:
                _awaited(ask.remote(_AWAKE))
                return _followed(ask.options(method_name="follow", stream=True).remote(question))
            return _awaited(ask.remote(question))
        except BackPressureError:
            raise ValueError(BUSY) from None
        except RayActorError:  # the replica has died: another one answers
            continue
    raise ValueError(BUSY)


# Who asks what takes long sees a bar while there is no replica, too.
_AWAKE = Question(str, None, "", {})


def _awaited(response: DeploymentResponse) -> Any:
    """Wait for an answer, where a visitor can see that, and stop it: see `cancellation`."""
    try:
        with suppress(TimeoutError):
            return response.result(timeout_s=_SOON)
        with tqdm(unit="steps of waiting for a process", leave=False, disable=None) as bar:
            while True:
                bar.update()
                with suppress(TimeoutError):
                    return response.result(timeout_s=_SOON)
    finally:
        response.cancel()


def _followed(response: DeploymentResponseGenerator) -> Any:
    """Show how far the work is, as if it were done here; return the answer."""
    try:
        for shown, steps in groupby(response, lambda told: getattr(told, "shown", None)):
            if shown is None:
                return next(steps)
            what, total = shown
            with tqdm(desc=what, total=total, leave=False, disable=None) as bar:
                done = 0.0
                for step in steps:
                    bar.update(step.done - done)
                    done = step.done
    finally:
        response.cancel()


def _page() -> ASGIApp:
    """Build the page, in the process that serves it."""
    os.environ.setdefault("GRADIO_SERVER_NAME", "0.0.0.0")  # others can reach it, see SECURITY.md
    options: dict[str, Any] = launch_options()
    del options["strict_cors"]  # `demo.hosting.request_filter` is stricter
    demo = build_demo(AT_ONCE * Size().at_most)
    limit_sessions(demo, options.pop("state_session_capacity"))
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
    """Return the application; Serve calls it with what stands after `ray_serve:build`."""
    return Page.bind(replicas(size))


app = build(Size())
