"""Settings: all in one table, wrong ones are said."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from demo.hosting.settings import Settings, check, settings
from tests.support.program import ROOT, WAIT, free_port


def start(**settings: str) -> subprocess.CompletedProcess[str]:
    """Run `app.py`, which is expected to end by itself."""
    given = {"GRADIO_SERVER_PORT": str(free_port()), **settings}
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=os.environ | given,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )


WRONG = [
    {"GRADCAM_UPLOADS_GB": "two"},
    {"GRADCAM_UPLOADS_GB": "nan"},
    {"GRADCAM_UPLOADS_GB": "-1"},
    {"GRADCAM_MODELS_GB": "0"},
    {"GRADCAM_MODELS": "0"},
    {"GRADCAM_MODELS": "1.5"},
    {"GRADCAM_DEVICE": "the fast one"},
    {"GRADCAM_QUEUE": "-3"},
    {"GRADCAM_QUEUE_PER_PAGE": "x"},
    {"GRADCAM_QUEUE_PER_ADDRESS": "1e3"},
    {"GRADCAM_CONCURRENCY": "0"},
    {"GRADCAM_LOG": "xml"},
    {"GRADCAM_ALLOWED_HOSTS": "https://demo.example.org/"},
    {"GRADCAM_USERS": "ann"},
    {"GRADCAM_USERS": "ann:one,ann:two"},
    {"GRADCAM_MONITORING_TOKEN": "short"},
    {"GRADIO_SERVER_PORT": "http"},
    {"GRADIO_SERVER_PORT": "70000"},
    {"GRADIO_ROOT_PATH": "gradcam"},
    {"GRADCAM_DEFAULT_MODELS": "lite9"},
    {"GRADCAM_DEFAULT_MODELS": "lite0,lite2"},
    {"GRADCAM_PRELOAD": "lite9"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_value_ends_the_start_with_a_sentence(
    wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence names the variable, and shows no secret."""
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    with pytest.raises(SystemExit) as ended:
        check()
    settings.cache_clear()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert name in said
    assert "ann" not in said
    assert "short" not in said.split()


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {str(field.alias) for field in Settings.model_fields.values()}
    for name in names:
        monkeypatch.setenv(name, "")
    settings.cache_clear()
    found = settings()
    settings.cache_clear()
    assert found == Settings(GRADCAM_HUB_MODELS="")
    assert found.hub_models == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [("GRADCAM_UPLOAD_GB", "GRADCAM_UPLOADS_GB"), ("gradcam_models", "GRADCAM_MODELS")],
)
def test_an_unknown_name_ends_the_start(name: str, meant: str) -> None:
    ended = start(**{name: "1"})
    assert ended.returncode == 2
    assert name in ended.stderr
    assert meant in ended.stderr


def test_every_mistake_is_said_at_once() -> None:
    ended = start(GRADCAM_UPLOADS_GB="x", GRADCAM_LOG="xml", GRADCAM_NOTHING="1")
    assert {"GRADCAM_UPLOADS_GB", "GRADCAM_LOG", "GRADCAM_NOTHING"} <= set(
        re.findall(r"GRADCAM_\w+", ended.stderr)
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_said(host: str) -> None:
    with socket.create_server((host, 0)) as other:
        port = str(other.getsockname()[1])
        ended = start(GRADIO_SERVER_NAME="127.0.0.1", GRADIO_SERVER_PORT=port)
    assert ended.returncode == 1
    assert port in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_address_of_another_machine_is_said() -> None:
    ended = start(GRADIO_SERVER_NAME="192.0.2.1")
    assert ended.returncode == 1
    assert "192.0.2.1" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_table_in_the_documents_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    from settings_table import END, START, table

    assert START + table() + END in (ROOT / "docs" / "settings.md").read_text("utf-8")


def test_every_variable_that_the_code_reads_is_in_the_table() -> None:
    """Those of our own, wherever they are read; other programs' are listed as well."""
    known = {field.alias for field in Settings.model_fields.values()}
    folders = [ROOT / "demo", ROOT / "gradcam_core", ROOT / "deploy"]
    files: list[Path] = [ROOT / "app.py"]
    files += [file for folder in folders for file in folder.rglob("*.py")]
    used = {
        name
        for file in files
        for name in re.findall(r"\bGRADCAM_[A-Z_]+\b", file.read_text("utf-8"))
    }
    assert used <= known
    assert {name for name in known if str(name).startswith("GRADCAM_")} == used


@pytest.mark.parametrize(
    ("given", "public"),
    [
        ({}, False),
        ({"GRADIO_SERVER_NAME": "localhost"}, False),
        ({"GRADIO_SERVER_NAME": "127.9.9.9"}, False),
        ({"GRADIO_SERVER_NAME": "[::1]"}, False),
        ({"GRADIO_SERVER_NAME": "0.0.0.0"}, True),
        ({"GRADIO_SERVER_NAME": "gpu7"}, True),
        ({"SPACE_ID": "us/grad-cam"}, True),
    ],
)
def test_which_hosts_are_public(given: dict[str, str], public: bool) -> None:
    assert Settings(**given).is_public == public
