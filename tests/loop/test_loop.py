"""Time, running and stopping, and what comes in through the constructor."""

import asyncio
import contextvars
import gc
import math
import random
import sys
import weakref

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import virtualloop
from helpers import LEVELS, Always, opened, run
from virtualloop import VirtualLoop
from virtualloop.schedules import Replay

DELAYS = st.floats(min_value=5e-324, max_value=1e6)


# --- the constructor --------------------------------------------------------------------------------------------------


def test_defaults():
    with opened() as loop:
        assert loop.time() == 0.0
        assert loop.seed is None
        assert loop.order == "fifo"
        assert isinstance(loop, asyncio.AbstractEventLoop)
        assert not isinstance(loop, asyncio.BaseEventLoop)


def test_a_bare_seed_or_schedule_asks_for_another_order():
    with opened(7) as seeded, opened(schedule=Replay([])) as replayed, opened(7, order="io") as told:
        assert (seeded.seed, seeded.order) == (7, "tasks")
        assert (replayed.seed, replayed.order) == (None, "tasks")
        assert told.order == "io"


def test_a_schedule_that_is_empty_is_a_schedule():
    class Empty(Always):
        def __len__(self):
            return 0

    schedule = Empty(0)
    with opened(schedule=schedule, order="timing") as loop:
        loop.call_later(0.01, int)
        loop.call_later(0.02, int)
        loop.run_until_idle()

    assert schedule.asked


def test_a_random_generator_is_drawn_from():
    async def main():
        return [virtualloop.choose("abc") for _ in range(20)]

    assert run(main, random.Random(1)) == run(main, random.Random(1))
    assert run(main, random.Random(1)) != run(main, random.Random(2))
    with opened(random.Random(1)) as loop:
        assert loop.seed is None


@given(st.randoms(use_true_random=False))
def test_hypothesis_drives_a_run(generator):
    async def main():
        return [virtualloop.choose("abc") for _ in range(3)]

    assert set(run(main, generator)) <= set("abc")


@pytest.mark.filterwarnings("ignore:Module globals is missing:DeprecationWarning")  # hypothesis's own, on Python 3.15
def test_hypothesis_shrinks_a_run():
    async def main():
        done = []

        async def task(name):
            await asyncio.sleep(0.01)
            done.append(name)

        await asyncio.gather(*map(task, "abcd"))
        return done

    orders = []

    def moved(generator):
        order = "".join(run(main, generator, order="io"))
        if order != "abcd":
            orders.append(order)
        return order != "abcd"

    find(st.randoms(use_true_random=False), moved)

    # That one of them is held is all it takes.
    assert orders[-1] in ("bacd", "bcad", "bcda", "acbd", "acdb", "abdc")


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"seed": "7"}, TypeError, "seed must be an integer or a random.Random"),
        ({"seed": 7.0}, TypeError, "seed must be an integer"),
        ({"seed": True}, TypeError, "seed must be an integer"),
        ({"seed": 7, "schedule": Always(0)}, ValueError, "seed and schedule exclude each other"),
        ({"schedule": "seed"}, TypeError, "schedule must be an object with a choose"),
        ({"schedule": Always}, TypeError, "schedule must be an object with a choose"),
        ({"order": "random"}, ValueError, "order must be one of fifo, timing, io, tasks, not 'random'"),
        ({"order": 1}, ValueError, "order must be one of"),
        ({"lateness": -1}, ValueError, "lateness must be finite and not negative"),
        ({"lateness": math.nan}, ValueError, "lateness"),
        ({"lateness": "1"}, TypeError, "lateness must be a number of seconds"),
        ({"start": math.inf}, ValueError, "start must be finite"),
        ({"start": None}, TypeError, "start must be a number"),
        ({"spin_limit": 0}, ValueError, "spin_limit must be at least 1"),
        ({"spin_limit": 1.5}, TypeError, "spin_limit must be an integer"),
        ({"thread_patience": -1}, ValueError, "thread_patience must be finite"),
    ],
)
@pytest.mark.usefixtures("own_garbage")
def test_bad_arguments_are_named(kwargs, error, text):
    with pytest.raises(error, match=text):
        VirtualLoop(**kwargs)
    gc.collect()  # What was not made has nothing to close, so no ResourceWarning.


def test_an_unknown_argument_is_just_a_type_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        VirtualLoop(colour="red")
    gc.collect()


def test_repr_holds_no_address():
    with opened(7, start=1.5) as loop:
        assert repr(loop) == "<VirtualLoop seed=7 order=tasks t=1.5 running=False closed=False debug=False>"


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", LEVELS)
def test_ten_sleeps_of_a_tenth_take_a_second(order):
    async def main():
        for _ in range(10):
            await asyncio.sleep(0.1)
        return asyncio.get_running_loop().time()

    assert run(main, order=order) == 1.0
    assert run(main, 7, order=order) == 1.0


@pytest.mark.parametrize("start", [0.0, 1.8e9])
def test_deadlines_that_agree_on_paper_coincide(start):
    with opened(start=start) as loop:
        times = []
        loop.call_at(start + 0.1 + 0.2, lambda: times.append(loop.time()))
        loop.call_at(start + 0.3, lambda: times.append(loop.time()))
        loop.call_later(0.3, lambda: times.append(loop.time()))
        loop.run_until_idle()

        assert len(set(times)) == 1
        assert len(times) == 3


@settings(max_examples=50)
@given(st.sampled_from([0.0, 1.8e9]), DELAYS)
def test_waiting_for_a_deadline_ends(start, delay):
    async def main():
        loop = asyncio.get_running_loop()
        deadline = loop.time() + delay
        rounds = 0
        while loop.time() < deadline:
            await asyncio.sleep(deadline - loop.time())
            rounds += 1
            assert rounds < 4
        return True

    assert run(main, start=start)


@settings(max_examples=50)
@given(st.sampled_from([0.0, 1.8e9]), st.lists(DELAYS, max_size=10), st.sampled_from(LEVELS))
def test_no_timer_fires_early_and_time_never_goes_back(start, delays, order):
    with opened(3, start=start, order=order) as loop:
        readings = [loop.time()]

        def fire(when):
            assert loop.time() >= when - max(1e-6, math.ulp(when))
            readings.append(loop.time())

        for delay in delays:
            loop.call_later(delay, fire, start + delay)
            loop.call_at(start + delay, fire, start + delay)
        loop.run_until_idle()

        assert len(readings) == 1 + 2 * len(delays)
        assert readings == sorted(readings)


def test_equal_deadlines_run_as_registered():
    with opened() as loop:
        ran = []
        for i in range(100):
            loop.call_later(1, ran.append, i)
            loop.call_at(1, ran.append, i + 0.5)
        loop.run_until_idle()

        assert ran == sorted(ran)


@given(st.sampled_from([0.0, 1.0, 1.8e9]), st.floats(min_value=0, max_value=2e9))
def test_every_way_to_set_a_timer_agrees(start, delay):
    """The hot path computes ticks in line; debug mode and whatever is uncommon ask the clock."""
    with opened(start=start) as fast, opened(start=start) as careful:
        careful.set_debug(True)
        for loop in (fast, careful):
            loop.call_later(delay, int)
            loop.call_at(delay, int)

        assert fast._timers.ticks == careful._timers.ticks


def test_what_is_past_is_due_now_and_the_longest_past_first():
    with opened(start=10.0) as loop:
        ran = []
        loop.call_later(0, ran.append, "now")
        loop.call_later(-1, ran.append, "a second ago")
        loop.call_at(3, ran.append, "long ago")
        loop.call_later(-math.inf, ran.append, "always")
        loop.run_until_idle()

        assert ran == ["always", "long ago", "a second ago", "now"]
        assert loop.time() == 10.0


def test_infinite_never_fires_and_nan_is_refused():
    with opened() as loop:
        handle = loop.call_later(math.inf, pytest.fail)
        loop.call_at(math.inf, pytest.fail)
        loop.call_later(1e308, pytest.fail)
        with pytest.raises(ValueError, match="delay must not be nan"):
            loop.call_later(math.nan, pytest.fail)
        with pytest.raises(ValueError, match="deadline must not be nan"):
            loop.call_at(math.nan, pytest.fail)
        loop.run_until_idle()

        assert loop.time() == 0.0
        assert handle.when() == math.inf
        handle.cancel()
        assert handle.cancelled()


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("start", [0.0, 1.8e9, -5.0])
def test_sleeps_as_long_as_a_float_can_be(start, debug):
    async def main():
        asyncio.get_running_loop().set_debug(debug)
        await asyncio.sleep(1e303)
        await asyncio.sleep(10**305)
        return asyncio.get_running_loop().time()

    assert run(main, start=start) == 1e303 + 1e305


@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_integers_that_no_float_can_hold_are_refused(method):
    with opened() as loop:
        for number in (10**400, -(10**400)):
            with pytest.raises(ValueError, match="must be a number that a float can hold"):
                getattr(loop, method)(number, pytest.fail)
        loop.run_until_idle()


@pytest.mark.parametrize("number", [1e301, 10**400, math.inf, math.nan, -1e-9, "1", None, True, 1j])
@pytest.mark.parametrize("argument", ["lateness", "start", "thread_patience", "seconds"])
def test_what_is_no_time_is_refused_by_name(argument, number):
    if argument == "start" and number == -1e-9:
        number = -1e301
    with opened() as loop:
        give = loop.advance if argument == "seconds" else lambda number: VirtualLoop(**{argument: number})
        with pytest.raises((TypeError, ValueError), match=rf"^{argument} must be "):
            give(number)


def test_advancing_as_far_as_one_may():
    with opened(start=1e300) as loop:
        for _ in range(3):
            loop.advance(1e300)

        assert loop.time() == pytest.approx(4e300)


@pytest.mark.parametrize(("method", "text"), [("call_later", "delay must not be None"), ("call_at", "when cannot be")])
def test_timers_refuse_none_and_strings(method, text):
    with opened() as loop:
        with pytest.raises(TypeError, match=text):
            getattr(loop, method)(None, print)
        with pytest.raises(TypeError):
            getattr(loop, method)("soon", print)
        loop.run_until_idle()

        assert loop.time() == 0.0


def test_cancelled_timers_do_not_move_the_clock():
    with opened() as loop:
        loop.call_later(5, pytest.fail).cancel()
        loop.call_later(1, int)
        loop.run_until_idle()

        assert loop.time() == 1.0


def test_a_day_of_sleeps():
    async def main():
        for _ in range(24):
            await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run(main) == 86400.0


# --- running ----------------------------------------------------------------------------------------------------------


def test_asyncio_run_and_runner():
    async def main():
        await asyncio.sleep(1)
        return asyncio.get_running_loop()

    if sys.version_info >= (3, 12):
        assert isinstance(asyncio.run(main(), loop_factory=VirtualLoop), VirtualLoop)
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(7)) as runner:
        assert runner.run(main()) is runner.get_loop()
        assert runner.run(main()) is runner.get_loop()
    assert runner._loop is None


@pytest.mark.parametrize("order", LEVELS)
def test_run_until_complete_and_run_forever(order):
    with opened(3, order=order) as loop:

        async def fail():
            raise LookupError("no")

        assert loop.run_until_complete(asyncio.sleep(1, "result")) == "result"
        with pytest.raises(LookupError):
            loop.run_until_complete(fail())
        loop.call_later(1, loop.stop)
        loop.run_forever()

        assert loop.time() == 2.0
        assert not loop.is_running()


def test_stop_lets_this_turn_finish_and_no_more():
    with opened() as loop:
        ran = []
        loop.call_soon(loop.stop)
        loop.call_soon(lambda: loop.call_soon(ran.append, "next turn"))
        loop.call_soon(ran.append, "this turn")
        loop.run_forever()

        assert ran == ["this turn"]
        loop.stop()
        loop.run_forever()
        assert ran == ["this turn", "next turn"]


def test_a_loop_that_was_stopped_before_it_ran_does_not_wait():
    with opened() as loop:
        loop.call_later(1, pytest.fail)
        loop.stop()
        loop.run_forever()

        assert loop.time() == 0.0


def test_stopped_before_the_future_completed():
    with opened() as loop:
        loop.call_later(1, loop.stop)
        task = loop.create_task(asyncio.sleep(2))
        with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
            loop.run_until_complete(task)
        loop.run_until_complete(task)


@pytest.mark.parametrize("exit_", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("order", LEVELS)
def test_an_exit_leaves_the_rest_of_the_queue(exit_, order):
    with opened(3, order=order) as loop:
        ran = []

        def leave():
            raise exit_

        loop.call_soon(leave)
        loop.call_soon(ran.append, "later")
        with pytest.raises(exit_):
            loop.run_until_complete(asyncio.sleep(1))
        assert ran == []
        loop.run_until_complete(asyncio.sleep(1))

        assert ran == ["later"]


@pytest.mark.parametrize("exit_", [KeyboardInterrupt, SystemExit])
def test_an_exit_out_of_a_task_leaves_the_loop(exit_):
    """The task's exception is the exit itself: it is raised once, and not logged as never retrieved."""

    async def leave():
        raise exit_

    with opened() as loop:
        with pytest.raises(exit_):
            loop.run_until_complete(leave())
        task = loop.create_task(leave())
        with pytest.raises(exit_):
            loop.run_until_complete(task)
        assert isinstance(task.exception(), exit_)
        loop.run_until_complete(asyncio.sleep(1))
    gc.collect()


def test_running_twice_is_an_error():
    with opened() as loop, opened() as other:

        async def main():
            waiting = asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="This event loop is already running"):
                loop.run_until_complete(waiting)
            with pytest.raises(RuntimeError, match="already running"):
                loop.run_forever()
            with pytest.raises(RuntimeError, match="Cannot run the event loop while another loop is running"):
                other.run_forever()
            with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
                loop.close()
            await waiting
            return loop.is_running()

        assert loop.run_until_complete(main())


def test_a_closed_loop_refuses():
    loop = VirtualLoop()
    loop.call_later(1, pytest.fail)
    loop.close()
    loop.close()
    waiting = asyncio.sleep(0)
    attempts = [
        lambda: loop.call_soon(int),
        lambda: loop.call_later(1, int),
        lambda: loop.call_at(1, int),
        lambda: loop.call_soon_threadsafe(int),
        lambda: loop.create_task(waiting),
        lambda: loop.run_until_complete(waiting),
        lambda: loop.run_in_executor(None, int),
        lambda: loop.add_signal_handler(2, int),
        loop.run_forever,
        loop.run_until_idle,
        lambda: loop.advance(1),
    ]
    for attempt in attempts:
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            attempt()
    waiting.close()

    assert loop.is_closed()
    assert loop.time() == 0.0


def test_an_unclosed_loop_warns_with_its_name():
    loop = VirtualLoop(7)
    with pytest.warns(ResourceWarning, match="unclosed event loop <VirtualLoop seed=7"):
        del loop


def test_nothing_that_has_run_is_kept():
    class Thing:
        pass

    with opened() as loop:

        def use(thing):
            pass

        def watch(*put):
            thing = Thing()
            for queue in put:
                queue(use, thing)
            return weakref.ref(thing)

        references = [
            watch(loop.call_soon),
            watch(lambda f, x: loop.call_later(1, f, x)),
            watch(lambda f, x: loop.call_later(1, f, x).cancel()),
        ]
        loop.call_later(2, loop.stop)
        loop.call_later(2, lambda: alive.append([r() for r in references]))
        alive = []
        loop.run_forever()

        assert alive == [[None, None, None]]


def test_callbacks_run_in_their_context():
    variable = contextvars.ContextVar("variable", default="outside")
    with opened() as loop:
        seen = []
        context = contextvars.copy_context()
        context.run(variable.set, "inside")
        loop.call_soon(lambda: seen.append(variable.get()), context=context)
        loop.call_later(1, lambda: seen.append(variable.get()), context=context)
        token = variable.set("when queued")
        loop.call_soon(lambda: seen.append(variable.get()))
        variable.reset(token)
        loop.run_until_idle()

        assert seen == ["inside", "when queued", "inside"]


@pytest.mark.parametrize("order", LEVELS)
def test_a_callback_that_fails_is_reported_and_the_rest_run(order):
    with opened(3, order=order) as loop:
        reports = []
        loop.set_exception_handler(lambda loop, context: reports.append(context))
        ran = []

        def fail(*args):
            raise LookupError("no")

        for args in ((), (1,), (1, 2)):
            loop.call_soon(fail, *args)
        loop.call_later(1, fail)
        loop.call_soon(ran.append, "the rest")
        loop.run_until_idle()

        assert ran == ["the rest"]
        assert [str(report["exception"]) for report in reports] == ["no"] * 4
        assert {report["message"].partition(".")[0] for report in reports} == {
            "Exception in callback test_a_callback_that_fails_is_reported_and_the_rest_run"
        }
        assert reports[0]["handle"]._args == ()


def test_handles():
    with opened() as loop:
        soon = loop.call_soon(int)
        later = loop.call_later(2.5, int)
        loop.call_soon(soon.cancel)
        at = loop.call_at(2.5, int)

        assert isinstance(soon, asyncio.Handle)
        assert isinstance(later, asyncio.TimerHandle)
        assert "<Handle int()" in repr(soon)
        assert later.when() == at.when() == 2.5
        assert "when=2.5" in repr(later)
        assert later == later  # identity is the point
        assert later != at
        assert len({later, at}) == 2
        assert not soon.cancelled()
        soon.cancel()
        soon.cancel()
        later.cancel()
        later.cancel()
        assert soon.cancelled()
        assert later.cancelled()
        assert repr(soon) == "<Handle cancelled>"
        loop.run_until_idle()


def test_isolated_asyncio_test_case():
    import unittest

    class Case(unittest.IsolatedAsyncioTestCase):
        loop_factory = VirtualLoop

        async def test(self):
            await asyncio.sleep(3600)
            assert isinstance(asyncio.get_running_loop(), VirtualLoop)

    if sys.version_info < (3, 13):
        # The attribute came with 3.13; before, the runner is made in a method.
        Case._setupAsyncioRunner = lambda self: setattr(
            self, "_asyncioRunner", asyncio.Runner(debug=True, loop_factory=VirtualLoop)
        )
    result = unittest.TestResult()
    Case("test").run(result)

    assert result.wasSuccessful(), result.errors
    assert result.testsRun == 1


def test_the_main_task_is_known_by_the_callback_of_a_stock_loop():
    """By which anyio finds the task whose end is that of its worker threads."""
    seen = []
    for factory in (asyncio.SelectorEventLoop, VirtualLoop):

        async def main():
            return [callback for callback, _ in asyncio.current_task()._callbacks]

        with asyncio.Runner(loop_factory=factory) as runner:
            seen.append(runner.run(main()))

    assert seen[0] == seen[1] != []
