"""Starting and stopping `python app.py`."""

import signal
import subprocess
import sys

import pytest

from tests.support.program import ROOT, program


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C works differently on Windows")
def test_app_listens_on_the_given_port_and_stops_on_ctrl_c() -> None:
    with program() as app:
        assert app.get("").status_code == 200
        assert app.stop(signal.SIGINT) == 0, app.output()
        assert "Traceback" not in app.output()


def test_the_page_is_built_without_importing_model_libraries() -> None:
    script = "import sys, app;print({'timm', 'torchvision', 'transformers'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
