"""python -m gradcam_core: the same as the command `gradcam`."""

from gradcam_core.cli import app

if __name__ == "__main__":
    app(prog_name="python -m gradcam_core")
