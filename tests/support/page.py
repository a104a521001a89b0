"""What the page shows, by its data attributes: the sentences may change."""

from playwright.sync_api import Page, expect


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
    expect(page.locator("#gc-panel")).not_to_have_attribute("data-state", "explaining")


def state(page: Page, code: str) -> None:
    """Expect a state of the page: "explained", what it is doing, or the code of a problem."""
    expect(page.locator("#gc-panel")).to_have_attribute("data-state", code)
