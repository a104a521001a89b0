"""Serves the page with Ray Serve: serve run demo.compute.ray_serve:build replicas=4

The page is one deployment. Each network is a deployment of its own, with several replicas, which
compute for the page.

The digest of a picture decides which replica answers, so that one has its feature map in cache. A
replica that is too busy passes a call on. The page's queue (`demo.hosting.fair_queue`) and Serve
bound the number of waiting calls. If a replica dies, its calls are repeated by another one.
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp
from tqdm import tqdm

import gradcam_core
from demo.build import build_demo, launch_options
from demo.compute.base import ModelFacts, Picture
from demo.compute.local import LocalCompute
from demo.compute.ray_replica import CONCURRENCY, RemoteCall, Step, replica
from demo.hosting.gradio_internals import current_address
from demo.hosting.settings import settings
from gradcam_core import Explanation, Prediction, Query

BUSY = "The server is busy. Please try again in a minute."

OTHERS = "Others"  # the deployment of models that were not on this machine when it started

_TRIES = 3  # of a call whose replica dies
_SHOW_WAITING_AFTER = 2  # seconds


class Size(BaseModel):
    """The size of the application: serve run demo.compute.ray_serve:build replicas=4 gpus=1.

    Attributes:
        replicas: Of the default network; None for 1 to `max_replicas`, depending on the load.
        max_replicas: See `replicas`. Every other network has no replica until its first call, then
            depending on the load, but at most as many as this machine has processors.
        cpus: Per replica of the default network. Replicas of other networks reserve none, or they
            could not start while those of the default network have all.
        gpus: Per replica.
    """

    replicas: int | None = None
    max_replicas: int = 8
    cpus: float = 1
    gpus: float = 0


class RayServeCompute:
    """See `Compute`: the deployments compute."""

    def __init__(self, deployments: Mapping[str, DeploymentHandle]) -> None:
        """Connect to the deployments of `replicas`, by their names."""
        self._deployments = {
            model: name for model, name in networks().items() if name in deployments
        }
        # Started here: threads that make their first calls at once would each start a router of
        # their own, and each would report the load of all.
        self._handles = {name: handle.answer for name, handle in deployments.items()}

    def explain(self, picture: Picture, query: Query) -> Explanation:
        slow = gradcam_core.methods()[query.method].slow
        explanation: Explanation = self.call(LocalCompute.explain, picture, slow=slow, query=query)
        if isinstance(picture, Path):
            return replace(explanation, source=picture)
        return explanation

    def suggest(self, picture: Picture, query: Query, text: str) -> list[Prediction]:
        found: list[Prediction] = self.call(LocalCompute.suggest, picture, query=query, text=text)
        return found

    def evaluate(
        self, picture: Picture, query: Query, test: str, goal: str | None = None
    ) -> dict[str, Any]:
        found: dict[str, Any] = self.call(
            LocalCompute.evaluate, picture, slow=True, query=query, test=test, goal=goal
        )
        return found

    def channels(self, picture: Picture, query: Query, word: int | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.call(LocalCompute.channels, picture, query=query, word=word)
        return found

    def describe(self, query: Query) -> ModelFacts:
        facts: ModelFacts = self.call(LocalCompute.describe, None, query=query)
        return facts

    def check(self) -> None:
        self.call(_check, None, query=Query())

    def cache_lookups(self) -> Mapping[tuple[str, bool], int]:
        return {}  # the replicas have the caches

    def call(
        self,
        function: Callable[..., Any],
        picture: Picture | None,
        *,
        query: Query,
        slow: bool = False,
        **arguments: Any,
    ) -> Any:
        """Call a function in a replica of the query's model.

        Args:
            function: See `RemoteCall`.
            picture: Decides which replica; None for any.
            query: An argument of the function.
            slow: Whether to show the progress.
            arguments: Of the function.

        Raises:
            ValueError: All replicas are busy; or the function raised it.
            FileNotFoundError: There is no such file.
        """
        model = query.model_name
        handle = self._handles[self._deployments.get(model, OTHERS)]
        arguments |= {"query": query}
        if isinstance(picture, Path):
            content = picture.read_bytes()
            call = RemoteCall(function, content, picture.name, arguments, current_address())
            # In `OTHERS`, each replica should load few models.
            key = hashlib.sha256(content).hexdigest() if model in self._deployments else model
            handle = handle.options(session_id=key)
        else:
            call = RemoteCall(function, picture, "", arguments)
        result = _call(handle, call, slow=slow)
        if isinstance(result, Exception):
            raise result
        return result


def networks() -> dict[str, str]:
    """Return the deployment of each model on this machine, named after its backbone.

    Models with the same backbone share a deployment, since they share feature maps.
    """
    here = [info for info in gradcam_core.models() if gradcam_core.describe(info.name)[1]]
    # Ray names files after it.
    return {info.name: re.sub(r"[^\w.]+", "-", info.backbone).strip("-") for info in here}


def _call(handle: DeploymentHandle, call: RemoteCall, *, slow: bool) -> Any:
    for _ in range(_TRIES):
        try:
            if slow:
                _wait(handle.remote(_NOTHING))
                return _follow(handle.options(method_name="follow", stream=True).remote(call))
            return _wait(handle.remote(call))
        except BackPressureError:
            raise ValueError(BUSY) from None
        except RayActorError:  # the replica has died
            continue
    raise ValueError(BUSY)


def _no_operation(compute: LocalCompute) -> None:
    """Do nothing: a slow call waits for a replica first, and `_wait` shows that."""


def _check(compute: LocalCompute, query: Query) -> None:
    compute.check()


_NOTHING = RemoteCall(_no_operation, None, "", {})


def _wait(response: Any) -> Any:
    """Return the result of a `DeploymentResponse`.

    A bar shows a long wait, so that a visitor can cancel it.
    """
    try:
        with suppress(TimeoutError):
            return response.result(timeout_s=_SHOW_WAITING_AFTER)
        with tqdm(desc="waiting for a free process", leave=False, disable=None) as bar:
            while True:
                bar.update()
                with suppress(TimeoutError):
                    return response.result(timeout_s=_SHOW_WAITING_AFTER)
    finally:
        response.cancel()


def _follow(response: Any) -> Any:
    """Return the result of a `DeploymentResponseGenerator`, and show its steps as bars."""

    def bar_of(item: Any) -> tuple[str | None, float | None] | None:
        return (item.description, item.total) if isinstance(item, Step) else None

    try:
        for description_and_total, items in groupby(response, bar_of):
            if description_and_total is None:
                return next(items)
            description, total = description_and_total
            with tqdm(desc=description, total=total, leave=False, disable=None) as bar:
                done = 0.0
                for step in items:
                    bar.update(step.done - done)
                    done = step.done
    finally:
        response.cancel()


def _page_app(deployments: Iterable[str]) -> ASGIApp:
    """Build the page, in the process that serves it."""
    os.environ.setdefault("GRADIO_SERVER_NAME", "0.0.0.0")  # public, see SECURITY.md
    settings.cache_clear()
    options: dict[str, Any] = launch_options()
    del options["strict_cors"]  # `demo.hosting.request_filter` is stricter
    compute = RayServeCompute({name: serve.get_deployment_handle(name) for name in deployments})
    demo = build_demo(compute, CONCURRENCY * Size().max_replicas)
    parent = FastAPI(openapi_url=None)  # without routes of its own
    return gr.mount_gradio_app(parent, demo, path="", **options)


class Page:
    """The page and its endpoints: one process, which has the uploads and the queue."""

    def __init__(self, deployments: Mapping[str, DeploymentHandle]) -> None:
        """Start after the deployments; `_page_app` has handles of its own."""


def replicas(size: Size) -> dict[str, serve.Application]:
    """Return the deployments that compute, by name."""
    models: defaultdict[str, list[str]] = defaultdict(list)
    for model, network in networks().items():
        models[network].append(model)
    default, *others = models
    options: dict[str, Any] = {"name": default}
    if size.replicas is None:
        options |= _autoscaling(1, size.max_replicas)
    else:
        options |= {"num_replicas": size.replicas}
    reserved = {"num_cpus": size.cpus, "num_gpus": size.gpus}
    found = {default: replica.options(ray_actor_options=reserved, **options).bind(models[default])}
    for name in (*others, OTHERS):
        scaling = _autoscaling(0, min(size.max_replicas, os.cpu_count() or 1))
        unreserved = reserved | {"num_cpus": 0}
        deployment = replica.options(name=name, ray_actor_options=unreserved, **scaling)
        found[name] = deployment.bind(models[name])
    return found


def _autoscaling(least: int, most: int) -> dict[str, Any]:
    limits = {"min_replicas": least, "max_replicas": most}
    # A class opens the page all at once, and Serve would wait 30 seconds before it adds a replica.
    load = {"target_ongoing_requests": 2, "upscale_delay_s": 5}
    return {"num_replicas": "auto", "autoscaling_config": limits | load}


def build(size: Size) -> serve.Application:
    """Return the application; `serve run` passes the arguments after `ray_serve:build`."""
    deployments = replicas(size)
    names = list(deployments)
    page = serve.deployment(
        max_ongoing_requests=2000,
        # Reserves no processor, so that there can be as many replicas as processors.
        ray_actor_options={"num_cpus": 0},
        logging_config=LoggingConfig(enable_access_log=False),
    )(serve.ingress(lambda: _page_app(names))(Page))
    return page.bind(deployments)


app = build(Size())
