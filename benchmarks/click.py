"""Time from click to picture in a browser, compared with the core alone.

    python -m benchmarks.click

Needs Chromium. A new photo is an example with random bytes appended.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import FilePayload, Page, sync_playwright

import gradcam_core
from benchmarks.load import cpu_seconds, serving
from demo.examples import example_pictures

_WATCHED = """
    window.timing = { start: 0, answered: false };
    const begin = () => Object.assign(timing, { start: performance.now(), answered: false });
    document.addEventListener('change', begin, true);
    document.addEventListener('keydown', ({ key }) => key === 'Enter' && begin(), true);
    document.addEventListener('gradcam-answer', ({ detail: { lane, answer } }) => {
        if (lane === 'first' && answer?.answer) timing.answered = true;
    });
    const look = () => document.querySelector('#gradcam h1')
        ? timing.shown = performance.now() : requestAnimationFrame(look);
    look();
"""
# An answer is drawn when the technical details stand below it. Checking in every frame would make
# the browser draw additional frames.
_DRAWN = """() => new Promise((drawn) => {
    const look = () => {
        const details = document.querySelector('#gradcam .technical')?.textContent;
        if (!timing.answered || !details?.includes('cells')) return;
        watched.disconnect();
        requestAnimationFrame(() => drawn(performance.now() - timing.start));
    };
    const watched = new MutationObserver(look);
    watched.observe(document, { childList: true, characterData: true, subtree: true });
    look();
})"""


def main(rounds: Annotated[int, typer.Option(help="Photos")] = 20) -> None:
    """Print median times and mean CPU times, in milliseconds."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(folder) as (address, process),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for visit in ("first", "second"):
            page = browser.new_page()
            page.add_init_script(_WATCHED)
            page.goto(address)
            drawn, shown = page.evaluate(_DRAWN), page.evaluate("timing.shown")
            print(f"{visit} visitor: page after {shown:.0f} ms, explanation after {drawn:.0f} ms")
        _compare(page, process.pid, Path(folder), rounds)
        browser.close()


def _compare(page: Page, server: int, folder: Path, rounds: int) -> None:
    gradcam_core.load("lite0")
    times: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    contents = [file.read_bytes() for file in example_pictures().values()]

    def record(name: str, pid: int, work: Callable[[], float]) -> None:
        before = cpu_seconds(pid)
        times.setdefault(name, []).append(work())
        cpu.setdefault(name, []).append(1000 * (cpu_seconds(pid) - before))

    for number in range(rounds):
        content = contents[number % len(contents)] + os.urandom(8)
        file = folder / "photo.jpg"
        file.write_bytes(content)
        record("core, a new photo", os.getpid(), lambda: _time_core(file))  # noqa: B023
        record("page, a new photo", server, lambda: _time_upload(page, content))  # noqa: B023
        record("page, another class", server, lambda: _time_target(page, "tabby"))
    for name, taken in times.items():
        middle = statistics.median(taken)
        print(f"{name:20} {middle:6.0f} ms, {statistics.mean(cpu[name]):6.0f} ms CPU")


def _time_upload(page: Page, content: bytes) -> float:
    photo: FilePayload = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": content}
    page.locator("#gradcam input[type=file]").set_input_files(photo)
    return float(page.evaluate(_DRAWN))


def _time_target(page: Page, target: str) -> float:
    page.locator("#gc-target").fill(target)
    page.locator("#gc-target").press("Enter")
    return float(page.evaluate(_DRAWN))


def _time_core(file: Path) -> float:
    start = time.perf_counter()
    gradcam_core.explain(file)
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    typer.run(main)
