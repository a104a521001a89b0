"""Behind nginx, under a sub-path and by another name, with the lines of docs/serving.md."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from tests.scale.conftest import ROOT, Start, free_port

NAME = "demo.example.org"
WAIT = 120_000  # milliseconds

_NGINX = """
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxied;
    fastcgi_temp_path unused;
    uwsgi_temp_path unused;
    scgi_temp_path unused;
    server {{
        listen 127.0.0.1:{port};
        server_name {name};
        {lines}
    }}
}}
"""


@pytest.fixture
def proxied(start_app: Start, tmp_path: Path) -> Iterator[str]:
    """The port at which nginx listens."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        reason = "no nginx on this machine (Debian, Ubuntu: apt-get install nginx-light)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    text = (ROOT / "docs" / "serving.md").read_text("utf-8")
    (lines,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    _, app_port = start_app(GRADIO_ROOT_PATH="/gradcam", GRADCAM_ALLOWED_HOSTS=NAME)
    port = free_port()
    assert "127.0.0.1:7860" in lines
    lines = lines.replace("127.0.0.1:7860", f"127.0.0.1:{app_port}")
    settings = tmp_path / "nginx.conf"
    settings.write_text(_NGINX.format(port=port, name=NAME, lines=lines))
    (tmp_path / "logs").mkdir()
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    proxy = subprocess.Popen([nginx, "-p", tmp_path, "-c", settings, *user])
    try:
        while True:
            assert proxy.poll() is None
            try:
                httpx.get(f"http://127.0.0.1:{port}/", timeout=30)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield f"{NAME}:{port}"
    finally:
        proxy.terminate()
        proxy.wait()


def test_the_page_works_behind_a_proxy_under_a_sub_path(
    proxied: str, chromium: str, cat_file: Path
) -> None:
    port = proxied.rpartition(":")[2]
    address = f"http://{proxied}/gradcam/"
    requested: list[str] = []
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-dev-shm-usage",
                f"--host-resolver-rules=MAP {NAME} 127.0.0.1",
            ],
        )
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        expect.set_options(timeout=WAIT)
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda line: said.append(f"{line.type}: {line.text} {line.location}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        opened = page.goto(address)
        assert opened is not None
        assert "default-src 'self'" in opened.headers["content-security-policy"]
        heading = page.locator("#gradcam h2")
        expect(heading).to_have_text("Why moped?")
        page.locator("input[type=file]").set_input_files(cat_file)
        expect(heading).to_have_text("Why Egyptian cat?")
        browser.close()
    # Nobody serves what lies outside the sub-path here; a browser asks for an icon there.
    assert [line for line in said if line.startswith("error") and "favicon.ico" not in line] == []
    assert [url for url in requested if not url.startswith((address, "data:", "blob:"))] == []

    # What is checked at the door is checked behind the proxy too.
    here = f"http://127.0.0.1:{port}/gradcam/"
    assert httpx.get(here, headers={"Host": "evil.example"}).status_code == 400
    named = {"Host": proxied}
    assert httpx.get(f"{here}config", headers=named).status_code == 200
    for origin, content, status in (
        (f"http://{proxied}", cat_file.read_bytes(), 200),
        # Small: the door closes at once, and nginx might still be sending a picture.
        ("https://evil.example", b"a picture", 403),
    ):
        asked = named | {"Origin": origin}
        sent = httpx.post(f"{here}gradio_api/upload", files={"files": content}, headers=asked)
        assert sent.status_code == status, origin
