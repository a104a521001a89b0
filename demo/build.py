"""The page: three tabs over one core."""

import os
from pathlib import Path

# Read when their packages are imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Downloads by plain HTTP: those of Xet run in threads that no progress bar here can follow.
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

import gradio as gr

from demo.tabs import captioning, classification, vqa

_HERE = Path(__file__).parent


def build_demo() -> gr.Blocks:
    """Return the page, not yet launched; see `launch_options`."""
    # Uploads and results are deleted a day after they were made.
    with gr.Blocks(
        title="Grad-CAM: why does the network say that?",
        delete_cache=(3600, 86400),
        analytics_enabled=False,
    ) as page:
        gr.Markdown(_INTRODUCTION, elem_classes="introduction")
        with gr.Tab("Classification") as tab:
            classification.build(page, tab)
        with gr.Tab("Captioning") as tab:
            captioning.build(tab)
        with gr.Tab("VQA") as tab:
            vqa.build(tab)
        with gr.Accordion("How to read the pictures, and where they come from", open=False):
            gr.Markdown((_HERE / "reading.md").read_text("utf-8"))
    return page.queue(max_size=64, api_open=False, default_concurrency_limit=4)


def launch_options() -> dict[str, object]:
    """Return the arguments for `Blocks.launch`: look, limits, and what is closed."""
    return {
        "theme": gr.themes.Default(
            primary_hue="indigo",
            # Fonts that are on every machine: nothing is fetched from outside.
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        "css_paths": _HERE / "page.css",
        "show_error": True,
        "max_file_size": "30mb",
        "strict_cors": True,
        "enable_monitoring": False,
        "run_history": False,
        "ssr_mode": False,
        "footer_links": ["api", "settings"],
    }


_INTRODUCTION = """## Why does the network say that?
**Grad-CAM** shows where in a picture a neural network finds the evidence for what it says."""
