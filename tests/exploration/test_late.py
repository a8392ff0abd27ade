"""Which replies are late, and in which order that is tried, without a program."""

import asyncio
import random

import pytest

import virtualloop
from virtualloop._core.lateness import HELD, LONGEST
from virtualloop._exploration.late import APART, DELAYS, MOST_PAIRS, LateReplies
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.replies import Reply, Timeout
from virtualloop.schedules import Choice

TIMEOUT = Timeout("ask", "client.py:12", 1.0, of_main=False)
PLAIN = [Choice(0, 1 + LONGEST, "reply"), Choice(0, 2, "late"), Choice(0, HELD + 1 + LONGEST, "hold")]
FIRST, SECOND = Reply(0, 900_000, TIMEOUT), Reply(2, 500_000, TIMEOUT)


def answers(run):
    return [(position, choice.answer) for position, choice in run.branch]


def test_each_is_late_in_the_usual_ways_then_by_chance():
    late = LateReplies([FIRST, SECOND], PLAIN, needed=set(), seed=7)
    usual = [late.take() for _ in range(late.left())]

    assert len(usual) == 2 * len(DELAYS)
    assert answers(usual[0]) == [(0, 900_000 + DELAYS[0])]
    assert answers(usual[1]) == [(2, HELD + 500_000 + DELAYS[0])]
    assert [run.shows for run in usual] == [True, True] + [False] * (len(usual) - 2)
    assert all(run.seed is None for run in usual)
    assert late.take().seed is not None


def test_what_only_a_late_reply_brings_about_is_late_as_well():
    late = LateReplies([FIRST], PLAIN, needed=set(), seed=7)
    run = late.take()
    again = Reply(4, 950_000, TIMEOUT)
    shown = Outcome("io", choices=[run.branch[0][1], *PLAIN, PLAIN[0]], replies=[FIRST, again])
    late.learn(run, shown)
    second = late.take()

    assert answers(second) == [*answers(run), (4, 950_000 + DELAYS[0])]
    assert second.reply == again
    assert not second.shows


def test_a_reply_also_comes_with_each_thing_that_comes_next_and_after_it():
    late = LateReplies([FIRST], PLAIN, needed=set(), seed=7)
    run = late.take()
    late.learn(run, Outcome("io", choices=[run.branch[0][1], *PLAIN], replies=[FIRST], follows=[200_000, 400_000]))
    shown = [late.take() for _ in range(7)][::2]

    moments = [ticks + after for ticks in (200_000, 400_000) for after in (0, APART)]
    assert [answers(run) for run in shown] == [[(0, 900_000 + DELAYS[0] + moment)] for moment in moments]
    assert not any(run.shows for run in shown)


@pytest.mark.parametrize("patch_time", [True, False])
@pytest.mark.parametrize("jitter", [0.0, 0.005])
@pytest.mark.parametrize("timeout", [0.2, 5])
def test_a_hedge_that_is_served_together_with_the_first_request(patch_time, jitter, timeout):
    """The first reply is late by so much that it meets the second one, which is cancelled wherever it comes earlier."""

    async def main():
        orders, dice = [], random.Random()

        async def order(number):
            await asyncio.sleep(0.02 + dice.random() * jitter)
            orders.append(number)

        requests = [asyncio.create_task(order(0))]
        done, _ = await asyncio.wait(requests, timeout=timeout)
        if not done:
            requests.append(asyncio.create_task(order(1)))
            _, pending = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
            for request in pending:
                request.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        assert len(orders) == 1, orders

    exploration = virtualloop.explore(main, check=False, patch_time=patch_time)

    assert exploration.runs < 20
    assert "[0, 1]" in str(exploration.failure.exception)
    assert "comes after its timeout" in exploration.failure.report


def test_what_fails_already_is_not_made_later():
    late = LateReplies([FIRST], PLAIN, needed=set(), seed=7)
    run = late.take()
    before = late.left()
    late.learn(run, Outcome("io", failed="Error()", choices=PLAIN, replies=[SECOND]))

    assert late.left() == before


def test_a_reply_that_never_comes_after_its_timeout_hangs_the_program_all_the_same():
    """It hangs with the late reply, and without any: that is the program's fault, and no need of the reply."""

    async def main():
        reply = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.5, lambda: reply.done() or reply.set_result("late"))
        try:
            async with asyncio.timeout(1):
                await reply
        except TimeoutError:
            await asyncio.Event().wait()

    failure = virtualloop.explore(main, check=False).failure

    assert isinstance(failure.exception, virtualloop.DeadlockError)


def test_pairs_are_not_many():
    late = LateReplies([FIRST], PLAIN, needed=set(), seed=7)
    run = late.take()
    replies = [Reply(k, 900_000, TIMEOUT) for k in range(1, 2 * MOST_PAIRS)]
    before = late.left()
    late.learn(run, Outcome("io", choices=[PLAIN[0]] * 2 * MOST_PAIRS, replies=replies))

    assert late.left() == before + MOST_PAIRS


def test_what_the_program_needs_in_time_is_not_late_again():
    needed = set()
    late = LateReplies([FIRST, SECOND], PLAIN, needed=needed, seed=7)
    assert late
    late.take()
    needed.add(FIRST)
    assert {late.take().reply for _ in range(20)} == {SECOND}
    assert late.left() == 0
    needed.add(SECOND)
    assert not late
