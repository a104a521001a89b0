"""Several visitors at once, hostile files among theirs."""

import asyncio

import pytest

from benchmarks import load

USERS, TURNS = 4, 7


@pytest.mark.slow
def test_four_visitors_get_the_answers_of_one(address: str) -> None:
    alone = asyncio.run(load.answers_alone(address))
    found = asyncio.run(load.drive(address, USERS, alone, lambda turn: turn < TURNS))
    numbers = [user * 7 + turn for user in range(USERS) for turn in range(TURNS)]
    hostile = sum(number % 16 == 15 for number in numbers)
    assert (found.errors, found.busy, found.wrong) == ([], 0, 0)
    assert (found.hostile, len(found.seconds)) == (hostile, len(numbers) - hostile)
    assert hostile
