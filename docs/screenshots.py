"""Take the README's screenshot, and those to look at before a release.

    python docs/screenshots.py FOLDER

Opens the demo in Chromium at 1280 and 390 pixels, light and dark, and clicks through it.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from demo.build import build_demo, launch_options  # noqa: E402


def main(folder: Path) -> None:
    """Write the screenshots into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    demo = build_demo()
    _, address, _ = demo.launch(**launch_options(), prevent_thread_lock=True, quiet=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        for width, height in ((1280, 900), (390, 844)):
            for theme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": height})
                page.goto(f"{address}?__theme={theme}")
                classification(page)
                page.screenshot(path=folder / f"classification-{width}-{theme}.png", full_page=True)
                page.close()
        browser.close()
    demo.close()


def classification(page: Page) -> None:
    """Ask why "tabby" of the collage that a visitor sees first."""
    summary = page.locator("#classify-summary")
    summary.get_by_text("Why moped?").wait_for()
    page.locator("#classify-classes").get_by_text("tabby").click()
    summary.get_by_text("Why tabby?").wait_for()
    page.wait_for_timeout(2000)  # the pictures fade in


if __name__ == "__main__":
    main(Path(sys.argv[1]))
