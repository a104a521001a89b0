"""What the page shows, by its data attributes: the sentences may change."""

from pathlib import Path

from playwright.sync_api import Page, expect

CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage"]


def shows(page: Page, target: str, heading: str = "why", **more: str) -> None:
    """Expect a result.

    Args:
        page: The page.
        target: The class, caption or answer.
        heading: Which heading it has: "why", "why_not", "faint", "no_evidence" or "word".
        more: Of the heading: `question`, `word`, `other` (the target beside it).
    """
    expected = {"target": target, "heading": heading, **more}
    for name, value in expected.items():
        expect(page.locator(".result-heading")).to_have_attribute(f"data-{name}", value)
    expect(page.locator(".result-heading h2")).to_contain_text(more.get("word", target))
    expect(page.locator("#gc-panel")).not_to_have_attribute("data-state", "explaining")


def state(page: Page, code: str) -> None:
    """Expect a state of the page: "explained", what it is doing, or the code of a problem."""
    expect(page.locator("#gc-panel")).to_have_attribute("data-state", code)


def check_opening_and_upload(page: Page, address: str, cat_file: Path) -> None:
    """Open the page, with its headers and its first example, and upload a photo."""
    opened = page.goto(address)
    assert opened is not None
    assert "default-src 'self'" in opened.headers["content-security-policy"]
    shows(page, "lion")
    page.locator("input[type=file]").set_input_files(cat_file)
    shows(page, "Egyptian cat")
