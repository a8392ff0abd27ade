"""What each order level promises, checked under schedules that try everything they may."""

import asyncio
import contextlib
import contextvars
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import virtualloop
from helpers import LEVELS, Always, opened, run
from virtualloop._core.lateness import HELD
from virtualloop.schedules import Random, Recording, Replay, ReplayError

SEEDS = range(30)
SCHEDULES = [Always(0), Always(1), Always(10**9), *map(Random, range(8))]
US = 1_000_000


def fresh(schedule):
    """The same answers again, from the beginning."""
    return Always(schedule.k) if isinstance(schedule, Always) else Random(schedule.seed)


every_level = pytest.mark.parametrize("order", LEVELS)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: repr(getattr(s, "k", s)))


# --- at every level ---------------------------------------------------------------------------------------------------


@every_level
@every_schedule
def test_call_soon_is_first_in_first_out(order, schedule):
    with opened(schedule=fresh(schedule), order=order) as loop:
        ran = []
        for i in range(50):
            loop.call_soon(ran.append, i)
            loop.create_task(asyncio.sleep(0))
        loop.call_soon(lambda: [loop.call_soon(ran.append, 50 + i) for i in range(50)])
        loop.run_until_idle()

        assert ran == list(range(100))


@every_level
@every_schedule
def test_nothing_overtakes_a_plain_callback(order, schedule):
    async def main():
        loop = asyncio.get_running_loop()
        events = [asyncio.Event() for _ in range(5)]
        log = []

        async def waiter(i):
            await events[i].wait()
            log.append(("woken", i))

        tasks = [asyncio.create_task(waiter(i)) for i in range(5)]
        await asyncio.sleep(1)
        for i in range(5):
            loop.call_soon(log.append, ("plain", i))
            events[i].set()
        await asyncio.gather(*tasks)
        return log

    log = run(main, schedule=fresh(schedule), order=order)

    assert [entry for entry in log if entry[0] == "plain"] == [("plain", i) for i in range(5)]
    assert all(log.index(("plain", i)) < log.index(("woken", i)) for i in range(5))


@every_level
@every_schedule
def test_done_callbacks_run_before_waiters_added_later(order, schedule):
    async def main():
        future = asyncio.get_running_loop().create_future()
        log = []
        future.add_done_callback(lambda _: log.append("callback"))

        async def waiter():
            await future
            log.append("waiter")

        task = asyncio.create_task(waiter())
        await asyncio.sleep(1)
        future.set_result(None)
        await task
        return log

    assert run(main, schedule=fresh(schedule), order=order) == ["callback", "waiter"]


@every_level
@every_schedule
def test_a_done_callback_may_be_a_method_of_a_task(order, schedule):
    async def main():
        future = asyncio.get_running_loop().create_future()
        victim = asyncio.create_task(asyncio.sleep(100))
        await asyncio.sleep(0)
        future.add_done_callback(victim.cancel)

        async def waiter():
            await future
            return victim.cancelling()

        task = asyncio.create_task(waiter())
        await asyncio.sleep(1)
        future.set_result(None)
        return await task

    assert run(main, schedule=fresh(schedule), order=order) == 1


@every_level
@every_schedule
@pytest.mark.parametrize("make", ["create_task", "Task", "factory"])
def test_tasks_start_in_the_order_of_their_creation(order, schedule, make):
    async def main():
        loop = asyncio.get_running_loop()
        log = []

        async def task(i):
            log.append(i)
            await asyncio.sleep(0)

        if make == "factory":
            loop.set_task_factory(lambda loop, coro, **kwargs: asyncio.Task(coro, loop=loop, **kwargs))
        create = asyncio.Task if make == "Task" else asyncio.create_task
        tasks = [create(task(i)) for i in range(20)]
        await asyncio.gather(*tasks)
        return log

    assert run(main, schedule=fresh(schedule), order=order) == list(range(20))


@every_level
@every_schedule
def test_a_protocol_sees_its_calls_in_order(order, schedule):
    """As transports call their protocols: each call queued by call_soon, from a task that is woken in between."""

    async def main():
        loop = asyncio.get_running_loop()
        log = []

        async def transport(name):
            loop.call_soon(log.append, (name, "connection_made"))
            for i in range(3):
                await asyncio.sleep(0)
                loop.call_soon(log.append, (name, "data_received", i))
            loop.call_soon(log.append, (name, "connection_lost"))
            await asyncio.sleep(0)

        await asyncio.gather(*[transport(name) for name in "abc"])
        return log

    log = run(main, schedule=fresh(schedule), order=order)
    calls = ["connection_made", "data_received", "data_received", "data_received", "connection_lost"]

    for name in "abc":
        assert [entry[1] for entry in log if entry[0] == name] == calls


@every_level
@every_schedule
def test_equal_program_state_whatever_the_order(order, schedule):
    """A program that is right, with everything at once, gives its result under every schedule."""

    async def main():
        queue = asyncio.Queue(2)
        lock = asyncio.Lock()
        total = 0

        async def produce(n):
            for i in range(5):
                await asyncio.sleep(0.01 * n)
                await queue.put(i)

        async def consume():
            nonlocal total
            while True:
                item = await queue.get()
                async with lock:
                    before = total
                    await asyncio.sleep(0.005)
                    total = before + item
                queue.task_done()

        consumers = [asyncio.create_task(consume()) for _ in range(3)]
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for n in range(4):
                group.create_task(produce(n))
        await queue.join()
        for consumer in consumers:
            consumer.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)
        return total

    assert run(main, schedule=fresh(schedule), order=order) == 40


# --- fifo -------------------------------------------------------------------------------------------------------------


def test_fifo_asks_nothing():
    schedule = Always(1)

    async def main():
        await asyncio.gather(*[asyncio.sleep(0.01 * (i % 3)) for i in range(20)])

    run(main, schedule=schedule, order="fifo")

    assert schedule.asked == []


def test_zeros_are_fifo_at_every_level():
    def log_at(**kwargs):
        log = []

        async def main():
            async def task(i):
                await asyncio.sleep(0.01 * (i % 4))
                log.append((i, asyncio.get_running_loop().time()))
                await asyncio.sleep(0)
                log.append((i, "again"))

            await asyncio.gather(*[task(i) for i in range(20)])

        run(main, **kwargs)
        return log

    plain = log_at()

    for order in LEVELS:
        assert log_at(schedule=Always(0), order=order) == plain
        assert log_at(order=order) == plain


# --- timing -----------------------------------------------------------------------------------------------------------


def deadlines_and_firings(order, schedule, lateness, deadlines):
    """Return (deadline, number, time at which it ran) in the order of running."""
    ran = []
    with opened(schedule=schedule, order=order, lateness=lateness) as loop:
        for number, deadline in enumerate(deadlines):
            loop.call_at(deadline, lambda d=deadline, n=number: ran.append((d, n, loop.time())))
        loop.run_until_idle()
    return ran


DEADLINES = st.lists(st.integers(0, 200).map(lambda ms: ms / 1000), max_size=15)
ANSWERS = st.lists(st.integers(0, 3), max_size=60)


@settings(max_examples=150)
@given(DEADLINES, ANSWERS, st.sampled_from([0.0, 0.01, 0.05]))
def test_timing_never_inverts_deadlines_nor_exceeds_lateness(deadlines, answers, lateness):
    schedule = Clamped(answers)
    ran = deadlines_and_firings("timing", schedule, lateness, deadlines)

    assert [(d, n) for d, n, _ in ran] == sorted((d, n) for d, n, _ in ran)
    assert all(round((t - d) * US) <= lateness * US for d, _, t in ran)


@settings(max_examples=150)
@given(DEADLINES, ANSWERS, st.sampled_from([0.0, 0.01, 0.05]), st.sampled_from(["io", "tasks"]))
def test_a_hold_never_exceeds_lateness(deadlines, answers, lateness, order):
    ran = deadlines_and_firings(order, Clamped(answers), lateness, deadlines)

    assert sorted(n for _, n, _ in ran) == list(range(len(deadlines)))
    assert all(0 <= round((t - d) * US) <= lateness * US for d, _, t in ran)


class Clamped:
    """A list of answers, whatever the questions: as far as it goes, and each made to fit."""

    def __init__(self, answers):
        self.answers = iter(answers)

    def choose(self, n, kind):
        return min(next(self.answers, 0), n - 1)


class Counted:
    """A schedule that says yes to one kind of question, and no to all others."""

    def __init__(self, kind):
        self.kind = kind

    def choose(self, n, kind):
        return int(kind == self.kind)


@pytest.mark.parametrize(("deadline", "turn"), [(0.05, 1), (0.050001, None)])
def test_the_clock_is_late_by_lateness_and_no_tick_more(deadline, turn):
    """While callbacks run, the clock passes a deadline that is as far ahead as lateness; the next tick, it does not."""
    turns, fired = [], []

    def busy():
        turns.append(loop.time())
        if len(turns) < 4:
            loop.call_soon(busy)

    with opened(schedule=Counted("late"), order="timing", lateness=0.05) as loop:
        loop.call_at(deadline, lambda: fired.append(len(turns) if len(turns) < 4 else None))
        loop.call_soon(busy)
        loop.run_until_idle()

    assert fired == [turn]


@pytest.mark.parametrize("order", ["io", "tasks"])
def test_an_event_is_held_for_lateness_and_no_tick_more(order):
    """What is held comes in with the last event within its lateness, and before the first one beyond."""
    ran = []
    with opened(schedule=FirstHeld(), order=order, lateness=0.05) as loop:
        for name, deadline in {"held": 0.01, "within": 0.06, "beyond": 0.060001}.items():
            loop.call_at(deadline, lambda name=name: ran.append((name, loop.time())))
        loop.run_until_idle()

    assert ran == [("held", 0.06), ("within", 0.06), ("beyond", 0.060001)]


class FirstHeld:
    """A schedule that holds the first event, and lets everything else come in when it is due."""

    held = False

    def choose(self, n, kind):
        if kind == "hold" and not self.held:
            self.held = True
            return HELD
        return 0


def test_timing_lets_deadlines_pass_together():
    def together(seed):
        ran = deadlines_and_firings("timing", Random(seed), 0.05, [0.01, 0.02])
        return ran[0][2] == 0.02

    assert {together(seed) for seed in SEEDS} == {True, False}


def test_timing_lets_a_deadline_pass_while_callbacks_are_ready():
    """A timeout may fire although the work it guards needs no time: its callbacks were slow."""

    async def main():
        try:
            async with asyncio.timeout(0.02):
                for _ in range(3):
                    await asyncio.sleep(0)
        except TimeoutError:
            return "timeout"
        return "done"

    assert {run(main, seed, order="timing") for seed in range(60)} == {"timeout", "done"}
    assert {run(main, seed, order="timing", lateness=0.01) for seed in range(60)} == {"done"}


def test_timing_keeps_the_queue_first_in_first_out():
    async def main():
        log = []

        async def task(i):
            for _ in range(3):
                await asyncio.sleep(0)
                log.append(i)

        await asyncio.gather(*[task(i) for i in range(5)])
        return log

    assert all(run(main, seed, order=order) == [*range(5)] * 3 for seed in SEEDS for order in ("timing", "io"))


def orders_of_chains(chains):
    """Return the orders in which tasks get through their sleeps, in 200 runs at order "timing"."""

    async def main():
        log = []

        async def chain(name, delays):
            for delay in delays:
                await asyncio.sleep(delay)
            log.append(name)

        await asyncio.gather(*[chain(name, delays) for name, delays in chains.items()])
        return "".join(log)

    return {run(main, seed, order="timing") for seed in range(200)}


def test_timing_lets_a_callback_take_a_moment_before_another_one_sets_its_timer():
    assert orders_of_chains({"a": [0.1, 0.2], "b": [0.3]}) == {"ab", "ba"}
    # Whoever slept before the other began is not late by that.
    assert orders_of_chains({"b": [0.3], "a": [0.1, 0.2]}) == {"ba"}
    assert orders_of_chains({"a": [0.1], "b": [0.1], "c": [0.1]}) == {"abc"}


def test_timing_lets_timers_of_one_tick_come_in_at_different_turns():
    async def main():
        log = []

        async def work(name):
            await asyncio.sleep(0.01)
            log.append(name)
            await asyncio.sleep(0)
            log.append(name)

        await asyncio.gather(work("a"), work("b"))
        return "".join(log)

    assert {run(main, seed, order="timing") for seed in range(60)} == {"abab", "aabb"}


def test_timing_lets_the_clock_move_between_two_callbacks():
    async def main():
        log = []

        async def work(name, *delays):
            for delay in delays:
                await asyncio.sleep(delay)
            log.append(name)

        await asyncio.gather(work("a", 0.03), work("b", 0.02))
        return "".join(log)

    assert {run(main, seed, order="timing") for seed in range(200)} == {"ab", "ba"}
    # Not by more than it may be late.
    assert {run(main, seed, order="timing", lateness=0.025) for seed in range(200)} == {"ba"}


# --- io ---------------------------------------------------------------------------------------------------------------


def orders_of_sleeps(order, delays, seeds=range(200), **kwargs):
    async def main():
        log = []

        async def reply(name, delay):
            await asyncio.sleep(delay)
            log.append(name)

        await asyncio.gather(*[reply(name, delay) for name, delay in delays.items()])
        return "".join(log)

    return {run(main, seed, order=order, **kwargs) for seed in seeds}


def test_io_brings_replies_in_any_order_within_lateness():
    delays = {"a": 0.01, "b": 0.02, "c": 0.03}

    assert orders_of_sleeps("timing", delays) == {"abc"}
    assert orders_of_sleeps("io", delays) == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_io_keeps_the_order_of_what_is_further_apart_than_lateness():
    assert orders_of_sleeps("io", {"a": 0.01, "b": 0.07}) == {"ab"}
    assert orders_of_sleeps("io", {"a": 0.01, "b": 0.07}, lateness=0.1) == {"ab", "ba"}


def test_io_brings_equal_deadlines_in_any_order():
    assert orders_of_sleeps("io", {"a": 1, "b": 1, "c": 1}) == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_io_lets_a_held_reply_be_passed_by_what_its_rival_does_next():
    """Both replies are due at once; one is held for as long as its rival takes to read, wait and write."""

    async def main():
        log = []

        async def client(name):
            await asyncio.sleep(0.1)
            log.append(name + "1")
            await asyncio.sleep(0.02)
            log.append(name + "2")

        await asyncio.gather(client("a"), client("b"))
        return " ".join(log)

    seen = {run(main, seed, order="io") for seed in range(200)}

    assert {"a1 a2 b1 b2", "b1 b2 a1 a2", "a1 b1 a2 b2"} <= seen


def test_io_brings_results_of_threads_in_any_order():
    async def main():
        log = []

        async def job(name):
            await asyncio.to_thread(int)
            log.append(name)

        await asyncio.gather(*[job(name) for name in "abc"])
        return "".join(log)

    assert {run(main, seed, order="timing") for seed in range(5)} == {"abc"}
    assert len({run(main, seed, order="io") for seed in range(30)}) > 2


class Scripted:
    """Answers of each kind, in their order; 0 where there are no more."""

    def __init__(self, **answers):
        self.answers = {kind: iter(each) for kind, each in answers.items()}

    def choose(self, n, kind):
        return next(self.answers.get(kind, iter(())), 0)


def deadlines_in_order_of_arrival(schedule, count):
    """Return the deadlines, in ms, of timers 10 ms apart, as they come in, and when the first one does."""
    ran = deadlines_and_firings("io", schedule, 0.05, [0.01 * (i + 1) for i in range(count)])
    return [round(deadline * 1000) for deadline, _, _ in ran], next(time for _, number, time in ran if number == 0)


def test_one_answer_makes_an_event_late_until_its_lateness_ends():
    assert deadlines_in_order_of_arrival(Scripted(hold=[HELD]), 8) == ([20, 30, 40, 50, 10, 60, 70, 80], 0.06)


def test_an_event_that_is_held_comes_in_when_nothing_else_could():
    assert deadlines_in_order_of_arrival(Scripted(hold=[HELD]), 3) == ([20, 30, 10], 0.03)


def test_an_event_that_is_held_comes_in_when_it_is_released_after_another():
    assert deadlines_in_order_of_arrival(Scripted(hold=[HELD], release=[0, 1]), 5) == ([20, 30, 10, 40, 50], 0.03)


def test_any_of_those_that_are_held_may_be_released():
    schedule = Scripted(hold=[HELD, HELD], release=[2, 1])

    assert deadlines_in_order_of_arrival(schedule, 4) == ([30, 20, 10, 40], 0.03)


@pytest.mark.parametrize("turns", range(5))
def test_what_is_held_may_come_in_at_any_turn_while_callbacks_run(turns):
    """select() looks at every turn, also in the middle of what another event set off."""

    async def main():
        log = []

        async def first():
            await asyncio.sleep(0.01)
            for turn in range(5):
                log.append(turn)
                await asyncio.sleep(0)

        async def second():
            await asyncio.sleep(0.01)
            log.append("late")

        await asyncio.gather(second(), first())
        return log

    # The timer of `second` is held; the first question is put when that of `first` comes in, then there is one a turn.
    log = run(main, schedule=Scripted(hold=[HELD], release=[0] * turns + [1]), order="io")

    assert log.index("late") == turns + 1


def test_a_cancelled_event_that_is_held_is_forgotten():
    class HoldFirst:
        """Holds what it is asked about first, for ever."""

        def __init__(self):
            self.answers = iter([HELD, 0, HELD, 0, HELD, 0])

        def choose(self, n, kind):
            return next(self.answers) if kind == "hold" else 0

    ran = []
    with opened(schedule=HoldFirst(), order="io") as loop:
        handle = loop.call_later(0.01, ran.append, "cancelled")
        loop.call_later(0.02, handle.cancel)
        loop.call_later(0.03, ran.append, "kept")
        loop.run_until_idle()

    assert ran == ["kept"]


def test_what_was_set_for_the_past_comes_in_before_what_is_held():
    class HoldTwice:
        answers = iter([1, 1, 0, 0, 0, 0])

        def choose(self, n, kind):
            return next(self.answers) if kind == "hold" else 0

    ran = []
    with opened(schedule=HoldTwice(), order="io", start=10.0) as loop:
        loop.call_later(0.01, ran.append, "held")

        def set_for_the_past():
            loop.call_at(10.005, ran.append, "past")

        loop.call_later(0.01, set_for_the_past)
        loop.run_until_idle()

    assert sorted(ran) == ["held", "past"]


def test_the_clock_does_not_pass_what_may_not_be_held_longer():
    class LateAndHolding:
        def choose(self, n, kind):
            return 1

    ran = []
    with opened(schedule=LateAndHolding(), order="io", lateness=0.05) as loop:
        for deadline in (0.01, 0.03, 0.05, 0.07, 0.09, 0.2):
            loop.call_at(deadline, lambda d=deadline: ran.append((d, loop.time())))
        loop.run_until_idle()

    assert len(ran) == 6
    assert all(round((time - deadline) * US) <= 0.05 * US for deadline, time in ran)


def test_advance_waits_for_what_is_held():
    for seed in SEEDS:
        ran = []
        with opened(seed, order="io") as loop:
            for i in range(5):
                loop.call_later(0.01, ran.append, i)
            loop.advance(0.01)

            assert sorted(ran) == list(range(5))
            assert loop.time() == 0.01


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_tasks_resume_in_any_order():
    async def main():
        event = asyncio.Event()
        log = []

        async def waiter(name):
            await event.wait()
            log.append(name)

        tasks = [asyncio.create_task(waiter(name)) for name in "abc"]
        await asyncio.sleep(1)
        event.set()
        await asyncio.gather(*tasks)
        return "".join(log)

    assert {run(main, seed, order="io") for seed in SEEDS} == {"abc"}
    assert len({run(main, seed) for seed in range(200)}) == 6


def test_a_task_may_be_passed_more_than_once():
    async def main():
        log = []

        async def task(name):
            for _ in range(4):
                await asyncio.sleep(0)
                log.append(name)

        await asyncio.gather(task("a"), task("b"))
        return "".join(log)

    seen = {run(main, seed) for seed in range(200)}

    assert "abababab" in seen
    assert any("aaa" in order for order in seen)
    assert any("bbb" in order for order in seen)


# --- schedules and the loop -------------------------------------------------------------------------------------------


async def everything():
    log = []
    loop = asyncio.get_running_loop()

    async def task(i):
        await asyncio.sleep(0.01 * (i % 3))
        log.append((i, loop.time()))
        await asyncio.sleep(0)
        log.append((i, await asyncio.to_thread(lambda: i)))

    await asyncio.gather(*[task(i) for i in range(6)])
    return log


@pytest.mark.parametrize("order", LEVELS)
@pytest.mark.parametrize("seed", range(6))
def test_a_recording_replays_the_run(order, seed):
    recording = Recording(Random(seed))
    recorded = run(everything, schedule=recording, order=order)

    assert recorded == run(everything, seed, order=order)
    assert recorded == run(everything, schedule=Replay(recording.choices), order=order)
    assert recorded == run(everything, schedule=Replay([c.answer for c in recording.choices]), order=order)


@pytest.mark.parametrize("seed", range(6))
def test_debug_mode_is_the_same_run(seed):
    async def in_debug_mode():
        asyncio.get_running_loop().set_debug(True)
        return await everything()

    async def with_a_callback():  # as set_debug() queues one
        asyncio.get_running_loop().call_soon(int)
        return await everything()

    for order in LEVELS:
        assert run(in_debug_mode, seed, order=order) == run(with_a_callback, seed, order=order)


def test_a_recording_of_another_program_says_so():
    recording = Recording(Random(1))
    run(everything, schedule=recording, order="io")

    async def other():
        await asyncio.gather(*[asyncio.sleep(0) for _ in range(5)])
        await asyncio.sleep(1)

    with pytest.raises(ReplayError, match="does not fit this run"):
        run(other, schedule=Replay(recording.choices), order="tasks")


@pytest.mark.parametrize("order", ["timing", "io", "tasks"])
@pytest.mark.parametrize("after", range(12))
def test_a_schedule_that_raises_loses_nothing(order, after):
    """Whatever was pending when it raised runs once the loop is driven again."""

    class Refusing:
        left = after

        def choose(self, n, kind):
            self.left -= 1
            if self.left == -1:
                raise LookupError(kind)
            return 0

    ran = []
    with opened(schedule=Refusing(), order=order) as loop:

        async def task(i):
            await asyncio.sleep(0.01 * i)
            ran.append(i)
            await asyncio.sleep(0)
            ran.append(i)

        for i in range(4):
            loop.create_task(task(i))
        try:
            loop.run_until_idle()
        except LookupError:
            loop.run_until_idle()

        assert sorted(ran) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_bad_answer_is_an_error_that_names_the_schedule():
    class Bad:
        def choose(self, n, kind):
            return n

        def __repr__(self):
            return "Bad()"

    with pytest.raises(ValueError, match=r"Bad\(\)\.choose\(2, 'task'\) returned 2, which is not in range\(2\)"):
        run(everything, schedule=Bad())


def test_hypothesis_can_be_the_schedule():
    """It draws the list of choices, finds the lost update, and shrinks it."""

    async def main():
        value = 0

        async def add():
            nonlocal value
            before = value
            for _ in range(3):
                await asyncio.sleep(0)
            value = before + 1

        async def apart():
            await asyncio.sleep(0.02)  # by then the first is done, unless its callbacks are slow
            await add()

        await asyncio.gather(add(), apart())
        return value

    @settings(max_examples=200, database=None, derandomize=True)
    @given(st.data())
    def prop(data):
        class Drawn:
            def choose(self, n, kind):
                return data.draw(st.integers(0, n - 1))

        assert run(main, schedule=Drawn(), order="timing") == 2

    with pytest.raises(AssertionError):
        prop()


def test_context_variables_follow_whatever_the_order():
    variable = contextvars.ContextVar("variable")

    async def main():
        async def task(i):
            variable.set(i)
            for _ in range(5):
                await asyncio.sleep(0)
                assert variable.get() == i

        await asyncio.gather(*[task(i) for i in range(10)])

    for seed in SEEDS:
        run(main, seed)


def test_many_events_at_once_cost_a_few_questions_each():
    asked = []

    class Counting:
        def __init__(self):
            self.random = random.Random(1)

        def choose(self, n, kind):
            asked.append(kind)
            return int(self.random.random() < 0.5)

    ran = []
    with opened(schedule=Counting(), order="io") as loop:
        for i in range(20_000):
            loop.call_later(1, ran.append, i)
        loop.run_until_idle()

    assert len(ran) == 20_000
    assert len(asked) < 6 * 20_000


# --- plain ------------------------------------------------------------------------------------------------------------


class CountsEvents(Always):
    """Answers 0, and counts the questions about events, tasks and the test's own choices."""

    def choose(self, n, kind):
        super().choose(n, kind)
        return 0

    def count(self):
        return sum(kind in ("hold", "task", "user") for _, kind in self.asked)


@pytest.mark.parametrize("order", ["io", "tasks"])
def test_nothing_varies_within_plain(order):
    schedule = CountsEvents(0)

    async def main():
        async def sleeps():
            await asyncio.sleep(0.01)

        with virtualloop.plain():
            await asyncio.gather(sleeps(), sleeps(), sleeps())
            assert virtualloop.choose("abc") == "a"
        assert schedule.count() == 0
        await asyncio.gather(sleeps(), sleeps(), sleeps())
        virtualloop.choose("abc")

    run(main, schedule=schedule, order=order)

    assert schedule.count() > 2


def test_what_was_set_within_plain_is_on_time_and_a_task_that_was_made_there_is_free():
    ran = []

    async def main():
        loop = asyncio.get_running_loop()

        async def reply():
            await asyncio.sleep(0.02)
            await asyncio.sleep(0.01)
            ran.append("reply")

        with virtualloop.plain():
            task = asyncio.create_task(reply())
            await asyncio.sleep(0)
            loop.call_later(0.02, ran.append, "timer")
        loop.call_later(0.04, ran.append, "after")
        loop.call_later(0.06, ran.append, "last")
        await task
        await asyncio.sleep(0.1)

    run(main, schedule=Always(10**9), order="io", lateness=0.05)

    # The second sleep of the task is held as long as can be, and so are the others; what was set within is not.
    assert ran[0] == "timer"
    assert ran.index("reply") > 1


def test_a_scope_within_another_one_ends_with_the_outer_one():
    schedule = CountsEvents(0)

    async def main():
        async def sleeps():
            await asyncio.sleep(0.01)

        with virtualloop.plain():
            with virtualloop.plain():
                await asyncio.gather(sleeps(), sleeps())
            await asyncio.gather(sleeps(), sleeps())
            assert schedule.count() == 0
        await asyncio.gather(sleeps(), sleeps())

    run(main, schedule=schedule, order="tasks")

    assert schedule.count() > 0


@pytest.mark.parametrize(("within", "passed"), [(True, 0.0), (False, 0.02)])
def test_the_clock_does_not_pass_what_was_set_within_plain_while_callbacks_run(within, passed):
    async def main():
        loop = asyncio.get_running_loop()
        with virtualloop.plain() if within else contextlib.nullcontext():
            loop.call_later(0.01, lambda: None)
        loop.call_later(0.02, lambda: None)
        for _ in range(3):
            await asyncio.sleep(0)
        return loop.time()

    assert run(main, schedule=Always(1, "late"), order="io", lateness=0.05) == passed


def test_the_network_is_at_its_best_within_plain():
    async def main():
        async def answer(reader, writer):
            writer.write(await reader.read(5))
            writer.close()

        loop = asyncio.get_running_loop()
        with virtualloop.plain():
            async with await asyncio.start_server(answer, "localhost", 80):
                reader, writer = await asyncio.open_connection("localhost", 80)
                writer.write(b"hello")
                assert await reader.read() == b"hello"
                took = loop.time()
                writer.close()
        return took

    network = virtualloop.Network(latency=(0.001, 0.1))

    assert run(main, 3, order="io", network=network) == pytest.approx(0.005, abs=0.002)


def test_plain_does_nothing_elsewhere():
    async def main():
        with virtualloop.plain():
            await asyncio.sleep(0)

    asyncio.run(main())
    with virtualloop.plain():
        pass
