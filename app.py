"""Builds and launches the demo; the file that Hugging Face Spaces runs."""

import contextlib
import threading

import gradcam_core
from demo.build import build_demo, launch_options

demo = build_demo()

if __name__ == "__main__":
    # The first picture should not have to wait for the model, nor the page. No daemon: Python
    # cannot end safely in the middle of it.
    threading.Thread(target=gradcam_core.load, args=(gradcam_core.models()[0].name,)).start()
    # Gradio stops by itself on Ctrl-C, but not while it is still starting.
    with contextlib.suppress(KeyboardInterrupt):
        demo.launch(**launch_options())
