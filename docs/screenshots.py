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
                page.locator("#classify-summary").get_by_text("Why moped?").wait_for()
                for scene in (classification, side_by_side, captioning, vqa):
                    scene(page)
                    page.wait_for_timeout(2500)  # the pictures fade in
                    name = f"{scene.__name__}-{width}-{theme}.png"
                    page.screenshot(path=folder / name, full_page=True)
                page.close()
        browser.close()
    demo.close()


def classification(page: Page) -> None:
    """Ask why "tabby" of the collage that a visitor sees first."""
    page.locator("#classify-labels").get_by_text("tabby").click()
    page.locator("#classify-summary").get_by_text("Why tabby?").wait_for()


def side_by_side(page: Page) -> None:
    """Ask Lite2 the same."""
    page.locator("#classify-beside input").click()
    page.get_by_role("option", name="lite2").click()
    page.locator("#classify-second-text").get_by_text("lite2").first.wait_for()


def captioning(page: Page) -> None:
    """Look at one word of the network's own caption."""
    page.get_by_role("tab", name="Captioning").click()
    page.locator("#caption-summary").get_by_text("Why").wait_for()
    page.locator("#caption-words").get_by_text("cat", exact=True).click()
    page.locator("#caption-summary").get_by_text("Why cat in").wait_for()


def vqa(page: Page) -> None:
    """Ask about the motorcycle."""
    page.get_by_role("tab", name="VQA").click()
    page.locator(".suggestions button").get_by_text("What vehicle is there?").click()
    page.locator("#vqa-summary").get_by_text("What vehicle is there?").wait_for()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
