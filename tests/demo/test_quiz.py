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


def test_ten_questions_and_a_score(visit: Callable[..., Page]) -> None:
    page = visit(width=390, query="quiz", target=None)
    page.get_by_role("button", name="Begin").click()
    for n in range(10):
        expect(page.locator(".place")).to_have_text(f"Question {n + 1} of 10")
        page.locator(".choices button").first.click()
        page.locator(".next").click()
    cells = page.locator("tbody td:nth-child(2)").all_text_contents()
    assert [cell.split(" of ")[1] for cell in cells] == ["4", "4", "2"]
    right = sum(int(cell.split()[0]) for cell in cells)
    page.get_by_role("button", name="Once more").click()
    expect(page.locator(".place")).to_have_text("Question 1 of 10")
    assert 0 <= right <= 10
