"""The demo: the page for people, and endpoints for programs, over one core."""

import os
from pathlib import Path

# Read when their packages are imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio would make a table of all requests after each, for a page that is closed here.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(2**31))
# Downloads by plain HTTP: those of Xet run in threads that no progress bar here can follow.
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

import gradio as gr
from starlette.middleware import Middleware

from demo import api, page, quiz
from demo.answers import answer
from demo.compute import service
from demo.examples import example_pictures
from demo.hosting import disk_quota as disk
from demo.hosting import fair_queue as turns
from demo.hosting import memory
from demo.hosting import request_filter as doors

_HERE = Path(__file__).parent

# Of so many visits Gradio keeps what they were sent last, maps and photo with it: 10,000 otherwise,
# and nobody asks for it again.
_VISITS = 100


def build_demo(at_once: int = turns.AT_ONCE) -> gr.Blocks:
    """Return the demo, not yet launched; see `launch_options`.

    Args:
        at_once: How many requests are answered at the same time; the others wait for their turn.
    """
    memory.give_back()
    disk.take_folder()
    with gr.Blocks(
        title="Grad-CAM: why does the network say that?",
        delete_cache=(86400, 86400),  # so that Gradio deletes its files when it is ended
        analytics_enabled=False,
    ) as demo:
        page.build()
        with gr.Accordion("How to read the pictures, and where they come from", open=False):
            gr.HTML((_HERE / "browser" / "figure2.html").read_text("utf-8"), padding=False)
            gr.Markdown((_HERE / "reading.md").read_text("utf-8"))
        api.build()
    with demo.route("Quiz", "/quiz", show_in_navbar=False):
        quiz.build()
    demo.queue(api_open=False, default_concurrency_limit=at_once)
    demo._queue = turns.Turns(demo, at_once)
    return demo


def warm_up() -> None:
    """Answer what a visitor asks first: then model, decoder and that answer are there."""
    picture = next(iter(example_pictures().values()))
    answer(service.explain(picture, service.Wanted("classification")))


def launch_options() -> dict[str, object]:
    """Return the arguments for `Blocks.launch`: look, limits, and what is closed."""
    return {
        "theme": gr.themes.Default(
            primary_hue="indigo",
            # Fonts that are on every machine: nothing is fetched from outside.
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        # Gradio 6.31 lacks this one, and would have the name itself read out after each answer.
        "i18n": gr.I18n(en={"common.complete": "Done."}),
        "css_paths": page.styles(),
        "show_error": True,
        "max_file_size": doors.MAX_UPLOAD,
        "strict_cors": True,
        "state_session_capacity": _VISITS,
        "enable_monitoring": False,
        "run_history": False,
        "ssr_mode": False,
        "footer_links": ["api", "settings"],
        "app_kwargs": {
            "middleware": [Middleware(doors.Doors)],
            "exception_handlers": doors.HANDLERS,
            "lifespan": disk.kept_tidy,
        },
    }
