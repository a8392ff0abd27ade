"""Runs that were seen to fail, made again with a program that asks something else by now."""

import pytest

import virtualloop
from helpers import as_explored
from virtualloop._exploration.again import AsFarAsItFits, run_token
from virtualloop.schedules._choice import Choice


def asks(count, fails_at):
    """Return a program with so many choices, which fails where the one at `fails_at`, and no other, is "b"."""

    async def main():
        chosen = [virtualloop.choose("ab") for _ in range(count)]
        if chosen.count("b") == 1 and chosen[fails_at] == "b":
            raise LookupError

    return main


def token_of(main):
    return virtualloop.explore(main, check=False, patch_time=False, patch_random=False).failure.token


@pytest.mark.parametrize(("count", "fails_at"), [(9, 4), (10, 5), (8, 3), (12, 7), (6, 1)])
def test_a_deviation_is_found_some_questions_later_or_earlier(count, fails_at):
    """Where nothing tells a question that was added from those around it."""
    again = run_token(as_explored(asks(count, fails_at)), token_of(asks(9, 4)))

    assert again.outcome.failed is not None
    assert [position for position, answer in enumerate(again.outcome.answers) if answer] == [fails_at]
    if fails_at == 4:
        assert (again.runs, again.misfit) == (1, None)
    else:
        assert again.runs > 1
        assert "choice" in again.misfit


def test_it_is_not_looked_for_where_only_the_run_itself_is_wanted():
    again = run_token(as_explored(asks(10, 5)), token_of(asks(9, 4)), fit=False)

    assert (again.outcome.failed, again.runs) == (None, 1)


def test_it_is_not_looked_for_far_away():
    again = run_token(as_explored(asks(30, 24)), token_of(asks(9, 4)))

    assert again.outcome.failed is None
    assert again.runs <= 1 + 8  # so many places


def test_a_question_of_another_kind_is_one_that_was_added():
    recorded = [Choice(1, 2, "hold"), Choice(2, 3, "task"), Choice(1, 2, "late")]
    schedule = AsFarAsItFits(recorded)

    assert [schedule.choose(2, "hold"), schedule.choose(2, "user"), schedule.choose(3, "task")] == [1, 0, 2]
    assert schedule.misfit() == "choice 1 was 'task' of 3, and is 'user' of 2"
    assert [schedule.choose(2, "late"), schedule.choose(2, "late")] == [1, 0]


def test_a_run_that_ends_earlier_is_another_one():
    schedule = AsFarAsItFits([Choice(1, 2, "hold"), Choice(0, 2, "hold")])
    assert schedule.choose(2, "hold") == 1
    assert schedule.misfit() == "it ends after 1 of 2 choices"
    assert schedule.choose(2, "hold") == 0
    assert schedule.misfit() is None
