"""Builds and launches the demo; the file that Hugging Face Spaces runs."""

import contextlib

from demo.build import build_demo, create_compute, launch_options, warm_up

compute = create_compute()
demo = build_demo(compute)

if __name__ == "__main__":
    # Gradio stops by itself on Ctrl-C, but not while it is still starting.
    with contextlib.suppress(KeyboardInterrupt):
        demo.launch(**launch_options(), prevent_thread_lock=True)
        warm_up(compute)  # only now: the page does not wait for it
        demo.block_thread()
