import asyncio
import concurrent.futures
import dataclasses
import functools
import gc
import io
import logging
import random
import re
import subprocess
import sys
import threading
import unittest
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import virtualloop
from helpers import opened, run
from virtualloop import DeadlockError, LivelockError, VirtualLoop, VirtualLoopError, _token, explore, explored
from virtualloop._progress import Progress
from virtualloop.schedules import Replay, ReplayError


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
    assert re.fullmatch(r"\d+ runs, \d+ different, none failed(: all there are.*)?", str(explore(right, runs=50)))
    assert str(explore(lost_update, order="fifo")) == "1 run, 1 different, none failed: all there are"


def test_a_small_program_is_exhausted():
    async def main():
        await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))

    exploration = explore(main)

    assert exploration.exhausted
    assert exploration.bound is None
    assert exploration.runs == exploration.distinct < 100


def test_where_nothing_varies_it_is_said_and_what_would_help():
    async def main():
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))

    with pytest.warns(UserWarning, match='nothing to vary at order "io".*order="tasks"') as warned:
        assert explore(main).runs == 1
    assert warned[0].filename == __file__
    assert explore(main, order="io").runs == 1  # whoever names the order knows


@pytest.mark.parametrize("seed", [0, 7])
def test_an_exploration_is_the_same_each_time(seed):
    one, other = found(stale_reply, seed=seed), found(stale_reply, seed=seed)

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


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, unittest.SkipTest])
def test_what_says_nothing_about_the_program_goes_through(error):
    async def main():
        raise error

    with pytest.raises(error) as raised:
        explore(main)
    assert not hasattr(raised.value, "__notes__")


def test_pytests_own_outcomes():
    async def skip():
        pytest.skip("not here")  # the program says so, and explore() has to let it through: this test runs

    async def fail():
        pytest.fail("found")

    with pytest.raises(pytest.skip.Exception, match="not here"):
        explore(skip)
    assert found(fail).failure is not None


def test_a_run_that_does_not_end_is_a_failure(monkeypatch):
    monkeypatch.setattr("virtualloop._trial.MOST_JUMPS", 1000)

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


def test_a_program_that_its_own_first_run_breaks_is_found_out():
    left = []

    async def main():
        await asyncio.gather(asyncio.sleep(0.1), asyncio.sleep(0.11))
        left.append(None)
        assert len(left) == 1

    with pytest.raises(VirtualLoopError, match="the first run passed, and the same run, made again, fails: it depends"):
        explore(main)


def test_a_program_that_a_later_run_breaks_is_found_out():
    left = []

    async def main():
        if len(left) > 5:
            raise LookupError("broken from then on")
        await asyncio.gather(*[asyncio.sleep(0.01) for _ in range(5)])
        left.append(None)

    with pytest.raises(
        VirtualLoopError, match="the first run passed, and now the same run fails, as others do: it dep"
    ):
        explore(main)


def test_a_failure_that_does_not_come_again_is_told_as_it_is():
    calls = []

    async def main():
        calls.append(None)
        await asyncio.gather(*[asyncio.sleep(0.01) for _ in range(5)])
        assert len(calls) != 4, "the third time only"

    with pytest.raises(VirtualLoopError, match="made again, passes: it depends on something besides") as raised:
        explore(main, order="tasks")
    assert "the third time only" in str(raised.value.__cause__)


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


def test_the_network_takes_part():
    network = virtualloop.Network(latency=(0.001, 0.1))

    assert explore(impatient_client).failure is None
    failure = found(impatient_client, network=network).failure
    assert isinstance(failure.exception, TimeoutError)
    assert "localhost" in failure.report
    assert found(impatient_client, network=network, replay=failure.token).failure is not None
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        same = found(impatient_client, network=network, executor=executor).failure
    assert same.token == failure.token


# --- executors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("main", [lost_update, stale_reply, functools.partial(asyncio.sleep, 1)])
@pytest.mark.parametrize("seed", [0, 5])
def test_an_executor_gives_the_same_as_a_serial_exploration(main, seed):
    serial = found(main, seed=seed, runs=100)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        same = found(main, seed=seed, runs=100, executor=executor)

    assert (same.runs, same.distinct, same.exhausted) == (serial.runs, serial.distinct, serial.exhausted)
    assert (same.failure and same.failure.token) == (serial.failure and serial.failure.token)


def test_a_process_pool():
    code = """
import concurrent.futures, multiprocessing, sys
sys.path[:0] = sys.argv[1:]
from test_explore import stale_reply, explore
if __name__ == "__main__":
    serial = explore(stale_reply, check=False)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        same = explore(stale_reply, check=False, executor=executor)
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
        assert asyncio.get_running_loop().time() == 1.0


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


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_on_a_terminal_and_taken_away(monkeypatch):
    now = iter([0.0, 0.5, 1.0, 1.0, 1.1, 5.0, 5.0])
    monkeypatch.setattr("virtualloop._progress._real_time", lambda: next(now))
    terminal = Terminal()
    progress = Progress(terminal, 1000)
    for count in (1, 2, 3, 4):
        progress.show(count, count)
    progress.clear()

    assert terminal.getvalue().split("\r") == [
        "",
        "exploring: 2 of 1000 runs, 2 different",
        "exploring: 4 of 1000 runs, 4 different",
        "\033[K",
    ]


def test_progress_is_silent_elsewhere(monkeypatch):
    monkeypatch.setattr("virtualloop._progress.PROGRESS_AFTER", 0.0)
    stream = io.StringIO()
    progress = Progress(stream, 1000)
    progress.show(1, 1)
    progress.clear()

    assert stream.getvalue() == ""


def test_logging_is_not_touched():
    before = logging.getLogger("asyncio").level
    explore(right, runs=5)

    assert logging.getLogger("asyncio").level == before
