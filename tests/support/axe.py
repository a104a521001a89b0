"""What axe finds wrong with an open page for those who see or hear it differently."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def serious(page: Page, theme: str) -> list[tuple[str, list[str]]]:
    """Return the critical and serious violations in a theme, "light" or "dark": rule, elements.

    The theme is that of the visitor's system, which the page follows also while it is open.
    """
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.wait_for_function(
        "dark => document.body.classList.contains('dark') === dark"
        " && !document.getAnimations().some((each) => each instanceof CSSTransition)",
        arg=theme == "dark",
    )
    return [
        (each["id"], [node["target"] for node in each["nodes"]])
        for each in Axe().run(page).response["violations"]
        if each["impact"] in ("critical", "serious")
    ]
