"""Builds and launches the demo; the file that Hugging Face Spaces runs."""

from demo.hosting import listen, settings, shutdown

if __name__ == "__main__":
    shutdown.catch_signals()
settings.check()
if __name__ == "__main__":
    listen.check_port()

from demo.build import build_demo, create_compute  # noqa: E402  (takes seconds)

compute = create_compute()
demo = build_demo(compute)

if __name__ == "__main__":
    from demo.serve import serve

    serve(demo, compute)
