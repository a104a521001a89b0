"""GET /health: whether the server works, for operators only; and passwords of a private host."""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file

from demo.compute.local import LocalCompute
from demo.hosting import health, request_filter
from demo.hosting.disk_quota import quota
from demo.hosting.settings import Settings
from tests.support.program import ROOT, program

TOKEN = "a token of the operator"


@pytest.fixture
def checked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request checks the server, whatever was found a moment before."""
    monkeypatch.setattr(health, "KEPT", -1.0)


def set_to(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    monkeypatch.setattr(request_filter, "settings", lambda: Settings(**settings))


def test_a_server_that_works_is_healthy(address: str) -> None:
    answer = httpx.get(f"{address}health", timeout=60)
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "compute": "ok", "disk": "ok", "queue": "ok"}


@pytest.mark.usefixtures("checked_anew")
def test_what_is_wrong_is_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any) -> None:
        raise RuntimeError("secret of the server")

    parts: list[tuple[str, Callable[[pytest.MonkeyPatch], None]]] = [
        ("disk", lambda patch: patch.setattr(quota, "limit", 0)),
        ("compute", lambda patch: patch.setattr(LocalCompute, "check", fail)),
        ("queue", lambda patch: patch.setattr(health, "settings", lambda: full)),
    ]
    full = SimpleNamespace(max_waiting=0)
    for part, break_it in parts:
        with monkeypatch.context() as patch:
            break_it(patch)
            answer = httpx.get(f"{address}health", timeout=60)
        found = answer.json()
        assert answer.status_code == 503
        assert found.pop("status") == "failing"
        assert [name for name, problem in found.items() if problem != "ok"] == [part]
        assert "secret" not in answer.text
    assert httpx.get(f"{address}health", timeout=60).status_code == 200


def test_many_requests_cost_one_check(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[int] = []
    monkeypatch.setattr(LocalCompute, "check", lambda self: checks.append(1))
    monkeypatch.setattr(health, "KEPT", -1.0)
    httpx.get(f"{address}health", timeout=60)
    monkeypatch.setattr(health, "KEPT", 1e9)
    for _ in range(20):
        assert httpx.get(f"{address}health", timeout=60).status_code == 200
    assert len(checks) == 1


@pytest.mark.parametrize("route", ["health", "metrics"])
def test_strangers_are_refused(route: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(**headers: str) -> int:
        return httpx.get(f"{address}{route}", headers=headers, timeout=60).status_code

    set_to(monkeypatch, GRADCAM_ALLOWED_HOSTS="demo.example.org")
    local = [{}, {"Host": "localhost"}, {"Host": "10.1.2.3"}, {"X-Forwarded-For": "192.168.0.9"}]
    assert [get(**headers) for headers in local] == [200] * 4
    # A proxy on this machine says for whom it asks; or passes on the name that was asked for.
    strange = [
        {"X-Forwarded-For": "203.0.113.5"},
        {"X-Forwarded-For": "100.64.0.1"},
        {"X-Forwarded-For": "::ffff:203.0.113.5"},
        {"Host": "demo.example.org"},
        {"Host": "203.0.113.5:80"},
        {"Host": socket.gethostname()},
        {"Authorization": f"Bearer {TOKEN}"} | {"Host": "demo.example.org"},
    ]
    assert [get(**headers) for headers in strange] == [403] * len(strange)
    set_to(monkeypatch, GRADCAM_MONITORING_TOKEN=TOKEN)
    assert get(Authorization=f"Bearer {TOKEN}") == 200
    wrong = ["", TOKEN, f"Bearer {TOKEN[:-1]}", f"bearer{TOKEN}", "Bearer é"]
    for sent in wrong:
        headers = {"Authorization": sent.encode()}
        answer = httpx.get(f"{address}{route}", headers=headers, timeout=60)
        assert answer.status_code == 401


@pytest.mark.slow
def test_a_private_host_wants_a_password(cat_file: Path) -> None:
    users = "ann:s3cret é+&,bob:other"
    with program(GRADCAM_USERS=users, GRADCAM_LOG="json", GRADCAM_MCP="1") as app:
        assert app.get("health").status_code == 200
        table = (ROOT / "SECURITY.md").read_text("utf-8")
        for method, path in re.findall(r"^\| `(GET|POST) (/gradio_api/\S*)` \|", table, re.M):
            if path in ("/gradio_api/app_id", "/gradio_api/startup-events"):
                continue
            address = app.address + re.sub(r"\{[^}]*\}", "9" * 32, path)[1:]
            assert httpx.request(method, address, timeout=60).status_code == 401, path
        assert "lite0" not in app.get("").text
        for wrong in (("ann", "other"), ("bob", ""), ("", ""), ("eve", "s3cret é+&")):
            with pytest.raises(Exception):  # noqa: B017
                Client(app.address, auth=wrong, verbose=False)
        client = Client(app.address, auth=("ann", "s3cret é+&"), verbose=False)
        answer = client.predict(handle_file(cat_file), api_name="/classify")
        assert os.path.getsize(answer[3])  # noqa: PTH202
        # The form of the page in the browser.
        form = {"username": (None, "bob"), "password": (None, "other")}
        assert httpx.post(f"{app.address}login", files=form).status_code == 200
        for _ in range(20):
            form["password"] = (None, "guess")
            last = httpx.post(f"{app.address}login", files=form)
        assert last.status_code == 429
        for body in (b"", b"username=ann", b"x" * 5000, b"\xff" * 50):
            assert httpx.post(f"{app.address}login", content=body).status_code in (413, 422, 429)
        assert "s3cret" not in app.output()
        assert "other" not in app.output()


def test_without_passwords_there_is_no_login(address: str) -> None:
    form = {"username": "ann", "password": "s3cret"}
    assert httpx.post(f"{address}login", data=form).status_code == 404
