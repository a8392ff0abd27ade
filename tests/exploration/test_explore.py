import asyncio
import concurrent.futures
import dataclasses
import functools
import gc
import logging
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import types
import unittest
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import virtualloop
from helpers import opened, run, session_environment
from virtualloop import DeadlockError, LivelockError, VirtualLoop, VirtualLoopError, explore, explored
from virtualloop.schedules import Replay, ReplayError, _token


async def lost_update():
    balance = 100

    async def deposit(amount, after):
        nonlocal balance
        await asyncio.sleep(after)
        before = balance
        await asyncio.sleep(0.01)
        balance = before + amount

    await asyncio.gather(deposit(10, 0.0), deposit(20, 0.03))
    assert balance == 130


async def stale_reply():
    """The second reply is asked for later, and takes as long: only a reply that is held gets this wrong."""
    shown = []

    async def reply(name):
        await asyncio.sleep(0.01)
        shown.append(name)

    await asyncio.gather(reply("first"), reply("second"))
    assert shown == ["first", "second"]


async def overtaken():
    """No timer at all: only a wake-up that is overtaken gets this wrong."""
    done = []

    async def task(name):
        await asyncio.sleep(0)
        done.append(name)

    await asyncio.gather(*map(task, "ab"))
    assert done == ["a", "b"]


async def always_wrong():
    raise LookupError("always")


async def right():
    async def task(k):
        for _ in range(3):
            await asyncio.sleep(0.01 * k)

    await asyncio.gather(*map(task, range(1, 4)))


def found(main, **options):
    return explore(main, check=False, **options)


# --- finding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "order", "level"),
    [
        (always_wrong, None, "fifo"),
        (lost_update, None, "timing"),
        (stale_reply, None, "io"),
        (overtaken, "tasks", "tasks"),
        (lost_update, "tasks", "timing"),
        (stale_reply, "tasks", "io"),
        (lost_update, "timing", "timing"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_failure_is_found_and_labelled_with_its_level(main, order, level, seed):
    exploration = found(main, order=order, seed=seed)

    assert exploration.failure is not None
    assert exploration.failure.level == level
    assert exploration.failure.seed == seed
    assert 1 <= exploration.distinct <= exploration.runs <= 100
    assert not exploration.exhausted


def test_the_exception_is_raised_with_the_story_as_its_notes():
    with pytest.raises(AssertionError) as raised:
        explore(lost_update)
    (notes,) = raised.value.__notes__

    assert "stock asyncio can do this" in notes
    assert "(order 'timing')" in notes
    assert re.search(r"v1\.[\w-]+", notes.splitlines()[-1])
    assert raised.traceback[-1].name == "lost_update"


def test_nothing_is_found_where_nothing_is_wrong():
    exploration = explore(right, runs=300)

    assert exploration.failure is None
    assert exploration.runs == 300 or exploration.exhausted
    assert exploration.distinct > 10


def test_what_a_tighter_order_cannot_do_is_not_found_there():
    assert found(stale_reply, order="timing").failure is None
    assert found(overtaken, order="io").failure is None
    assert found(lost_update, order="fifo").runs == 1


def test_the_first_run_is_the_plain_one():
    assert found(always_wrong).runs == 1


def test_an_exploration_says_what_came_of_it():
    assert str(found(always_wrong)) == "1 run, 1 different; the last one failed (order 'fifo'): LookupError: always"
    assert re.fullmatch(
        r"50 runs, \d+ different, the last new one was run \d+, none failed", str(explore(right, runs=50))
    )
    assert str(explore(lost_update, order="fifo")) == "1 run, 1 different, none failed: all there are"


def test_a_small_program_is_exhausted():
    async def main():
        await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))

    exploration = explore(main)

    assert exploration.exhausted
    assert exploration.bound is None
    assert exploration.runs < 100
    assert exploration.distinct == 2  # one of them wakes up first, or the other one


def test_where_nothing_varies_it_is_said_and_what_would_help():
    async def main():
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))

    with pytest.warns(UserWarning, match='nothing to vary at order "io".*order="tasks"') as warned:
        assert explore(main).runs == 1
    assert warned[0].filename == __file__
    assert explore(main, order="io").runs == 1  # whoever names the order knows


@pytest.mark.parametrize("seed", [0, 7])
def test_an_exploration_is_the_same_each_time(seed):
    one, other = found(stale_reply, seed=seed, epoch=0), found(stale_reply, seed=seed, epoch=0)

    assert (one.runs, one.distinct) == (other.runs, other.distinct)
    assert one.failure.token == other.failure.token
    assert one.failure.report == other.failure.report


# --- what counts as a failure -----------------------------------------------------------------------------------------


def test_a_deadlock_is_a_failure():
    async def main():
        one, two = asyncio.Lock(), asyncio.Lock()

        async def transfer(first, second, after):
            await asyncio.sleep(after)
            async with first:
                await asyncio.sleep(0.01)
                async with second:
                    pass

        await asyncio.gather(transfer(one, two, 0.0), transfer(two, one, 0.03))

    with pytest.raises(DeadlockError, match="blocked"):
        explore(main)


@pytest.mark.slow
def test_a_livelock_is_a_failure():
    async def main():
        while True:
            await asyncio.sleep(0)

    with pytest.raises(LivelockError):
        explore(main, order="fifo")


def test_an_exception_that_nobody_retrieves_is_a_failure():
    async def main():
        async def fail():
            raise LookupError("lost")

        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        del task

    with pytest.raises(LookupError, match="lost") as raised:
        explore(main)
    assert "exception handler, not out of main: Task exception was never retrieved" in raised.value.__notes__[0]


def test_an_exception_in_a_cycle_of_garbage_is_found_in_its_own_run():
    async def main():
        async def fail():
            itself = asyncio.current_task()
            raise LookupError(itself)

        cycle = [asyncio.create_task(fail())]
        cycle.append(cycle)
        await asyncio.sleep(1)

    assert found(main).runs == 1


def test_an_exception_in_a_callback_is_a_failure():
    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        explore(main)


def test_an_error_without_an_exception_is_one_of_ours():
    async def main():
        asyncio.get_running_loop().call_exception_handler({"message": "odd"})

    with pytest.raises(VirtualLoopError, match="odd"):
        explore(main)


def test_a_handler_of_the_program_itself_is_left_alone():
    async def main():
        loop = asyncio.get_running_loop()
        handled = []
        loop.set_exception_handler(lambda _, context: handled.append(context))
        loop.call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)
        assert len(handled) == 1

    assert explore(main, order="fifo").failure is None


def test_a_failure_while_tasks_are_cancelled_at_the_end_is_a_failure():
    async def main():
        async def stubborn():
            try:
                await asyncio.sleep(10)
            finally:
                raise LookupError("at the end")

        task = asyncio.create_task(stubborn())
        await asyncio.sleep(1)
        return task

    with pytest.raises(LookupError, match="at the end"):
        explore(main)


def test_nothing_is_logged(caplog):
    found(always_wrong)

    assert caplog.records == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, unittest.SkipTest])
def test_what_says_nothing_about_the_program_goes_through(error):
    async def main():
        raise error

    with pytest.raises(error) as raised:
        explore(main)
    assert not hasattr(raised.value, "__notes__")


def test_pytests_own_outcomes():
    async def skip():
        pytest.skip("not here")  # the program says so, and explore() has to let it through: this test runs

    async def expect_to_fail():
        pytest.xfail("known")

    async def end_the_session():
        pytest.exit("enough")

    async def fail():
        pytest.fail("found")

    with pytest.raises(pytest.skip.Exception, match="not here"):
        explore(skip)
    with pytest.raises(pytest.xfail.Exception, match="known"):
        explore(expect_to_fail)
    with pytest.raises(pytest.exit.Exception, match="enough"):
        explore(end_the_session)
    assert found(fail).failure is not None


class OddlyFalse(Exception):  # noqa: N818  # a name in a test
    def __bool__(self):
        raise TypeError("neither true nor false")


class OfItsOwnKind(BaseException):
    pass


@pytest.mark.parametrize("error", [SystemExit, OfItsOwnKind, OddlyFalse])
@pytest.mark.parametrize("where", ["main", "task", "callback"])
def test_whatever_a_program_raises_is_a_failure_with_a_story(error, where):
    async def main():
        async def stale():
            await stale_reply()

        try:
            await stale()
        except AssertionError:
            if where == "main":
                raise error from None
            if where == "task":
                await asyncio.create_task(fail())
            asyncio.get_running_loop().call_soon(raises)
            await asyncio.sleep(0.001)

    def raises():
        raise error

    async def fail():
        raise error

    failure = found(main).failure

    assert type(failure.exception) is error
    assert failure.level == "io"
    assert "Replay it: " in failure.report
    assert any("virtualloop: " in note for note in failure.exception.__notes__)


def test_what_a_signal_handler_raises_ends_the_exploration():
    runs = []

    def time_is_up(number, frame):
        pytest.fail("time is up")

    async def main():
        runs.append(None)
        await asyncio.gather(*[asyncio.sleep(0.01) for _ in range(5)])
        if len(runs) == 7:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, time_is_up)
    try:
        with pytest.raises(pytest.fail.Exception, match="time is up"):
            found(main)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(runs) == 7


def test_everyone_may_be_cancelled_as_long_as_the_run_lasts():
    async def main():
        await asyncio.sleep(0.01)

    assert explore(main, cancel=lambda task: True, order="tasks").failure is None


def test_an_outcome_that_is_permitted_is_no_failure():
    async def main():
        try:
            await stale_reply()
        except AssertionError:
            raise ConnectionResetError from None

    async def several():
        async with asyncio.TaskGroup() as group:
            group.create_task(main())

    assert found(main).failure is not None
    for allow in (ConnectionError, [OSError, LookupError], (ConnectionResetError,)):
        assert found(main, allow=allow).failure is None
        assert found(several, allow=allow).failure is None
    assert found(main, allow=LookupError).failure is not None
    assert found(several, allow=LookupError).failure is not None


def test_a_handler_that_is_cancelled_because_the_run_is_over_is_no_failure():
    async def main():
        async def handle(reader, writer):
            await reader.read()

        await asyncio.start_server(handle, "localhost", 80)
        _, writer = await asyncio.open_connection("localhost", 80)
        await asyncio.sleep(0.01)
        return writer

    assert explore(main, runs=20).failure is None


def test_a_predicate_that_raises_is_told_as_such():
    async def main():
        await asyncio.sleep(0.01)

    with pytest.raises(ZeroDivisionError) as raised:
        explore(main, cancel=lambda task: 1 // 0, check=False)
    assert raised.value.__notes__ == ["It was raised by the function that cancel= was given."]


def test_a_run_that_does_not_end_is_a_failure(monkeypatch):
    monkeypatch.setattr("virtualloop._exploration.run.MOST_JUMPS", 1000)

    async def main():
        done = asyncio.Event()

        async def heartbeat():
            while True:
                await asyncio.sleep(1)

        beating = asyncio.create_task(heartbeat(), name="heartbeat")
        await done.wait()
        beating.cancel()

    with pytest.raises(LivelockError, match="the run does not end: the clock has jumped 1000 times") as raised:
        explore(main)
    assert "'Task-1' awaits Event 'done'" in str(raised.value)


@pytest.mark.parametrize("stubborn", ["frozen", "tuple"])
def test_an_exception_that_takes_no_notes_is_raised_all_the_same(stubborn, capsys):
    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):  # noqa: N818  # a name in a test
        code: int = 1

    class Fixed(Exception):  # noqa: N818  # as above
        __notes__ = ()

        def add_note(self, note):
            raise TypeError

    async def main():
        raise Frozen if stubborn == "frozen" else Fixed

    with pytest.raises((Frozen, Fixed)):
        explore(main)
    assert "Replay it: " in capsys.readouterr().err


def test_an_exception_that_is_raised_again_and_again_has_one_story():
    error = LookupError("always the same")

    async def main():
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(1)

    def fail():
        raise error

    for _ in range(3):
        found(main)

    handled, told = error.__notes__
    assert handled.startswith("It came to the loop's exception handler")
    assert told.startswith("virtualloop: ")


def test_only_the_frameworks_own_exceptions_say_nothing():
    class Skipped(Exception):  # noqa: N818  # as pytest's
        pass

    async def main():
        raise Skipped

    assert found(main).failure is not None


# --- runs are kept apart ----------------------------------------------------------------------------------------------


def test_each_run_starts_from_the_same_random_state():
    drawn = set()

    async def main():
        await asyncio.sleep(random.random())
        drawn.add(random.random())

    before = random.getstate()
    explore(main, runs=20)

    assert len(drawn) == 1
    assert random.getstate() == before


def test_nothing_of_a_run_leaks_into_the_next():
    import contextvars

    variable = contextvars.ContextVar("variable", default=0)
    threads = threading.active_count()
    hooks = sys.get_asyncgen_hooks()

    async def main():
        assert variable.get() == 0
        variable.set(1)
        assert len(asyncio.all_tasks()) == 1
        asyncio.create_task(asyncio.sleep(100))
        await asyncio.to_thread(int)
        await asyncio.sleep(0.01)

    explore(main, runs=10)

    assert variable.get() == 0
    assert threading.active_count() == threads
    assert sys.get_asyncgen_hooks() == hooks


def test_a_run_closes_the_async_generators_that_it_leaves():
    kept, closed = [], []

    async def numbers():
        try:
            yield 1
        finally:
            await asyncio.sleep(1)
            closed.append(asyncio.get_running_loop().time())

    async def main():
        kept.append(numbers())
        await anext(kept[-1])
        await asyncio.sleep(0.01)

    explore(main, runs=5)

    assert len(kept) > 1
    assert len(closed) == len(kept)


def test_there_are_no_warnings_of_what_runs_that_failed_have_left_open():
    async def main():
        async with await asyncio.start_server(lambda reader, writer: writer.close(), "localhost", 80):
            await asyncio.open_connection("localhost", 80)
            await asyncio.gather(*[asyncio.sleep(0.01 * k) for k in range(5)])
            await stale_reply()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        failure = found(main).failure
        gc.collect()

        assert failure is not None
        assert told == []


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_as_before(enabled):
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(LookupError):
            explore(always_wrong)

        assert gc.isenabled() == enabled
    finally:
        gc.enable()


def test_a_program_that_is_not_the_same_each_time_is_found_out():
    calls = []

    async def main():
        calls.append(None)
        virtualloop.choose(range(2 + len(calls) % 3))

    with pytest.raises(
        VirtualLoopError, match="the first run, made again, is another one: it depends on something besides"
    ):
        explore(main)


def test_a_program_that_goes_another_way_is_found_out_where_it_asks_the_same():
    runs = 0

    async def even():
        await asyncio.sleep(0.01)

    async def odd():
        await asyncio.sleep(0.01)

    async def main():
        nonlocal runs
        runs += 1
        await asyncio.gather(even(), odd())
        if runs % 2:
            await odd()
        else:
            await even()

    with pytest.raises(VirtualLoopError, match="is another one") as raised:
        explore(main)
    one, other = str(raised.value).splitlines()[-2:]
    assert one.startswith("  10ms  Task-1 main  woken by")
    assert one[:30] == other[:30]
    assert one != other


def test_where_it_goes_another_way_is_seen_also_if_that_is_rare():
    runs = 0

    async def even():
        await asyncio.sleep(0.01)

    async def odd():
        await asyncio.sleep(0.02)

    async def main():
        nonlocal runs
        runs += 1
        tasks = {"even": even, "odd": odd}
        # As in a set of objects, whose addresses are others at times.
        names = ["odd", "even"] if runs in (2, 9) else ["even", "odd"]
        await asyncio.gather(*[asyncio.create_task(tasks[name](), name=name) for name in names])

    with pytest.warns(UserWarning, match="its runs do the same in another order, as through a set of objects"):
        explore(main)


def test_another_order_is_named_also_where_whole_steps_have_changed_places():
    runs = 0

    async def even(event):
        await event.wait()
        await asyncio.sleep(0.01)

    async def odd(event):
        await event.wait()
        await asyncio.sleep(0.01)

    async def main():
        nonlocal runs
        runs += 1
        events = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(f(event)) for f, event in zip((even, odd), events, strict=True)]
        await asyncio.sleep(0.01)
        for event in events[:: -1 if runs % 2 else 1]:
            asyncio.get_running_loop().call_later(0.01, event.set)
        await asyncio.wait(tasks)

    with pytest.warns(UserWarning, match="its runs do the same in another order, as through a set of objects"):
        explore(main)


def test_what_a_first_run_opens_for_the_others_is_no_difference():
    """As a library does that fills a cache, or connects, once."""
    cache = []

    async def main():
        if not cache:
            await asyncio.create_task(asyncio.sleep(0))
            cache.append(None)
        await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))

    assert explore(main).exhausted


def test_a_program_that_its_own_first_run_breaks_is_found_out():
    left = []

    async def main():
        await asyncio.gather(asyncio.sleep(0.1), asyncio.sleep(0.11))
        left.append(None)
        assert len(left) == 1

    with pytest.raises(
        VirtualLoopError,
        match=r"the first run passed, and the same run, made again, fails with AssertionError.*: it depends",
    ):
        explore(main)


def test_a_program_that_a_later_run_breaks_is_found_out():
    left = []

    async def main():
        if len(left) > 5:
            raise LookupError("broken from then on")
        await asyncio.gather(*[asyncio.sleep(0.01) for _ in range(5)])
        left.append(None)

    failure = found(main).failure

    assert repr(failure.exception) == "LookupError('broken from then on')"
    told = " ".join(failure.report.split())
    assert "the first run, made again, now fails as well, though it passed before" in told
    assert "it depends on something besides" in told
    assert "What its runs have changed: left." in told
    assert max(map(len, failure.report.splitlines())) <= 100


def test_what_was_made_on_another_loop_is_told_as_such():
    lock = asyncio.Lock()

    async def main():
        async def hold():
            async with lock:
                await asyncio.sleep(0.01)

        await asyncio.gather(hold(), hold())

    with pytest.raises(
        VirtualLoopError, match=r"was made on another loop, in a fixture.*make it in the test"
    ) as raised:
        explore(main)
    assert "is bound to a different event loop" in str(raised.value)


def test_a_failure_that_does_not_come_again_is_told_as_it_is():
    calls = []

    async def main():
        calls.append(None)
        await asyncio.gather(*[asyncio.sleep(0.01) for _ in range(5)])
        assert len(calls) != 4, "the third time only"

    failure = found(main, order="tasks").failure

    assert str(failure.exception).startswith("the third time only")
    assert failure.report.startswith("virtualloop: seen once (order '")
    assert "made again, the same run passes" in failure.report
    assert failure.exception.__notes__ == [failure.report]


def test_a_failure_that_leaves_something_behind_is_not_taken_for_what_comes_of_that():
    sold_twice = []

    async def main():
        if sold_twice:
            raise OSError("the shop is in a state that no test expects")
        try:
            await stale_reply()
        except AssertionError:
            sold_twice.append(None)
            raise

    failure = found(main).failure

    assert isinstance(failure.exception, AssertionError)
    assert failure.level == "io"
    assert "the same run fails with OSError" in failure.report


# --- shrinking and replaying ------------------------------------------------------------------------------------------


def test_a_failure_is_made_small():
    async def main():
        """A lost update among much that does not matter."""
        noise = [asyncio.create_task(asyncio.sleep(0.005 * k)) for k in range(1, 20)]
        await lost_update()
        await asyncio.gather(*noise)

    failure = found(main, seed=3).failure
    large = found(main, seed=3, shrink=False).failure

    def size(token):
        return sum(answer != 0 for answer, _, _ in _token.decode(token).choices)

    assert 2 * size(failure.token) <= size(large.token)


def test_failures_of_one_type_at_two_places_are_two():
    """What is made small stays the failure that was found, although a smaller one of the same type is near."""

    async def main():
        on = [virtualloop.choose([False, True]) for _ in range(14)]
        if sum(on) == 4 and on[3] and on[7] and on[11]:
            raise ValueError("only these four")
        if sum(on) >= 5 and on[3]:
            raise ValueError("many")

    failure = explore(main, check=False).failure

    assert str(failure.exception) == "many"


@pytest.mark.parametrize(("main", "order"), [(lost_update, None), (stale_reply, None), (overtaken, "tasks")])
def test_a_token_replays(main, order):
    failure = found(main, order=order).failure

    again = found(main, replay=failure.token)
    assert again.runs == 1
    assert (again.failure.level, again.failure.token) == (failure.level, failure.token)
    with pytest.raises(AssertionError):
        explore(main, replay=failure.token)
    with (
        pytest.raises(AssertionError),
        asyncio.Runner(loop_factory=lambda: VirtualLoop(schedule=Replay(failure.token))) as runner,
    ):
        runner.run(main())


def test_a_token_keeps_its_lateness():
    async def main():
        shown = []

        async def reply(name, after):
            await asyncio.sleep(after)
            shown.append(name)

        await asyncio.gather(reply("first", 0.1), reply("second", 0.4))
        assert shown == ["first", "second"]

    assert found(main).failure is None
    failure = found(main, lateness=0.5).failure

    assert found(main, replay=failure.token).failure is not None
    with opened(schedule=Replay(failure.token)) as loop, pytest.raises(AssertionError):
        loop.run_until_complete(main())


def test_a_token_of_a_program_that_was_mended_passes_or_says_what_differs():
    token = found(stale_reply).failure.token

    async def mended():
        shown = []

        async def reply(name):
            await asyncio.sleep(0.01)
            shown.append(name)

        await asyncio.gather(reply("first"), reply("second"))
        assert sorted(shown) == ["first", "second"]

    async def changed():
        async with asyncio.timeout(0.02):
            await stale_reply()

    mended.__qualname__ = changed.__qualname__ = stale_reply.__qualname__
    assert found(mended, replay=token).failure is None
    with pytest.raises(ReplayError, match="The program has changed since"):
        explore(changed, replay=token)


def test_a_token_is_replayed_with_what_it_was_found_with():
    failure = found(pool_that_loses_a_slot, cancel=["user"]).failure

    with pytest.raises(ReplayError, match=r"it ended after 0 of \d recorded choices.*replayed with the same"):
        explore(pool_that_loses_a_slot, replay=failure.token)


def test_the_call_that_replays_has_all_it_takes(monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    network = virtualloop.Network(latency=(0.001, 0.1))
    reports = [
        found(pool_that_loses_a_slot, cancel="user").failure.report,
        found(pool_that_loses_a_slot, cancel=lambda task: True).failure.report,
        found(impatient_client, network=network).failure.report,
        found(leaves_a_server_open, strict=True).failure.report,
    ]

    assert [re.search(r"explore\(main, (.*)replay=", report)[1] for report in reports] == [
        "cancel='user', ",
        "cancel=..., ",
        "network=..., ",
        "strict=True, ",
    ]


def test_without_shrinking_the_failure_is_the_one_that_was_found():
    failure = found(stale_reply, order="tasks", shrink=False).failure

    assert found(stale_reply, replay=failure.token).failure is not None


# --- cancellation -----------------------------------------------------------------------------------------------------


async def pool_that_loses_a_slot():
    """Taking a slot and marking it as taken are two steps; a cancellation in between loses the slot."""
    slots = asyncio.Queue()
    slots.put_nowait("slot")

    async def use():
        slot = await slots.get()
        await asyncio.sleep(0.01)  # where nobody gives the slot back
        slots.put_nowait(slot)

    user = asyncio.create_task(use(), name="user")
    await asyncio.wait([user])
    assert slots.qsize() == 1, "a slot was lost"


def test_a_cancellation_is_a_choice_like_any_other():
    assert found(pool_that_loses_a_slot).failure is None
    failure = found(pool_that_loses_a_slot, cancel="user").failure

    assert str(failure.exception).startswith("a slot was lost")
    assert failure.level == "fifo"
    assert found(pool_that_loses_a_slot, cancel="user", replay=failure.token).failure is not None


@pytest.mark.parametrize(
    "cancel",
    ["use", "pool_that_loses_a_slot.<locals>.use", ["user"], {"other", "user"}, lambda task: task.get_name() == "user"],
)
def test_who_is_cancelled_can_be_told_in_several_ways(cancel):
    assert found(pool_that_loses_a_slot, cancel=cancel).failure is not None


def test_nobody_else_is_cancelled():
    with pytest.warns(UserWarning, match="has no task that cancel='nobody' means") as warned:
        assert found(pool_that_loses_a_slot, cancel="nobody", order="fifo").failure is None
    assert warned[0].filename == __file__


def test_what_a_task_cancelled_before_it_begins_was_to_await_is_no_warning():
    async def inner():
        await asyncio.sleep(1)

    async def worker(coroutine):
        await coroutine

    async def main():
        await asyncio.wait([asyncio.create_task(worker(inner()), name="worker")])

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        explore(main, runs=20, cancel="worker")
    assert [str(each.message) for each in told] == []


def test_a_warning_does_not_come_again_for_each_run_that_cancels():
    script = """
        import asyncio, virtualloop, warnings

        async def work():
            warnings.warn("it is old", DeprecationWarning)
            await asyncio.sleep(1)

        async def main():
            await asyncio.wait([asyncio.create_task(work(), name="worker")])

        virtualloop.explore(main, runs=20, cancel="worker")
    """
    command = [sys.executable, "-W", "default", "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=session_environment(), check=True, capture_output=True, text=True)
    # Before the first cancellation, and after it.
    assert 1 <= done.stderr.count("DeprecationWarning: it is old") <= 2, done.stderr


def test_a_cancellation_between_the_hand_off_and_the_step():
    """The item is handed over, the task is woken, and then it is cancelled: asyncio.wait_for had this bug for years."""

    async def main():
        received = []
        waiter = asyncio.get_running_loop().create_future()

        async def receive():
            received.append(await waiter)

        task = asyncio.create_task(receive())
        await asyncio.sleep(0.01)
        handed_over = not waiter.done()
        if handed_over:
            waiter.set_result("item")
        await asyncio.wait([task])
        assert received or not handed_over, "handed over and lost"

    failure = found(main, cancel="receive").failure

    assert str(failure.exception).startswith("handed over and lost")


def test_whoever_awaits_the_cancelled_is_cancelled_and_that_is_no_failure():
    async def main():
        await asyncio.create_task(asyncio.sleep(1), name="sleeper")

    exploration = explore(main, cancel="sleeper")

    assert exploration.failure is None
    assert exploration.runs > 3


# --- what is left open, and the network -------------------------------------------------------------------------------


async def leaves_a_server_open():
    await asyncio.start_server(lambda reader, writer: writer.close(), "localhost", 80)
    await asyncio.sleep(0.01)


def test_with_strict_what_is_left_open_is_a_failure():
    assert found(leaves_a_server_open).failure is None
    with pytest.raises(VirtualLoopError, match="1 server was not closed"):
        explore(leaves_a_server_open, strict=True)


async def impatient_client():
    """A client that gives up after 200 ms, and takes it for granted that an answer is there when it has connected."""

    async def answer(reader, writer):
        writer.write(b"answer")
        writer.close()

    async with await asyncio.start_server(answer, "localhost", 80):
        async with asyncio.timeout(0.2):
            reader, writer = await asyncio.open_connection("localhost", 80)
            try:
                assert await reader.read() == b"answer"
            finally:
                writer.close()


@pytest.mark.slow
def test_the_network_takes_part():
    network = virtualloop.Network(latency=(0.001, 0.1))

    assert explore(impatient_client).failure is None
    failure = found(impatient_client, network=network, epoch=0).failure
    assert isinstance(failure.exception, TimeoutError)
    assert "localhost" in failure.report
    assert found(impatient_client, network=network, replay=failure.token).failure is not None
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        same = found(impatient_client, network=network, epoch=0, executor=executor).failure
    assert same.token == failure.token


# --- later than a timeout ---------------------------------------------------------------------------------------------


class Client:
    """A client whose reply takes 10 ms; `ask` gives up after a second."""

    def __init__(self):
        self.replies = asyncio.Queue()
        self.fallbacks = 0

    async def serve(self, question):
        await asyncio.sleep(0.01)
        self.replies.put_nowait(question)

    async def ask(self, question):
        task = asyncio.create_task(self.serve(question))
        async with asyncio.timeout(1):
            reply = await self.replies.get()
        await task
        return reply


async def takes_a_late_reply():
    client = Client()
    for question in "ab":
        try:
            assert await client.ask(question) == question
        except TimeoutError:
            continue


async def needs_a_fresh_value():
    client = Client()
    try:
        value = await client.ask("fresh")
    except TimeoutError:
        value = "cached"
    assert value == "fresh"


async def guarded():
    async with asyncio.timeout(60):
        await Client().ask("a")


async def renewed_lease():
    """A lease is renewed every 3 s, and watched by whoever wants it after 10 s without."""
    loop = asyncio.get_running_loop()
    renewed, taken = asyncio.Event(), []

    async def renew():
        while True:
            await asyncio.sleep(3)
            renewed.set()

    async def watch():
        while loop.time() < 20:
            renewed.clear()
            try:
                async with asyncio.timeout(10):
                    await renewed.wait()
            except TimeoutError:
                taken.append(loop.time())

    task = asyncio.create_task(renew())
    await watch()
    task.cancel()
    assert not taken


async def gives_up_after_three():
    client = Client()
    for _ in range(3):
        try:
            await client.ask("a")
            break
        except TimeoutError:
            client.fallbacks += 1
    assert client.fallbacks <= 3


def test_a_reply_that_comes_after_its_timeout_is_found_and_told():
    failure = found(takes_a_late_reply).failure
    line = Client.ask.__code__.co_firstlineno + 2

    assert failure.level == "io"
    assert failure.report.splitlines()[:2] == [
        "virtualloop: stock asyncio can do this (order 'io')",
        f"  if the reply to ask() comes after its timeout of 1 s (test_explore.py:{line}):",
    ]
    again = found(takes_a_late_reply, replay=failure.token).failure
    assert (again.report, again.token) == (failure.report, failure.token)
    with (
        pytest.raises(AssertionError),
        asyncio.Runner(loop_factory=lambda: VirtualLoop(schedule=Replay(failure.token))) as runner,
    ):
        runner.run(takes_a_late_reply())


def test_what_a_test_needs_in_time_is_said_and_is_no_failure():
    line = Client.ask.__code__.co_firstlineno + 2
    need = f"ask() within 1 s (test_explore.py:{line})"

    with pytest.warns(UserWarning, match="needs ask.. within 1 s") as warned:
        exploration = explore(needs_a_fresh_value)
    assert warned[0].filename == __file__
    assert exploration.needs == (need,)
    assert str(exploration).splitlines()[1:] == [f"needs {need}"]
    assert isinstance(found(needs_a_fresh_value, strict=True).failure.exception, AssertionError)


def test_with_a_lateness_in_seconds_timeouts_are_out_of_reach_and_named():
    exploration = explore(takes_a_late_reply, lateness=0.05)

    assert exploration.failure is None
    (timeout,) = exploration.unreached
    assert str(exploration).endswith(f"; no reply was later than {timeout}")
    assert re.fullmatch(r"ask\(\)'s timeout of 1 s \(test_explore\.py:\d+\)", timeout)


@pytest.mark.parametrize("main", [guarded, renewed_lease, gives_up_after_three])
@pytest.mark.parametrize("strict", [False, True])
def test_guards_periods_and_retries_are_no_failures(main, strict):
    exploration = explore(main, runs=300, strict=strict)

    assert exploration.failure is None
    assert exploration.needs == ()


def test_a_program_that_hangs_after_its_timeout_is_a_failure_although_it_is_ended_by_a_guard():
    async def main():
        client = Client()
        released = asyncio.Event()
        async with asyncio.timeout(60):
            try:
                await client.ask("a")
                released.set()
            except TimeoutError:
                pass  # and nobody releases
            await released.wait()

    failure = found(main).failure

    assert isinstance(failure.exception, TimeoutError)
    assert "the reply to ask() comes after its timeout of 1 s" in failure.report


def test_what_a_test_needs_in_time_is_no_failure_where_its_tear_down_waits_for_it_as_well():
    async def main():
        requests = asyncio.Queue()

        async def serve():
            reply = await requests.get()
            asyncio.get_running_loop().call_later(0.01, reply.set_result, "answer")
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.shield(reply)

        async def fetch():
            reply = asyncio.get_running_loop().create_future()
            requests.put_nowait(reply)
            async with asyncio.timeout(5):
                return await asyncio.shield(reply)

        server = asyncio.create_task(serve())
        assert await asyncio.gather(fetch()) == ["answer"]
        assert not server.done()

    with pytest.warns(UserWarning, match="needs fetch.. within 5 s"):
        exploration = explore(main, runs=50)
    assert exploration.failure is None


# --- executors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("main", [lost_update, stale_reply, functools.partial(asyncio.sleep, 1)])
@pytest.mark.parametrize("seed", [0, 5])
def test_an_executor_gives_the_same_as_a_serial_exploration(main, seed):
    serial = found(main, seed=seed, runs=100, epoch=0)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        same = found(main, seed=seed, runs=100, epoch=0, executor=executor)

    assert (same.runs, same.distinct, same.exhausted) == (serial.runs, serial.distinct, serial.exhausted)
    assert (same.failure and same.failure.token) == (serial.failure and serial.failure.token)


class Elsewhere(concurrent.futures.ThreadPoolExecutor):
    """Another machine, which was sent the program: its code is that of another file, as Dask's workers have it."""

    def submit(self, function, program, *args):
        code = program.main.__code__
        main = types.FunctionType(_moved(code), program.main.__globals__, closure=program.main.__closure__)
        return super().submit(function, dataclasses.replace(program, main=main), *args)


def _moved(code):
    constants = tuple(_moved(each) if isinstance(each, types.CodeType) else each for each in code.co_consts)
    return code.replace(co_filename="<dynamic-code>", co_consts=constants)


async def hangs_when_late():
    inbox = asyncio.Queue()

    async def put(after):
        await asyncio.sleep(after)
        inbox.put_nowait(after)

    tasks = [asyncio.create_task(put(0.01)), asyncio.create_task(put(0.02))]
    if await inbox.get() == 0.02:
        tasks[0].cancel()
    await inbox.get()


@pytest.mark.parametrize("main", [lost_update, hangs_when_late])
def test_a_failure_is_the_same_where_the_program_is_in_another_file(main):
    serial = found(main, runs=100, epoch=0).failure
    with Elsewhere(1) as executor:
        same = found(main, runs=100, epoch=0, executor=executor).failure

    assert serial is not None
    assert (same.report, same.token) == (serial.report, serial.token)


class Remote(concurrent.futures.Executor):
    """Processes that have not got this module."""

    def submit(self, function, /, *args):
        future = concurrent.futures.Future()
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, __name__, None)
            try:
                future.set_result(function(*args))
            except Exception as exc:
                future.set_exception(exc)
        return future


def test_a_program_that_is_not_where_it_is_sent_is_told():
    with pytest.raises(ImportError) as raised:
        explore(takes_a_late_reply, executor=Remote())

    assert re.fullmatch(
        r"the executor's processes do not have the program: .*test_explore.*\. Send them its source, as Dask's "
        r"Client\.upload_file\(\) does, or install it there",
        str(raised.value),
    )


def test_a_process_pool():
    code = """
import concurrent.futures, multiprocessing, sys
sys.path[:0] = sys.argv[1:]
from test_explore import stale_reply, explore
if __name__ == "__main__":
    serial = explore(stale_reply, check=False, epoch=0)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        same = explore(stale_reply, check=False, epoch=0, executor=executor)
        assert (same.runs, same.distinct, same.failure.token) == (serial.runs, serial.distinct, serial.failure.token)
        try:
            explore(lambda: stale_reply(), executor=executor)
        except TypeError as exc:
            print(exc)
"""
    command = [sys.executable, "-c", code, str(Path(__file__).parent), *sys.path]
    done = subprocess.run(command, capture_output=True, check=True, text=True)

    assert "define main, and what cancel= is given, at the top level of a module" in done.stdout


# --- in test frameworks -----------------------------------------------------------------------------------------------


@explored
async def test_explored_is_a_plain_test():
    await asyncio.sleep(3600)


@pytest.mark.parametrize("number", [1, 2])
@explored(runs=10)
async def test_explored_takes_parameters_and_fixtures(number, tmp_path, request):
    await asyncio.sleep(number)
    assert tmp_path.exists()
    assert request.node.name.startswith("test_explored_takes_parameters_and_fixtures[")


class TestMethods:
    value = 7

    @explored(order="tasks")
    async def test_explored_method(self):
        """A docstring."""
        await asyncio.sleep(0.01)
        assert self.value == 7

    def test_name_docstring_and_signature_stay(self):
        method = TestMethods.test_explored_method

        assert method.__name__ == "test_explored_method"
        assert method.__doc__ == "A docstring."
        assert not asyncio.iscoroutinefunction(method) if sys.version_info < (3, 14) else True


class InUnittest(unittest.TestCase):
    @explored(runs=20)
    async def test_explored_under_unittest(self):
        await asyncio.sleep(1)
        assert asyncio.get_running_loop().time() >= 1.0


@settings(max_examples=5)
@given(st.integers(1, 5))
@explored(runs=5)
async def test_explored_under_hypothesis(number):
    await asyncio.sleep(number)
    assert asyncio.get_running_loop().time() >= number


def test_explored_raises_what_the_test_raises():
    test = explored(stale_reply)

    with pytest.raises(AssertionError):
        test()


def test_explored_passes_its_options_on():
    explored(runs=1)(stale_reply)()
    explored(order="timing")(stale_reply)()
    with pytest.raises(AssertionError):
        explored(order="tasks", seed=3)(overtaken)()


def test_the_environment_replays(monkeypatch):
    token = found(stale_reply).failure.token
    calls = []

    async def stale():
        calls.append(None)
        await stale_reply()

    stale.__qualname__ = "stale_reply"
    monkeypatch.setenv("VIRTUALLOOP_REPLAY", token)

    with pytest.raises(AssertionError):
        explored(stale)()
    assert len(calls) <= 3  # the run itself, with its story, and the one beside it that passes

    calls.clear()
    stale.__qualname__ = "another test"
    with pytest.raises(AssertionError):
        explored(stale)()
    assert len(calls) > 3  # the token is not its own


@pytest.mark.filterwarnings("ignore:Module globals is missing:DeprecationWarning")  # hypothesis's own, on Python 3.15
def test_hypothesis_replays_the_example_that_fits(monkeypatch):
    @settings(max_examples=30, database=None)
    @given(st.integers(0, 3))
    @explored
    async def chooses(n):
        assert virtualloop.choose(range(n + 1)) < 3 if n else True

    with pytest.raises(AssertionError) as raised:
        chooses()
    token = re.search(r"v1\.[\w-]+", raised.value.__notes__[0])[0]
    monkeypatch.setenv("VIRTUALLOOP_REPLAY", token)

    with pytest.raises(AssertionError):
        chooses()


def test_an_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("VIRTUALLOOP_REPLAY", "")
    explored(right)()


def test_the_last_line_is_how_to_replay(monkeypatch):
    def last_line(test):
        with pytest.raises(AssertionError) as raised:
            test()
        return re.sub(r"v1\.[\w-]+", "TOKEN", raised.value.__notes__[0].splitlines()[-1])

    monkeypatch.setenv("PYTEST_CURRENT_TEST", "tests/test_it.py::test_it[a b] (call)")
    command = last_line(explored(stale_reply))
    pytests = r"Replay it: VIRTUALLOOP_REPLAY=TOKEN python\S* -m pytest 'tests/test_it.py::test_it\[a b\]'"
    assert re.fullmatch(pytests, command)
    assert last_line(lambda: explore(stale_reply)) == "Replay it: explore(main, replay='TOKEN')"
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    assert last_line(explored(stale_reply)) == "Replay it: set VIRTUALLOOP_REPLAY=TOKEN and run stale_reply again"


# --- bad arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"runs": 0}, ValueError, "runs must be at least 1"),
        ({"runs": 1.5}, TypeError, "runs must be an integer"),
        ({"runs": True}, TypeError, "runs must be an integer"),
        ({"seed": "7"}, TypeError, "seed must be an integer"),
        ({"order": "random"}, ValueError, "order must be one of fifo, timing, io, tasks"),
        ({"cancel": 7}, TypeError, "cancel must be names of tasks or a function"),
        ({"cancel": [7]}, TypeError, "cancel must be names of tasks or a function"),
        ({"cancel": []}, ValueError, "cancel must name at least one task"),
        ({"cancel": asyncio.Task}, TypeError, "cancel must be names"),
        ({"replay": 7}, TypeError, "replay must be a token"),
        ({"replay": "7"}, ValueError, "a token of this version begins with"),
        ({"lateness": -1}, ValueError, "lateness must be finite and not negative"),
        ({"network": 7}, TypeError, "network must be a virtualloop.Network"),
    ],
)
def test_wrong_arguments_are_refused_by_name(options, error, text):
    ran = []

    async def main():
        ran.append(None)

    with pytest.raises(error, match=text):
        explore(main, **options)
    assert not ran


def test_main_has_to_make_a_coroutine():
    coro = always_wrong()
    with pytest.raises(
        TypeError, match=r"main must be a function that makes a coroutine, not .*pass main, not main\(\)"
    ):
        explore(coro)
    coro.close()
    with pytest.raises(TypeError, match="main must be a function that returns a coroutine, and it returned 7"):
        explore(lambda: 7, check=False)


def test_explored_is_for_async_functions():
    with pytest.raises(TypeError, match="explored\\(\\) is for async functions"):
        explored(int)
    with pytest.raises(TypeError, match="explored\\(\\) takes no keyword 'check'"):
        explored(check=False)
    with pytest.raises(TypeError, match="explored\\(\\) takes no keyword 'rums'"):
        explored(rums=1)


def test_not_inside_a_running_loop():
    async def main():
        with pytest.raises(RuntimeError, match="call it from a plain function"):
            explore(right)

    run(main)


# --- progress ---------------------------------------------------------------------------------------------------------


def test_logging_is_not_touched():
    before = logging.getLogger("asyncio").level
    explore(right, runs=5)

    assert logging.getLogger("asyncio").level == before


@pytest.mark.parametrize("outcome", [pytest.skip, pytest.xfail])
def test_what_pytest_raises_in_a_run_is_passed_on(outcome):
    made = []

    async def main():
        made.append(1)
        outcome("not here")

    with pytest.raises(outcome.Exception):
        explore(main)
    assert made == [1]


def test_nobody_is_warned_of_what_a_run_had_not_come_to_when_it_ended():
    async def main():
        goes_on = asyncio.Event()

        async def worker():
            jobs = [asyncio.sleep(0)]
            try:
                await goes_on.wait()
                await jobs.pop()
            finally:
                jobs.clear()

        task = asyncio.create_task(worker())
        async with asyncio.timeout(1):
            await asyncio.sleep(0.01)
        goes_on.set()
        await task

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert explore(main, runs=50).failure is None
    assert [str(each.message) for each in caught] == []


def test_tasks_that_a_library_makes_itself_are_the_same_in_each_run():
    if sys.version_info < (3, 12):
        return  # no eager tasks
    alive = []  # so that each has another address

    async def main():
        loop = asyncio.get_running_loop()

        async def handle():
            await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)

        tasks = [asyncio.Task(handle(), loop=loop, eager_start=True) for _ in range(2)]
        alive.extend(tasks)
        await asyncio.gather(*tasks)

    assert explore(main, order="tasks", runs=60).distinct < 10


def test_what_is_no_exception_cannot_be_allowed():
    with pytest.raises(TypeError, match="allow must be an exception class or several, not 3"):
        explore(lost_update, allow=3)


def test_an_exception_that_cannot_be_shown_is_told_by_its_class():
    class HiddenError(Exception):
        def __repr__(self):
            raise ValueError

    async def main():
        await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
        raise HiddenError

    with pytest.raises(HiddenError) as caught:
        explore(main, runs=5)
    assert "Replay it" in "".join(caught.value.__notes__)


def test_what_a_program_may_hold_and_does_not_yet():
    def made():
        if False:
            never = 1

        async def main():
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
            return lambda: never

        return main

    assert explore(made(), runs=5).failure is None


def test_a_cache_that_runs_have_filled_is_named():
    @functools.cache
    def answers(number):
        return number

    async def main():
        if answers.cache_info().currsize > 5:
            raise LookupError
        answers(answers.cache_info().currsize)
        await asyncio.gather(*[asyncio.sleep(0.01) for _ in range(5)])

    told = " ".join(explore(main, check=False).failure.report.split())
    assert "What its runs have changed: answers()." in told


def test_a_program_that_asks_something_else_after_some_runs():
    left = []

    async def main():
        left.append(None)
        for _ in range(4):
            virtualloop.choose(range(2 if len(left) < 5 else 3))

    with pytest.raises(VirtualLoopError, match="the program is not the same in each run") as caught:
        explore(main)
    assert "What its runs have changed: left." in str(caught.value)
