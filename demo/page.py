"""The page: a custom component, drawn and driven by the modules in `browser/`.

It sends requests to the server through lanes, each with one request at a time, and gets numbers.
"""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

import gradcam_core
from demo.examples import QUESTIONS, example_thumbnails
from demo.handlers import Handlers
from demo.hosting.settings import settings
from demo.hosting.uploads import MAX_UPLOAD
from gradcam_core import viewer
from gradcam_core.serialize import FAINT, colour_tables

_BROWSER = Path(__file__).parent / "browser"
# By their place in the repository, so that the same relative imports hold in the browser.
_MODULES = {
    f"{name}/{path.relative_to(folder).as_posix()}": path
    for name, folder in {"demo/browser": _BROWSER, "gradcam_core/viewer": viewer.FOLDER}.items()
    for path in folder.rglob("*.js")
}
# In the address of each module, so that browsers can keep them, and never mix old and new ones.
_VERSION = hashlib.sha256(
    b"".join(_MODULES[name].read_bytes() for name in sorted(_MODULES)) + viewer.template().encode()
).hexdigest()[:12]

# How many of a lane's requests run at once, where that is not the default: a large photo takes a
# gigabyte to save and some 300 MB to paint over, and long work in parallel ends no sooner.
_AT_ONCE = {"save": 1, "download": 2, "paint": 2, "long": max(1, (os.cpu_count() or 1) // 4)}
# Lanes that share the queue of another one; by default all events of one handler share a queue.
_QUEUES = {
    **dict.fromkeys(("second", "compare", "channels", "several"), "first"),
    "evaluate": "long",
}


def build(handlers: Handlers) -> None:
    """Build the page, and wire it."""
    lanes = _lanes(handlers)
    page = gr.HTML(
        html_template=_template("page.html"),
        js_on_load=script("demo/browser/main.js", [*lanes, "stop"]),
        head=_preloads(),
        apply_default_css=False,
        padding=False,
        elem_id="gradcam",
        facts=_facts(lanes),
    )
    file = gr.DownloadButton(visible="hidden", elem_id="gradcam-file")
    for lane, handler in lanes.items():
        wire(page, lane, handler, file if lane == "save" else None)
    page.stop(
        handlers.cancel,
        None,
        None,
        trigger_mode="multiple",
        show_progress="hidden",
        concurrency_limit=None,  # it never waits
        api_visibility="private",
    )


def _lanes(handlers: Handlers) -> dict[str, Callable[..., Any]]:
    """Return the handler of each lane.

    Several lanes, so that a download or long work does not delay quick requests.
    """
    return {
        "first": handlers.explain,
        "second": handlers.explain,
        "download": handlers.explain_slowly,
        "long": handlers.explain_slowly,
        "compare": handlers.explain,
        "evaluate": handlers.evaluate,
        "channels": handlers.channels,
        "paint": handlers.paint,
        "several": handlers.explain,
        "suggest": handlers.suggest,
        "save": handlers.save,
        "live": handlers.live,
    }


def wire(
    component: gr.HTML,
    lane: str,
    handler: Callable[..., Any],
    file: gr.DownloadButton | None = None,
) -> None:
    """Connect the script of a component to the server.

    Args:
        component: Its script, see `script`, calls `trigger(lane, request)` and listens to
            "gradcam-answer" of the document.
        lane: The name of the event.
        handler: From the event to an answer, and to the path of a file if there is `file`.
        file: Downloads that file as soon as it is written.
    """
    receiver = gr.HTML(
        html_template="",
        js_on_load=_RELAY.replace("LANE", lane),
        apply_default_css=False,
        padding=False,
        elem_id=f"gradcam-{lane}",
        elem_classes="gradcam-lane",
    )
    answered = getattr(component, lane)(
        handler,
        None,
        [receiver, file] if file else receiver,
        trigger_mode="multiple",
        show_progress="hidden" if lane in ("suggest", "live", "several") else "full",
        show_progress_on=receiver,
        concurrency_limit=_AT_ONCE.get(_QUEUES.get(lane, lane), "default"),
        concurrency_id=_QUEUES.get(lane, lane),
        api_name=f"page_{lane}",  # that of the handler may be an endpoint's
        api_visibility="private",
    )
    answered.failure(None, js=_FAILED.replace("LANE", lane))
    if file:  # the browser clicks the button itself as soon as the file is written
        answered.success(None, js=_CLICKED)


def styles() -> list[Path]:
    """Return the page's style sheets."""
    sheets = ("page", "analysis", "reading", "quiz", "result", "teach", "several")
    own = [_BROWSER / f"{name}.css" for name in sheets]
    return [viewer.FOLDER / "shared.css", *own]


def modules() -> Route:
    """Return the route of the modules, for `app_kwargs` of `launch`."""
    return Route(f"/browser/{_VERSION}/{{name:path}}", _module)


async def _module(request: Request) -> Response:
    name = request.path_params["name"]
    caching = {"Cache-Control": "public, max-age=31536000, immutable"}
    if name == "interactive.html":  # as text: it is no page before it has data
        return PlainTextResponse(viewer.template(), headers=caching)
    path = _MODULES.get(name)
    if path is None:
        return PlainTextResponse("There is nothing here.", 404)
    return FileResponse(path, media_type="text/javascript", headers=caching)


def script(module: str, events: Iterable[str]) -> str:
    """Return the script of a component: it starts a module.

    Args:
        module: Its place in the repository. It exports `start`, which gets `props` and `trigger`
            of the component.
        events: What it triggers; `gr.HTML` looks for their names, in quotes, in the script.
    """
    return _START.replace("ADDRESS", address_of(module)) + f"// events: {[*events]}"


def address_of(module: str) -> str:
    """Return the address of a module, named by its place in the repository, from the page."""
    return f"browser/{_VERSION}/{module}"


def _preloads() -> str:
    """Return links that make the browser fetch at once all modules that the page starts with."""
    return "".join(
        f'<link rel="modulepreload" href="{address_of(name)}">'
        for name in _MODULES
        if name not in ("demo/browser/quiz.js", "gradcam_core/viewer/main.js")
        # These are fetched when they are opened.
        and not name.startswith(("demo/browser/teach/", "demo/browser/several/"))
    )


def _facts(lanes: Iterable[str]) -> dict[str, Any]:
    """Return what the page knows before its first request."""
    return {
        "tasks": {task: _models(task) for task in ("classification", "captioning", "vqa")},
        "methods": [
            {
                "name": name,
                "title": method.title,
                "paper": method.paper,
                "about": method.about,
                "slow": method.slow,
                "weighted": method.weights is not None,
            }
            for name, method in gradcam_core.methods().items()
        ],
        "colours": colour_tables(),
        "colour": gradcam_core.DEFAULT_COLOUR_MAP,
        "opacity": gradcam_core.DEFAULT_OPACITY,
        "faint_below": FAINT,
        "lanes": list(lanes),
        "examples": [
            {"name": name, "thumbnail": _data_url(path)}
            for name, path in example_thumbnails().items()
        ],
        "questions": {example: list(asked) for example, asked in QUESTIONS.items()},
        "max_upload": MAX_UPLOAD,
    }


def _models(task: str) -> list[dict[str, Any]]:
    """Return what the page shows of each model: the default first, then those without a wait."""
    default = settings().model_for(task)
    found = [(info, gradcam_core.describe(info.name)[1]) for info in gradcam_core.models(task)]
    return [
        {
            "name": info.name,
            "title": info.title,
            "year": info.year,
            "megabytes": info.download_mb,
            "here": here,
            "guided": info.guided,
        }
        for info, here in sorted(found, key=lambda each: (each[0].name != default, not each[1]))
    ]


def _data_url(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _template(name: str) -> str:
    """Return an HTML file of `browser/`, with the files that it names in comments."""
    return re.sub(r"<!-- ([\w.]+) -->", lambda part: _template(part[1]), browser_file(name))


def browser_file(name: str) -> str:
    """Return a file of `browser/`."""
    return (_BROWSER / name).read_text("utf-8")


# From where the page is, also below another path. The quiz may be opened as /quiz/, too.
_START = """
const address = new URL('ADDRESS', document.baseURI.replace(/quiz\\/$/, ''));
import(address).then(({ start }) => start({ props, trigger }), () => {
    element.querySelector('h2').textContent = 'This page is out of date. Please reload it.';
});
"""
# Gradio shows the queue and downloads at the component that an answer goes to.
_RELAY = """
watch('value', () => document.dispatchEvent(
    new CustomEvent('gradcam-answer', { detail: { lane: 'LANE', answer: props.value } })));
"""
_CLICKED = "() => { document.querySelector('#gradcam-file').click(); return []; }"
_FAILED = """() => { document.dispatchEvent(
    new CustomEvent('gradcam-answer', { detail: { lane: 'LANE', answer: null } })); return []; }"""
