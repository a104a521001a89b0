"""The page behind nginx, under another name, with the lines of docs/serving.md and scale.md."""

import os
import re
import shutil
import signal
import subprocess
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.page import CHROMIUM_OPTIONS, check_opening_and_upload, shows
from tests.support.program import ROOT, Start, free_port, wait_for_server

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
    {outside}
    server {{
        listen 127.0.0.1:{port};
        server_name {name};
        {lines}
    }}
}}
"""


def lines_of(document: str) -> str:
    text = (ROOT / "docs" / document).read_text("utf-8")
    (lines,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    return str(lines)


def location_of_app() -> str:
    """The part of the lines in docs/serving.md that passes requests on."""
    (location,) = re.findall(r"location / \{.*?\n    \}\n", lines_of("serving.md"), re.DOTALL)
    return str(location)


def replaced(lines: str, *pairs: tuple[str, str]) -> str:
    """Lines of a document, with the addresses of this test."""
    for documented, here in pairs:
        assert documented in lines
        lines = lines.replace(documented, here)
    return lines


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Start nginx with lines inside and outside `server`; return its port once it answers."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        reason = "no nginx on this machine (Debian, Ubuntu: apt-get install nginx-light)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    started = []

    def start(lines: str, outside: str = "") -> int:
        port = free_port()
        settings = tmp_path / "nginx.conf"
        settings.write_text(_NGINX.format(port=port, name=NAME, lines=lines, outside=outside))
        (tmp_path / "logs").mkdir()
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        proxy = subprocess.Popen([nginx, "-p", tmp_path, "-c", settings, *user])
        started.append(proxy)
        wait_for_server(proxy, f"http://127.0.0.1:{port}/")
        return port

    yield start
    for proxy in started:
        proxy.terminate()
        proxy.wait()


@contextmanager
def browsing(chromium: str) -> Iterator[Page]:
    """A page of a browser in which the name is this machine's."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[*CHROMIUM_OPTIONS, f"--host-resolver-rules=MAP {NAME} 127.0.0.1"],
        )
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        expect.set_options(timeout=WAIT)
        yield page
        browser.close()


@pytest.mark.slow
def test_the_page_works_behind_a_proxy_under_a_sub_path(
    start_app: Start, start_nginx: Callable[..., int], chromium: str, cat_file: Path
) -> None:
    app_port = start_app(GRADIO_ROOT_PATH="/gradcam", GRADCAM_ALLOWED_HOSTS=NAME).port
    app = ("127.0.0.1:7860", f"127.0.0.1:{app_port}")
    lines = replaced(location_of_app(), app, ("location / {", "location /gradcam/ {"))
    port = start_nginx(lines)
    address = f"http://{NAME}:{port}/gradcam/"
    requested: list[str] = []
    log: list[str] = []
    with browsing(chromium) as page:
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda line: log.append(f"{line.type}: {line.text} {line.location}"))
        page.on("pageerror", lambda error: log.append(f"error: {error}"))
        check_opening_and_upload(page, address, cat_file)
    # Nothing is served outside the sub-path here, where a browser asks for an icon.
    assert [line for line in log if line.startswith("error") and "favicon.ico" not in line] == []
    assert [url for url in requested if not url.startswith((address, "data:", "blob:"))] == []

    # The request filter works behind the proxy too.
    here = f"http://127.0.0.1:{port}/gradcam/"
    assert httpx.get(here, headers={"Host": "evil.example"}).status_code == 400
    named = {"Host": f"{NAME}:{port}"}
    assert httpx.get(f"{here}config", headers=named).status_code == 200
    for origin, content, status in (
        (f"http://{NAME}:{port}", cat_file.read_bytes(), 200),
        # Small: the request is refused at once, while nginx might still be sending a picture.
        ("https://evil.example", b"a picture", 403),
    ):
        headers = named | {"Origin": origin}
        sent = httpx.post(f"{here}gradio_api/upload", files={"files": content}, headers=headers)
        assert sent.status_code == status, origin


@pytest.mark.slow
def test_visitors_stay_with_their_page_until_it_dies(
    start_app: Start,
    start_nginx: Callable[..., int],
    chromium: str,
    cat_file: Path,
    tmp_path: Path,
) -> None:
    """All from one address, with the lines of docs/scale.md; uploads are not shared."""
    above, within = re.split(r"# in the location.*\n", lines_of("scale.md"))
    # By Gradio's number for each page, in the precision of a browser.
    pages: dict[float, tuple[subprocess.Popen[bytes], Path]] = {}
    for number in (1, 2):
        folder = tmp_path / f"uploads of {number}"
        app = start_app(GRADCAM_ALLOWED_HOSTS=NAME, GRADIO_TEMP_DIR=str(folder))
        pages[float(app.get("config").json()["app_id"])] = app.process, folder
        above = replaced(above, (f"10.0.0.{number}:7860", f"127.0.0.1:{app.port}"))
    alone = "proxy_pass http://127.0.0.1:7860/;"
    lines = replaced(location_of_app(), (alone, within))
    port = start_nginx(lines, above)

    def visit() -> Client:
        here = f"http://127.0.0.1:{port}"
        return Client(here, verbose=False, download_files=str(tmp_path / "results"))

    def page_of(visitor: Client) -> float:
        return float(visitor.config["app_id"])

    def ask(visitors: list[Client]) -> list[float]:
        """Ask all at once; every upload, answer and download works. Return who has the uploads."""
        photos = [tmp_path / f"{uuid.uuid4().hex}.png" for _ in visitors]
        jobs = []
        for visitor, photo in zip(visitors, photos, strict=True):
            shutil.copy(cat_file, photo)
            jobs.append(visitor.submit(picture=handle_file(photo), api_name="/classify"))
        for job in jobs:
            overlay = job.result(timeout=WAIT / 1000)[3]
            assert Image.open(overlay).size == (451, 300)
        return [
            named
            for photo in photos
            for named, (_, folder) in pages.items()
            if list(folder.rglob(photo.name))
        ]

    visitors = [visit() for _ in range(4)]
    while len(set(map(page_of, visitors))) < len(pages):  # by chance
        visitors.append(visit())
    assert ask(visitors) == [page_of(visitor) for visitor in visitors]

    with browsing(chromium) as page:
        page.goto(f"http://{NAME}:{port}/")
        shows(page, "lion")
        page.locator("input[type=file]").set_input_files(cat_file)
        shows(page, "Egyptian cat")
        dead = float(page.evaluate("gradio_config.app_id"))
        (other,) = pages.keys() - {dead}

        # It dies while it answers. The page says so, and the other page gets the photo.
        app, _ = pages[dead]
        app.send_signal(signal.SIGSTOP)
        with page.expect_request("**/queue/join*"):
            page.locator("[data-text='tiger cat']").click()
        app.kill()
        expect(page.locator(".problem")).to_have_attribute("data-code", "lost")
        page.locator(".suggestions button").click()  # try again
        shows(page, "tiger cat")
        assert float(page.evaluate("gradio_config.app_id")) == other
        with page.expect_download() as download:
            page.locator("[data-format=zip]").click()
        assert zipfile.is_zipfile(download.value.path())
    assert ask(visitors) == [other] * len(visitors)
