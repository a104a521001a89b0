"""The quiz: what it asks, and what it counts."""

from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

from demo import quiz
from demo.compute.local import LocalCompute
from demo.service import Service


def ask(**request: Any) -> dict[str, Any]:
    event, session = gr.EventData(None, {"id": 1, **request}), gr.Request(session_hash="quiz")
    return quiz.Quiz(Service(LocalCompute())).question(event, session)


@pytest.mark.parametrize("number", [0, 1, 2 * len(quiz.PAIRS) - 1])
def test_the_right_one_of_two_things_is_what_is_explained(number: int) -> None:
    reply = ask(kind="what", number=number)
    thing = reply["choices"][reply["right"]]
    assert quiz.THINGS[thing] == reply["answers"][0]["target"]
    assert reply["answers"][0]["gradient"]


def test_the_right_one_of_two_networks_is_the_more_accurate() -> None:
    for number in (4, 5):
        reply = ask(kind="which network", number=number)
        assert reply["answers"][reply["right"]]["model"] == "lite2"
        assert {each["target"] for each in reply["answers"]} == {"espresso"}


def test_invalid_requests_are_refused() -> None:
    for request in ({"kind": "what", "number": 10**6}, {"kind": "why", "number": 0}, {}):
        assert ask(**request)["code"] == "out_of_date"


@pytest.mark.slow
def test_ten_questions_and_a_score(visit: Callable[..., Page]) -> None:
    page = visit(width=390, query="quiz", target=None)
    page.get_by_role("button", name="Begin").click()
    marks = page.locator(".choices [data-mark]")
    found = []
    for n in range(10):
        expect(page.locator(".place")).to_have_text(f"Question {n + 1} of 10")
        choices = page.locator(".choices button")
        # The question names what is to be chosen from, or the pictures do.
        named = page.locator(".quiz h2, .drawn figcaption")
        for choice in choices.all_text_contents():
            assert choice in " ".join(named.all_text_contents())
        expect(marks).to_have_count(0)
        own = choices.nth(n % 2)
        own.click()
        # What was chosen is marked as such, and what is right is marked as right.
        expect(page.locator(".choices [aria-pressed=true]")).to_have_count(1)
        expect(own).to_have_attribute("aria-pressed", "true")
        right = page.locator(".verdict").get_attribute("data-right") == "true"
        expect(own).to_have_attribute("data-mark", "right" if right else "wrong")
        expect(marks).to_have_count(1 if right else 2)
        expect(page.locator(".choices [data-mark=right]")).to_have_count(1)
        found.append(right)
        page.locator(".next").click()
    cells = page.locator("tbody td:nth-child(2)").all_text_contents()
    assert [cell.split(" of ")[1] for cell in cells] == ["4", "4", "2"]
    assert sum(int(cell.split()[0]) for cell in cells) == sum(found)
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        box = page.locator(".score table").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Once more").click()
    expect(page.locator(".place")).to_have_text("Question 1 of 10")
