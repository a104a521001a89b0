"""Take the README's screenshot, and others to check before a release.

    python docs/screenshots.py FOLDER [PHOTO ...]

Opens the demo in Chromium at widths of 1280 and 390 pixels, light and dark, and explains each photo
(default: three examples) in each tab.
"""

import shutil
import sys
from pathlib import Path

import matplotlib
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from demo.build import build_demo, launch_options  # noqa: E402
from demo.compute.local import LocalCompute  # noqa: E402
from demo.examples import example_pictures  # noqa: E402

# The tour is offered on the first visit only.
_NO_OFFER = "localStorage.setItem('gradcam-tour', 'offered')"


def main(folder: Path, photos: list[Path]) -> None:
    """Write the screenshots into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    demo = build_demo(LocalCompute())
    _, address, _ = demo.launch(**launch_options(), prevent_thread_lock=True, quiet=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        for width, height in ((1280, 900), (390, 844)):
            for theme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": height})
                page.add_init_script(_NO_OFFER)
                page.goto(f"{address}?__theme={theme}")
                explained(page)
                for photo in photos:
                    page.locator("input[type=file]").set_input_files(photo)
                    for tab in ("Classification", "Captioning", "VQA"):
                        page.get_by_role("tab", name=tab).click()
                        explained(page)
                        name = f"{photo.stem}-{tab.lower()}-{width}-{theme}.png"
                        page.screenshot(path=folder / name, full_page=True)
                page.close()
        # The README's: a photo that is no example, with two of its classes side by side.
        page = browser.new_page(viewport={"width": 1280, "height": 920})
        page.add_init_script(_NO_OFFER)
        page.goto(f"{address}?__theme=light")
        explained(page)
        page.locator("input[type=file]").set_input_files(
            Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
        )
        expect(page.locator("h2").first).to_contain_text("military uniform", timeout=60_000)
        page.locator("[data-view=guided-grad-cam]").click()
        explained(page)
        page.locator("[data-view=grad-cam]").click()
        page.get_by_role("button", name="Why not Windsor tie?").click()
        expect(page.locator("h2").first).to_contain_text("Windsor tie", timeout=60_000)
        page.mouse.move(1, 1)
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=folder / "screenshot.png")
        browser.close()
    demo.close()


def explained(page: Page) -> None:
    """Wait until the result is shown."""
    page.wait_for_timeout(300)
    expect(page.locator("#gc-panel")).to_have_attribute("data-state", "explained", timeout=60_000)
    page.wait_for_timeout(300)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [*map(Path, sys.argv[2:])] or [*example_pictures().values()][:3])
