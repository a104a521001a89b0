"""Builds and launches the demo; the file that Hugging Face Spaces runs."""

import contextlib

from demo.build import build_demo, launch_options, warm_up

demo = build_demo()

if __name__ == "__main__":
    # Gradio handles Ctrl-C itself, but not while it is starting.
    with contextlib.suppress(KeyboardInterrupt):
        demo.launch(**launch_options(), prevent_thread_lock=True)
        warm_up()  # after the launch, so that the page opens without waiting for it
        demo.block_thread()
