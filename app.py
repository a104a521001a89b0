"""Builds and launches the demo; the file that Hugging Face Spaces runs."""

import contextlib
import threading

from demo.build import build_demo, launch_options, warm_up

demo = build_demo()

if __name__ == "__main__":
    # Beside it, since the page should not have to wait for that. No daemon: Python cannot end
    # safely in the middle of it.
    threading.Thread(target=warm_up).start()
    # Gradio stops by itself on Ctrl-C, but not while it is still starting.
    with contextlib.suppress(KeyboardInterrupt):
        demo.launch(**launch_options())
