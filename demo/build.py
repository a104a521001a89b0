"""Builds the demo: the page for people and the endpoints for programs."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

# These are read when their packages are imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio would summarise all past requests after each one, for a page that is switched off here.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(2**31))
# Downloads by plain HTTP: those by Xet run in threads, outside of any progress bar.
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

import gradio as gr
from fastapi import FastAPI
from starlette.middleware import Middleware

from demo import page
from demo.api import Api
from demo.compute.base import Compute
from demo.compute.local import LocalCompute
from demo.examples import example_pictures
from demo.handlers import Handlers
from demo.hosting import connections, disk_quota, health, logs, memory, request_filter, routes
from demo.hosting.fair_queue import FairQueue
from demo.hosting.settings import settings
from demo.hosting.uploads import MAX_UPLOAD
from demo.quiz import Quiz
from demo.service import Service
from gradcam_core import Query


def create_compute() -> Compute:
    """Return where this machine computes, without Ray."""
    if settings().zero_gpu is None:
        return LocalCompute()
    from demo.compute.zero_gpu import ZeroGpuCompute

    return ZeroGpuCompute()


def build_demo(compute: Compute, concurrency: int | None = None) -> gr.Blocks:
    """Return the demo, not yet launched; see `launch_options`.

    Args:
        compute: Where explanations are computed.
        concurrency: How many requests of an event run at once, the others wait in the queue; None
            for the setting.
    """
    service = Service(compute)
    memory.return_freed_memory()
    disk_quota.use_own_folder()
    with gr.Blocks(
        title="Grad-CAM: why does the network say that?",
        delete_cache=(86400, 86400),  # makes Gradio delete its files when it stops
        analytics_enabled=False,
    ) as demo:
        page.build(Handlers(service))
        Api(service).build()
    with demo.route("Quiz", "/quiz", show_in_navbar=False):
        Quiz(service).build()
    concurrency = concurrency or settings().concurrency
    demo.queue(api_open=False, default_concurrency_limit=concurrency)
    FairQueue(demo, concurrency).install()
    health.watch(demo, compute)
    return demo


def warm_up(compute: Compute) -> None:
    """Compute the first answer of a new page, so that models and answer are in memory."""
    query = Query(model=settings().model_for("classification"))
    compute.explain(next(iter(example_pictures().values())), query)
    compute.describe(query)


def launch_options() -> dict[str, object]:
    """Return the arguments for `Blocks.launch`: theme, limits, and features that are off."""
    open_routes = [page.modules(), *health.ROUTES]
    agents = None
    if routes.has_agents():
        from demo.agents import Agents

        agents = Agents()
        open_routes += agents.routes()

    @asynccontextmanager
    async def while_running(app: FastAPI) -> AsyncIterator[None]:
        """Guard the server while it runs; a Starlette lifespan."""
        logs.include_web_server()
        request_filter.install(app)
        async with (
            disk_quota.enforce_periodically(app),
            connections.close_idle(app),
            agents.running() if agents else nullcontext(),
        ):
            yield

    return {
        "theme": gr.themes.Default(
            primary_hue="indigo",
            # System fonts: nothing is loaded from other sites.
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        # Missing in Gradio 6.31: screen readers would read out the key after each answer.
        "i18n": gr.I18n(en={"common.complete": "Done."}),
        "css_paths": page.styles(),
        "show_error": True,
        "auth": settings().passwords() or None,
        "max_file_size": MAX_UPLOAD,
        "strict_cors": True,
        "enable_monitoring": False,
        "run_history": False,
        "ssr_mode": False,
        "footer_links": ["api"],  # "settings" are for developers
        "app_kwargs": {
            "routes": open_routes,
            "middleware": [Middleware(request_filter.RequestFilter)],
            "exception_handlers": request_filter.EXCEPTION_HANDLERS,
            "lifespan": while_running,
        },
    }
