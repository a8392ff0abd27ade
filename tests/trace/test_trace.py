"""What a trace records and says."""

import asyncio
import contextvars
import functools
import gc
import os
import re
import subprocess
import sys
import threading
import time
import types
import weakref

import pytest

import virtualloop
from helpers import Always, opened, run
from virtualloop import Network, Trace, VirtualLoop
from virtualloop._core.lateness import HELD
from virtualloop._report.frames import is_machinery, library_of
from virtualloop.trace import Deviation
from virtualloop.trace._chain import failing_steps
from virtualloop.trace._history import History
from virtualloop.trace._table import CONTEXT, MAX_WIDTH, MIN_WIDTH, Row, formatted, width
from virtualloop.trace._trace import SHOWN, recorder_of


def traced(main, *args, **kwargs):
    """Run main() with a trace, and return the trace."""
    trace = Trace()
    run(main, *args, trace=trace, **kwargs)
    return trace


def relative(text, main):
    """Return a text with this file's lines counted from the one that begins `main`."""
    first = main.__code__.co_firstlineno

    def count(match):
        return f"+{int(match[1]) - first}" + (f" -> +{int(match[2]) - first}" if match[2] else "")

    return re.sub(r"test_trace\.py:(\d+)(?: -> (\d+))?", count, text)


def told(trace, main):
    """Return the lines of the text without columns and source: time, who, what and where."""
    lines = [re.split(r"  +", relative(line, main)) for line in trace.lines()]
    return [" | ".join(line if line[0] else line[1:]) for line in lines]


def whats(trace, who):
    """Return what a task, or a callback, did in each step; a task is known by its name without its coroutine."""
    lines = [re.split(r"  +", line[2:].strip()) for line in trace.lines()]
    return [line[2] for line in lines if line[1] == who or line[1].startswith(f"{who} ")]


# --- the text ---------------------------------------------------------------------------------------------------------


async def two_of_us():
    lock = asyncio.Lock()

    async def work(seconds):
        await asyncio.sleep(seconds)
        async with lock:
            virtualloop.note("has the lock")
            await asyncio.sleep(0.02)

    ann = asyncio.create_task(work(0.01), name="ann")
    bob = asyncio.create_task(work(0.015), name="bob")
    await asyncio.gather(ann, bob)


def test_a_story():
    trace = traced(two_of_us)

    expected = """\
VirtualLoop(order='fifo'): 9 steps of 3 tasks until t=0.05, asyncio's own order

   0ms  Task-1 two_of_us  starts; creates ann and bob; waits for gather()  +11       await asyncio.gather(ann, bob)
   0ms  ann               starts, created by Task-1; sleeps 10 ms          +4        await asyncio.sleep(seconds)
   0ms  bob               starts, created by Task-1; sleeps 15 ms          +4        await asyncio.sleep(seconds)
  10ms  ann               wakes up; sleeps 20 ms                           +4 -> +7  await asyncio.sleep(0.02)
  10ms                    note: has the lock
  15ms  bob               wakes up; waits for Lock.acquire()               +4 -> +5  async with lock:
  30ms  ann               wakes up; wakes bob (+5); ends                   +7
  30ms  bob               woken by ann; sleeps 20 ms                       +5 -> +7  await asyncio.sleep(0.02)
  30ms                    note: has the lock
  50ms  bob               wakes up; wakes Task-1; ends                     +7
  50ms  Task-1 two_of_us  woken by bob; ends                               +11"""

    def squeezed(text):
        return [re.sub(r"(\+\d+(?:\); ends)?) +", r"\1  ", line) for line in text.splitlines()]

    assert squeezed(relative(str(trace), two_of_us)) == squeezed(expected)


def test_deviations_are_marked_where_they_are():
    async def main():
        async def work(seconds):
            await asyncio.sleep(seconds)

        async with asyncio.TaskGroup() as group:
            group.create_task(work(0.01), name="ann")
            group.create_task(work(0.02), name="bob")

    assert [
        line for line in told(traced(main, schedule=Always(1, "late"), order="timing"), main) if line.startswith("*")
    ] == [
        "* 20ms | the loop wakes 10 ms late, and bob's timer (+2) is due as well",
    ]
    assert [line for line in told(traced(main, schedule=Always(1), order="io"), main) if line.startswith("*")] == [
        "* 20ms | the loop wakes 10 ms late, and bob's timer (+2) is due as well",
        "* 20ms | ann's timer (+2) fires 10 ms late",
        "* 20ms | bob's timer (+2) fires after later ones",
    ]


def test_a_loop_that_reads_its_clock_late_in_the_middle_of_work():
    async def main():
        async def poll():
            for _ in range(3):
                await asyncio.sleep(0)

        asyncio.create_task(poll(), name="poll")
        await asyncio.sleep(0.01)

    assert "* 10ms | earlier callbacks took 10 ms, and Task-1 main's timer (+6) is due already" in told(
        traced(main, schedule=Always(1), order="timing"), main
    )


def test_what_asyncios_own_code_raises_or_a_thread_cancels_has_no_line_of_the_readers():
    async def main():
        limited = asyncio.create_task(asyncio.wait_for(asyncio.Event().wait(), 1), name="limited")
        forever = asyncio.create_task(asyncio.sleep(60), name="forever")
        await asyncio.wait([limited])
        thread = threading.Thread(target=forever.cancel)
        thread.start()
        thread.join()
        await asyncio.wait([forever])
        assert isinstance(limited.exception(), TimeoutError)

    trace = traced(main)

    assert whats(trace, "limited")[-1].endswith("; wakes Task-1; raises TimeoutError")
    assert whats(trace, "Task-1")[1] == "woken by limited; cancels forever; waits for wait()"
    assert whats(trace, "forever")[-1] == "cancelled by Task-1; wakes Task-1; ends, cancelled"


def test_a_loop_with_a_call_soon_of_its_own_is_recorded():
    queued = []

    class Noting(VirtualLoop):
        def call_soon(self, callback, *args, context=None):
            queued.append(callback)
            return super().call_soon(callback, *args, context=context)

    async def main():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        await future

    trace = Trace()
    with asyncio.Runner(loop_factory=lambda: Noting(trace=trace)) as runner:
        runner.run(main())

    assert len(queued) > 2
    assert "woken by Future.set_result(); ends" in str(trace)


def test_a_callback_that_took_a_moment_or_long():
    async def main():
        async def ask():
            await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)

        ann, eve = asyncio.create_task(ask(), name="ann"), asyncio.create_task(ask(), name="eve")
        await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        await asyncio.wait([ann, eve])

    def deviations(kind):
        lines = told(traced(main, schedule=Always(1, kind), order="timing"), main)
        return [line.partition(" | ")[2] for line in lines if line.startswith("*")]

    assert deviations("apart") == [
        "eve's timer (+2) fires a moment late",
        "Task-1 main's timer (+7) fires a moment late",
    ]
    assert deviations("slow")[0] == "earlier callbacks took 10 ms, and ann's timer (+2) is due already"


def test_an_event_that_is_held_counts_once():
    """However often it was asked about: what matters is how late it comes in."""

    async def main():
        async def often():
            for _ in range(6):
                await asyncio.sleep(0.005)

        asyncio.create_task(often(), name="often")
        await asyncio.sleep(0.002)

    class HoldsTheFirst:
        asked = 0

        def choose(self, n, kind):
            self.asked += kind == "hold"
            return HELD if kind == "hold" and self.asked in (1, 3, 4) else 0

    trace = traced(main, schedule=HoldsTheFirst(), order="io", lateness=0.02)

    # And one that is held when main ends does not come in at all.
    assert [deviation.text for deviation in trace.deviations if "when the run ends" not in deviation.text] == [
        re.sub(r":\d+", f":{main.__code__.co_firstlineno + 6}", "Task-1 main's timer (test_trace.py:0) fires 8 ms late")
    ]


def test_an_event_that_was_held_for_nothing_is_no_deviation():
    """Nothing else was there to come in before it."""

    async def main():
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_soon(int)
        await asyncio.sleep(1)

    assert traced(main, schedule=Always(1), order="io").deviations == []


def test_an_event_that_was_held_and_overtook_nothing_is_no_deviation():
    """It was held behind what stood before it in any case, and once beside one that was cancelled."""

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(0, float)
        loop.call_soon(int)
        await asyncio.sleep(1)
        loop.call_later(1, float)
        loop.call_later(1, float).cancel()
        await asyncio.sleep(2)

    asked = Always(1, "hold")
    trace = traced(main, schedule=asked, order="io")

    assert [kind for _, kind in asked.asked].count("hold") >= 2
    assert trace.deviations == []


def test_an_event_that_is_held_when_the_run_ends_is_one_deviation_where_it_was_held_first():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(1, float)
        loop.call_later(1, int)
        for _ in range(5):
            await asyncio.sleep(0.5)

    def main_ends():
        trace = traced(main, schedule=HoldsForEver(), order="io", lateness=60)
        return [line for line in told(trace, main) if line.startswith("*")], trace

    class HoldsForEver:
        asked = 0

        def choose(self, n, kind):
            self.asked += kind == "hold"
            return HELD if kind == "hold" and self.asked == 2 else 0

    lines, trace = main_ends()
    assert lines == ["* 1000ms | Task-1 main's timer (+5) is late, and has not fired when the run ends"]
    (deviation,) = trace.deviations
    assert (deviation.time, deviation.kind) == (1.0, "hold")


def test_a_callback_that_overtakes_a_wakeup():
    async def main():
        loop = asyncio.get_running_loop()
        gate = loop.create_future()

        async def waits():
            await gate

        task = asyncio.create_task(waits(), name="waits")
        await asyncio.sleep(0)
        loop.call_soon(lambda: (gate.set_result(None), loop.call_soon(cleans_up)))
        await task

    def cleans_up():
        pass

    trace = traced(main, schedule=Always(1, "task"), order="tasks")

    (deviation,) = trace.deviations
    assert deviation.text == "cleans_up(), queued by <lambda>(), runs before waits resumes"


def test_cancelled_timers_are_not_late():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(0.02, int)
        loop.call_soon(lambda: loop.call_later(0.02, int).cancel())
        await asyncio.sleep(0.01)

    class LateTheSecondTime:
        asked = 0

        def choose(self, n, kind):
            self.asked += 1
            return int(self.asked == 2)

    (deviation,) = traced(main, schedule=LateTheSecondTime(), order="timing").deviations

    assert deviation.text.startswith("the loop wakes 10 ms late, and Task-1 main's timer (")
    assert deviation.text.endswith(") is due as well")
    assert "lambda" not in deviation.text


def test_a_task_that_overtook_and_was_overtaken():
    """Who is said to have resumed earlier did."""

    async def main():
        async def work():
            await asyncio.sleep(0)

        await asyncio.gather(*[asyncio.create_task(work(), name=name) for name in ("ann", "bob", "cy")])

    class LastFirst:
        asked = 0

        def choose(self, n, kind):
            self.asked += kind == "task"
            return n - 1 if kind == "task" and self.asked <= 2 else 0

    trace = traced(main, schedule=LastFirst(), order="tasks")
    order = [re.split(r"  +", line[2:].strip())[1] for line in trace.lines() if "goes on" in line]

    assert order == ["cy", "ann", "bob"]
    assert [deviation.text for deviation in trace.deviations] == ["cy resumes before bob"]


def test_a_task_that_resumes_before_others():
    async def main():
        async def work():
            await asyncio.sleep(0)

        await asyncio.gather(*[asyncio.create_task(work(), name=name) for name in ("ann", "bob", "cy")])

    trace = traced(main, schedule=Always(1), order="tasks")

    assert [d.text for d in trace.deviations if d.kind == "task"][:1] == ["bob resumes before ann"]


def test_a_choice_of_the_test():
    async def main():
        return virtualloop.choose(["yes", "no"]), virtualloop.choose([object(), object])

    plain, other = traced(main), traced(main, schedule=Always(1))

    assert told(plain, main)[1:] == [
        "0ms | choose() returns 'yes' at +1",
        "0ms | choose() returns <object object> at +1",
    ]
    assert told(other, main)[1:] == [
        "* 0ms | choose() returns 'no' at +1",
        "* 0ms | choose() returns <class 'object'> at +1",
    ]


def test_what_a_task_waits_for():
    async def main():
        loop = asyncio.get_running_loop()
        queue, future = asyncio.Queue(), loop.create_future()

        async def numbers():
            yield await queue.get()

        async def read():
            async for _ in numbers():
                await future

        reader = asyncio.create_task(read(), name="reader")
        await asyncio.sleep(0)
        queue.put_nowait(1)
        await asyncio.sleep(0)
        loop.call_soon(future.set_result, None)
        await reader
        asyncio.create_task(asyncio.sleep(3), name="sleeper")
        await asyncio.to_thread(int)
        await virtualloop.advance(2)
        event = asyncio.Event()
        loop.call_later(1, event.set)
        await event.wait()

    trace = traced(main)

    assert whats(trace, "reader") == [
        "starts, created by Task-1; waits for Queue.get()",
        "woken by Task-1; waits for a future",
        "woken by Future.set_result(); wakes Task-1; ends",
    ]
    assert whats(trace, "sleeper") == ["starts, created by Task-1; sleeps 3 s", "wakes up; ends"]
    assert whats(trace, "Task-1") == [
        "starts; creates reader; yields",
        f"goes on; wakes reader (test_trace.py:{main.__code__.co_firstlineno + 13}); yields",
        "goes on; queues Future.set_result(); waits for task reader",
        "woken by reader; creates sleeper; waits for to_thread()",
        "woken by a thread; waits for advance()",
        "woken by the loop, all else being settled; waits for Event.wait()",
        "wakes up; ends",
    ]


def test_a_thread_s_sleep_and_its_result_are_told_as_a_thread_s_where_they_are_late():
    async def main():
        async def job():
            await asyncio.to_thread(time.sleep, 0.05)
            await asyncio.to_thread(time.sleep, 0.01)

        async def ticks():
            for _ in range(6):
                await asyncio.sleep(0.03)

        await asyncio.gather(job(), job(), ticks())

    trace = Trace()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(0, order="io", patch_time=True, trace=trace)) as runner:
        runner.run(main())
    told = str(trace)
    assert "a thread's sleep ends" in told
    assert "the result of a thread arrives" in told
    assert "woken by a thread" in told
    assert "the test's timer" not in told
    assert "woken by a timer" not in told


def test_why_a_step_came_is_worth_more_room_than_the_class_of_what_it_waits_for():
    what = "woken by reader; waits for UnreliableObjectReceiveStream.__anext__()"
    row = Row(tick=0, step=0, event=None, who="Task-1", what=what, where="app.py:12 -> library.py:345", source="")

    assert formatted([row], width=120) == [f"  0ms  Task-1  {what}  app.py:12 -> library.py:345"]
    assert formatted([row], width=82) == [
        "  0ms  Task-1  woken by reader; waits for __anext__()  app.py:12 -> library.py:345"
    ]


def test_a_task_that_runs_an_operation_of_asyncio_s_and_ends_at_once_has_ended():
    async def main():
        await asyncio.create_task(asyncio.Lock().acquire(), name="locker")

    trace = Trace()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(trace=trace)) as runner:
        runner.run(main())

    assert re.search(r"locker +starts.*; ends", str(trace))


def test_what_ends_a_wait():
    async def main():
        async def forever():
            await asyncio.Event().wait()

        async def fail():
            await asyncio.sleep(0)
            raise LookupError(f"nothing in\n{object()}")

        victim = asyncio.create_task(forever(), name="victim")
        fails = asyncio.create_task(fail(), name="fails")
        await asyncio.wait([fails])
        victim.cancel()
        await asyncio.wait([victim], timeout=1)
        await asyncio.wait([asyncio.create_task(forever(), name="other")], timeout=1)
        try:
            async with asyncio.timeout(1):
                await forever()
        except TimeoutError:
            fails.exception()

    trace = traced(main)

    assert whats(trace, "victim")[-1] == "cancelled by Task-1; wakes Task-1; ends, cancelled"
    assert whats(trace, "fails")[-1] == "goes on; wakes Task-1; raises LookupError: nothing in"
    assert whats(trace, "Task-1")[-2:] == [
        "timed out; waits for Event.wait()",
        "cancelled by its timeout; ends",
    ]


def test_a_task_that_yields_by_itself():
    @types.coroutine
    def bare():
        yield

    async def main():
        await bare()

    assert whats(traced(main), "Task-1") == ["starts; yields", "goes on; ends"]


def test_who_cancels_the_future_that_a_task_waits_for():
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(lambda: future.cancel())
        try:
            await future
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    assert whats(traced(main), "Task-1")[1] == "cancelled by <lambda>(); sleeps 1 s"


def test_a_story_of_a_run_in_which_no_task_failed():
    def fails():
        raise LookupError

    async def main():
        await asyncio.sleep(1)

    callbacks, fine = Trace(), traced(main)
    with opened(trace=callbacks) as loop:
        loop.set_exception_handler(lambda loop, context: None)
        loop.call_soon(fails)
        loop.run_until_idle()

    assert failing_steps(History(recorder_of(callbacks), is_machinery, library_of)) == []
    history = History(recorder_of(fine), is_machinery, library_of)
    (last,) = failing_steps(history)  # What it was found to be, it was when main had ended.
    assert history.fate(last) == "ends"
    assert history.names[history.steps[last].subject] == "Task-1"


def test_a_task_that_cancels_itself():
    async def main():
        async def work():
            asyncio.current_task().cancel()
            await asyncio.sleep(0)

        await asyncio.wait([asyncio.create_task(work(), name="work")])

    assert whats(traced(main), "work")[-1] == "cancelled by itself; wakes Task-1; ends, cancelled"


async def woken_and_cancelled():
    queue = asyncio.Queue()

    async def killer():
        victim.cancel()

    victim = asyncio.create_task(queue.get(), name="victim")
    await asyncio.sleep(0.01)
    task = asyncio.create_task(killer(), name="killer")
    queue.put_nowait("item")
    await task


def test_who_was_woken_by_one_and_cancelled_by_another():
    trace = traced(woken_and_cancelled)

    assert whats(trace, "victim")[-1] == "woken by Task-1, then cancelled by killer; ends, cancelled"
    assert whats(trace, "killer") == [
        f"starts, created by Task-1; cancels victim (test_trace.py:{_line(woken_and_cancelled, 4)}); wakes Task-1; ends"
    ]


def _line(main, n):
    return main.__code__.co_firstlineno + n


def test_a_timeout_that_comes_when_its_task_was_woken():
    async def main():
        async def wait():
            async with asyncio.timeout(0.01):
                await event.wait()

        event = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, event.set)
        await asyncio.wait([waiting := asyncio.create_task(wait(), name="waiting")])
        waiting.exception()

    assert whats(traced(main), "waiting")[-1].startswith("woken by Task-1, then cancelled by its timeout; ")


def test_who_cancels_what_another_one_waits_for():
    async def main():
        async def wait(task):
            await task

        inner = asyncio.create_task(asyncio.sleep(1), name="inner")
        outer = asyncio.create_task(wait(inner), name="outer")
        await asyncio.sleep(0)
        outer.cancel()
        await asyncio.wait([outer])

    trace = traced(main)

    assert "cancels outer and inner (" in whats(trace, "Task-1")[1]
    assert whats(trace, "inner")[-1].startswith("cancelled by Task-1; ")
    assert whats(trace, "outer")[-1].startswith("cancelled by Task-1; ")


def test_a_task_that_is_cancelled_before_it_starts():
    async def main():
        task = asyncio.create_task(asyncio.sleep(1), name="never")
        task.cancel()
        await asyncio.wait([task])

    (only,) = whats(traced(main), "never")

    assert only == "starts, created by Task-1, cancelled by Task-1; wakes Task-1; ends, cancelled"


def test_who_is_cancelled_by_the_failure_of_another_one_of_its_group():
    async def main():
        async def fail():
            raise LookupError

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(1), name="sibling")
                group.create_task(fail(), name="fails")
        except* LookupError:
            pass

    assert whats(traced(main), "sibling")[-1].startswith("cancelled by fails; ")


class Own(asyncio.Task):
    pass


@pytest.mark.parametrize("kind", [asyncio.Task, Own])
@pytest.mark.parametrize("is_woken_first", [True, False])
def test_a_task_that_does_not_say_who_cancelled_it(kind, is_woken_first):
    """It is of a class that is not the loop's, and counts how often it was cancelled."""

    async def main():
        queue = asyncio.Queue()
        victim = kind(queue.get(), loop=asyncio.get_running_loop(), name="victim")
        await asyncio.sleep(0.01)

        async def produce():
            queue.put_nowait("item")

        async def kill():
            victim.cancel()

        steps = [("producer", produce), ("killer", kill)]
        tasks = [
            asyncio.create_task(step(), name=name) for name, step in (steps if is_woken_first else reversed(steps))
        ]
        await asyncio.wait([victim, *tasks])

    trace = traced(main)

    assert "cancelled by killer; " in whats(trace, "victim")[-1]
    assert "cancels victim" in whats(trace, "killer")[-1]
    assert "cancelled" not in whats(trace, "producer")[-1]


def test_of_tasks_that_do_not_say_who_cancelled_them_each_is_seen_each_time():
    errors = []

    async def main():
        async def stubborn():
            for _ in range(3):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    continue

        async def kill(victim, times):
            for _ in range(times):
                await asyncio.sleep(1)
                victim.cancel()

        async def forgotten():
            await loop.create_future()

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: errors.append(context.get("exception")))
        Own(forgotten(), loop=loop, name="forgotten")
        victims = {}
        first = Own(kill_later(victims, "second"), loop=loop, name="first")
        for name in ("second", "third"):
            victims[name] = Own(stubborn(), loop=loop, name=name)
        await asyncio.sleep(0)
        gc.collect()
        await asyncio.gather(kill(victims["third"], 3), kill(victims["second"], 1), first)
        victims["second"].cancel()
        await asyncio.wait(victims.values())

    async def kill_later(victims, name):
        """It ends in the step in which it cancels another one."""
        await asyncio.sleep(1.5)
        victims[name].cancel()

    trace = traced(main)

    text = "\n".join(trace.lines())
    assert [text.count(f"cancels {name}") for name in ("first", "second", "third", "forgotten")] == [0, 3, 3, 0]
    assert whats(trace, "first")[-1] == "wakes up; cancels second; ends"
    assert [sum("cancelled by" in what for what in whats(trace, name)) for name in ("first", "second", "third")] == [
        *(0, 3, 3)
    ]
    assert trace.deviations == []
    assert [error for error in errors if error is not None] == []


def test_a_cancellation_of_its_own_kind_that_is_taken_back():
    """A timeout of a task that does not say who cancels it, which is another each time."""

    async def main():
        async def work():
            for _ in range(2):
                try:
                    async with asyncio.timeout(1):
                        await asyncio.Event().wait()
                except TimeoutError:
                    pass

        await asyncio.Task(work(), loop=asyncio.get_running_loop(), name="worker")

    assert ["timeout" in what for what in whats(traced(main), "worker")[1:]] == [True, True]


def test_two_tasks_never_have_one_name():
    async def main():
        tasks = [asyncio.create_task(asyncio.sleep(1), name="worker") for _ in range(3)]
        tasks.append(asyncio.create_task(asyncio.sleep(1), name="worker (2)"))
        await asyncio.gather(*tasks)

    names = {re.split(r"  +", line)[2] for line in traced(main).lines()}

    assert names == {"Task-1 main", "worker", "worker (3)", "worker (4)", "worker (2)"}


def test_a_task_without_a_name_is_known_by_its_coroutine():
    class Service:
        async def handle_request(self):
            await asyncio.sleep(0)

    async def main():
        await asyncio.create_task(Service().handle_request())

    # With its class it would be too long.
    assert "  Task-2 handle_request  " in traced(main).lines()[1]


def test_places_are_the_readers_own():
    async def main():
        async def wait():
            await asyncio.Event().wait()

        try:
            await asyncio.wait_for(wait(), 1)
        except TimeoutError:
            pass
        for _ in range(2):
            await asyncio.sleep(1)

        async def fail():
            async with asyncio.timeout(1):
                await wait()

        await asyncio.wait([failed := asyncio.create_task(fail(), name="fails")])
        failed.exception()

    lines = [line.split(" | ") for line in told(traced(main), main)]
    of_main = [line[-2:] for line in lines if line[1] == "Task-1 main" and "ends" not in line[2]]
    (failed,) = [line for line in lines if "raises" in line[2]]

    if sys.version_info >= (3, 12):  # Before, wait_for() makes a task of it.
        assert of_main[0] == ["+2", "await asyncio.Event().wait()"]
        assert of_main[1][0] == "+2 -> +9"
    assert of_main[-2] == ["+9", "await asyncio.sleep(1)"]
    assert failed[2].endswith("raises TimeoutError")
    assert failed[3] == "+2 -> +12"


def test_what_fails_is_reported_with_a_trace_as_without():
    def reported(**kwargs):
        seen = []

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: seen.append(context))

            def fails(*args):
                raise LookupError(args)

            for count in range(4):
                loop.call_soon(fails, *range(count))
            await asyncio.sleep(1)

        run(main, **kwargs)
        return [(repr(context["exception"]), context["message"][:60], sorted(context)) for context in seen]

    found = reported(trace=Trace())
    assert found == reported()
    assert [exception for exception, *_ in found] == [f"LookupError({tuple(range(count))!r})" for count in range(4)]


def test_a_step_that_cannot_be_made_is_reported(caplog):
    """Its context is that of whoever runs the loop, and is entered already."""

    def reported(**kwargs):
        context = contextvars.copy_context()
        caplog.clear()
        loop = VirtualLoop(**kwargs)
        task = loop.create_task(asyncio.sleep(0), context=context)
        context.run(loop.run_until_idle)
        with pytest.warns(ResourceWarning, match="1 task is pending"):
            loop.close()
        task.get_coro().close()
        task._log_destroy_pending = False
        (record,) = caplog.records
        return str(record.exc_info[1]).partition(":")[0], record.getMessage().partition("<")[0]

    found = reported(trace=Trace())
    assert found == reported()
    assert found[0] == "cannot enter context"


@pytest.mark.parametrize("count", range(5))
def test_a_callback_is_given_all_its_arguments(count):
    got = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda *args: got.append(args), *range(count))
        await asyncio.sleep(1)

    traced(main)

    assert got == [tuple(range(count))]


def test_what_is_stated_holds_after_each_callback_of_a_traced_loop():
    balance = [0]

    async def main():
        virtualloop.always(lambda: balance[0] >= 0, "not negative")
        await asyncio.sleep(1)
        loop = asyncio.get_running_loop()
        loop.call_soon(balance.__setitem__, 0, -1)
        loop.call_soon(balance.__setitem__, 0, 1)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="no longer holds at t=1, after"):
        traced(main)


def test_who_is_cancelled_by_nobody_in_the_run_is_cancelled_from_outside():
    async def main():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1)

    trace = Trace()
    with opened(trace=trace) as loop:
        task = loop.create_task(main())
        loop.call_later(1, loop.stop)
        loop.run_forever()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        task.cancel()

    assert whats(trace, "Task-1") == [
        "starts; sleeps",
        "cancelled from outside; sleeps 1 s",
        "wakes up; ends, cancelled",
    ]


def test_a_task_that_ends_in_its_first_step_is_where_it_begins():
    async def main():
        async def at_once():
            return

        await asyncio.create_task(at_once(), name="at once")

    assert told(traced(main), main)[1] == (
        "0ms | at once | starts, created by Task-1; wakes Task-1; ends | +1 | async def at_once():"
    )


def test_what_the_exploration_cancels_is_a_deviation_and_no_deed_of_the_step():
    trace = Trace()

    async def main():
        loop = asyncio.get_running_loop()
        gate = loop.create_future()

        async def waits(for_what):
            await for_what

        victim = asyncio.create_task(waits(loop.create_future()), name="victim")
        woken = asyncio.create_task(waits(gate), name="woken")
        await asyncio.sleep(0)
        recorder_of(trace).cancel(victim, waits=True)
        gate.set_result(None)
        await asyncio.wait([victim, woken])

    run(main, trace=trace)

    assert "0ms | victim | cancelled by the exploration; ends, cancelled" in "\n".join(told(trace, main))
    (what,) = [what for what in whats(trace, "Task-1") if "wakes" in what]
    assert re.fullmatch(r"goes on; wakes woken \(test_trace\.py:\d+\); waits for wait\(\)", what)
    assert [(deviation.kind, deviation.time) for deviation in trace.deviations] == [("cancel", 0.0)]


def test_a_callback_of_asyncio_that_fails_is_told():
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        queue = asyncio.Queue(1)
        loop.call_soon(queue.put_nowait, 1)
        loop.call_soon(queue.put_nowait, 2)
        await asyncio.sleep(1)

    assert whats(traced(main), "Queue.put_nowait()") == ["queued by Task-1; raises QueueFull"]


def test_callbacks_of_the_program_have_their_own_lines():
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)

        def fail():
            raise LookupError

        handle = loop.call_soon(fail)
        loop.call_soon(fail).cancel()
        loop.call_later(0.1, functools.partial(int, 7))
        await asyncio.sleep(0.2)
        del handle

    trace = traced(main)

    assert told(trace, main)[1:3] == [
        "0ms | fail() | queued by Task-1; raises LookupError | +4 | def fail():",
        "100ms | int() | timer of Task-1",
    ]


def test_what_threads_and_the_outside_do():
    def note(what):
        virtualloop.note(what)

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(note, "from here")
        await loop.run_in_executor(None, lambda: loop.call_soon_threadsafe(note, "from a thread"))

    trace = Trace()
    with opened(trace=trace) as loop:
        loop.call_later(1, note, "from outside")
        loop.run_until_complete(main())
        loop.advance(1)
        loop.run_until_complete(loop.shutdown_default_executor())

    assert [line.split(" | ")[1:3] for line in told(trace, main) if "| note" in line] == [
        ["note()", "queued by Task-1"],
        ["note: from here"],
        ["note()", "queued from outside"],
        ["note: from a thread"],
        ["note()", "timer"],
        ["note: from outside"],
    ]


def test_the_result_of_a_thread_that_arrives_late():
    async def main():
        loop = asyncio.get_running_loop()
        await asyncio.gather(asyncio.sleep(0.01), loop.run_in_executor(None, int))

    trace = traced(main, schedule=Always(1), order="io")

    assert any(d.text.startswith("the result of a thread arrives ") for d in trace.deviations)


def test_a_note_off_a_traced_loop_is_nothing():
    async def main():
        virtualloop.note("nobody listens")

    virtualloop.note("nowhere")
    run(main)
    asyncio.run(main())


def test_a_note_has_to_be_a_string():
    with pytest.raises(TypeError, match=r"^text must be a string, not 7$"):
        virtualloop.note(7)


def test_a_long_trace_is_cut_in_the_middle():
    async def main():
        for _ in range(3 * SHOWN):
            await asyncio.sleep(1)

    trace = traced(main)
    text = str(trace).splitlines()

    assert len(trace.lines()) == 3 * SHOWN + 1
    assert len(text) == 2 + 2 * SHOWN + 1
    assert text[2 + SHOWN] == f"  ... {SHOWN + 1} more lines: Trace.lines() has them all ..."
    assert text[2].split() == trace.lines()[0].split()
    assert text[-1] == trace.lines()[-1]


def test_a_trace_can_be_read_while_the_loop_runs():
    trace = Trace()
    read = []

    async def main():
        read.append(trace.lines())
        await asyncio.sleep(1)
        read.append(trace.lines())

    run(main, trace=trace)

    assert [len(lines) for lines in [*read, trace.lines()]] == [0, 1, 2]


def test_tasks_that_begin_eagerly():
    if sys.version_info < (3, 12):
        return  # no eager tasks

    async def main():
        async def work():
            await asyncio.sleep(1)

        await asyncio.create_task(work(), name="eager")

    trace = Trace()
    with opened(trace=trace) as loop:
        loop.set_task_factory(asyncio.eager_task_factory)
        loop.run_until_complete(main())

    assert whats(trace, "eager") == ["starts, created by Task-1; sleeps 1 s", "wakes up; wakes Task-1; ends"]


def test_names_given_late_and_tasks_of_other_classes():
    class Own(asyncio.Task):
        pass

    async def main():
        async def work():
            asyncio.current_task().set_name("renamed")

        await asyncio.create_task(work(), name="first")

    trace = Trace()
    with opened(trace=trace) as loop:
        loop.set_task_factory(lambda loop, coro, **kwargs: Own(coro, loop=loop, **kwargs))
        loop.run_until_complete(main())

    assert "creates renamed" in trace.lines()[0]


def test_files_of_one_name_are_told_apart(tmp_path):
    places = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "app.py"
        file.write_text("async def main(asyncio):\n    await asyncio.sleep(1)\n")
        space = {}
        exec(compile(file.read_text(), str(file), "exec"), space)  # noqa: S102  # ours
        places.append(space["main"])

    async def main():
        for place in places:
            await place(asyncio)

    lines = traced(main).lines()

    assert "one/app.py:2 " in lines[0]
    assert "one/app.py:2 -> two/app.py:2 " in lines[1]


# --- the network ------------------------------------------------------------------------------------------------------


async def over_the_network():
    network = asyncio.get_running_loop().network

    async def serve(reader, writer):
        asyncio.current_task().set_name("server")
        writer.write(await reader.readline())
        writer.write(await reader.read())
        writer.close()

    async def ask():
        with network.host("home"):
            reader, writer = await asyncio.open_connection("shop", 80)
            writer.write(b"hello")
            await asyncio.sleep(0.1)
            writer.write(b"\n")
            await reader.readline()
            writer.write_eof()
            await reader.read()
            writer.close()

    with network.host("shop"):
        server = await asyncio.start_server(serve, port=80)
    await asyncio.create_task(ask(), name="client")
    server.close()


def test_who_sends_what_to_whom():
    trace = traced(over_the_network, network=Network(hosts=["home", "shop"], latency=0.001))
    client, server = whats(trace, "client @home"), whats(trace, "server @shop")

    assert trace.deviations == []
    assert client[0] == "starts, created by Task-1; waits for open_connection()"
    assert client[1] == "woken by the network; waits for open_connection()"
    assert "goes on; sends 5 bytes to shop:80; sleeps 100 ms" in client
    assert "wakes up; sends 1 byte to shop:80; waits for StreamReader.readline()" in client
    assert "woken by server over the network; waits for StreamReader.read()" in client
    assert "woken by client over the network; sends 6 bytes to home:49152; waits for StreamReader.read()" in server


def test_a_task_is_at_home_where_it_spends_its_time():
    async def main():
        network = asyncio.get_running_loop().network
        with network.host("shop"):
            await asyncio.create_task(asyncio.sleep(1), name="its own")
        for _ in range(3):
            await asyncio.sleep(1)

    lines = traced(main, network=Network(hosts=["shop"])).lines()

    assert "Task-1 main @localhost " in lines[0]
    assert "its own @shop " in lines[1]


def test_faults_of_the_network():
    network = Network(hosts=["home", "shop"], latency=(0.0, 0.015))
    trace = traced(over_the_network, schedule=Always(1), order="fifo", network=network)
    lines = trace.lines()
    sends = next(k for k, line in enumerate(lines) if "sends 5 bytes" in line)

    assert {deviation.kind for deviation in trace.deviations} == {"latency"}
    assert re.split(r"  +", lines[sends + 1])[-1] == "network: home:49152->shop:80: 1 ms late"
    assert ", asyncio's own order, " in str(trace).splitlines()[0]
    assert str(trace).splitlines()[0].endswith(" faults of the network")


def test_what_arrives_late_over_the_network():
    class HoldsOne:
        def __init__(self, number):
            self.left = number

        def choose(self, n, kind):
            self.left -= kind == "hold"
            return HELD if kind == "hold" and self.left == 0 else 0

    found = set()
    for number in range(1, 10):
        network = Network(hosts=["home", "shop"], latency=0.001)
        trace = traced(over_the_network, schedule=HoldsOne(number), order="io", network=network)
        found.update(relative(deviation.text, over_the_network) for deviation in trace.deviations)

    assert {
        "the network's answer to client (+11) arrives 1 ms late",
        "what client (+13) sent arrives after later ones",
    } <= found


def test_what_the_program_does_to_the_network():
    async def main():
        network = asyncio.get_running_loop().network
        network.partition("home", "shop")
        network.heal("home", "shop")
        network.partition("home", "shop", one_way=True)
        network.reset("home", "shop")
        with network.host("shop"):
            pass
        network.host("shop").crash()
        network.host("shop").restart()

    trace = traced(main, network=Network(hosts=["home", "shop"]))

    assert trace.deviations == []
    assert [line.split("network: ")[1] for line in trace.lines() if "network: " in line] == [
        "nothing gets from home to shop and back",
        "the way from home to shop and back is free again",
        "nothing gets from home to shop",
        "all connections between home and shop are reset",
        "host shop crashes",
        "host shop restarts",
    ]


def test_datagrams_are_sent_as_well():
    async def main():
        loop = asyncio.get_running_loop()
        here, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("localhost", 9))
        there, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("localhost", 9))
        await asyncio.sleep(1)
        there.sendto(b"hello")
        there.sendto(b"you")
        await asyncio.sleep(1)
        here.close()
        there.close()

    assert "wakes up; sends 8 bytes to localhost:9; sleeps 1 s" in whats(traced(main), "Task-1")


# --- deviations as objects --------------------------------------------------------------------------------------------


def test_deviations():
    trace = traced(two_of_us, schedule=Always(1, "late"), order="timing")

    assert [(d.time, d.kind) for d in trace.deviations] == [(0.015, "late")]
    for deviation in trace.deviations:
        assert isinstance(deviation, Deviation)
        assert f"* {deviation.time * 1000:.0f}ms" in next(line for line in trace.lines() if deviation.text in line)


def test_there_are_none_in_asyncios_order():
    assert traced(two_of_us).deviations == []
    assert traced(two_of_us, order="tasks").deviations == []


def test_the_lines_around_a_deviation():
    trace = traced(two_of_us, schedule=Always(1), order="io")
    lines = [line.split() for line in trace.lines()]
    for deviation in trace.deviations:
        around = [line.split() for line in trace.around(deviation, steps=2)]
        own = next(k for k, line in enumerate(around) if deviation.text.split() == line[2:])
        start = lines.index(around[0])

        assert lines[start : start + len(around)] == around
        assert sum(line[0] != "*" and "note:" not in line for line in around[:own]) <= 2
        assert sum(line[0] != "*" and "note:" not in line for line in around[own:]) <= 2


def test_what_belongs_to_a_step_comes_with_it():
    async def main():
        for k in range(5):
            virtualloop.note(f"before {k}")
            virtualloop.choose("ab") if k == 2 else None
            await asyncio.sleep(1)

    trace = traced(main, schedule=Always(1), order="fifo")
    (deviation,) = trace.deviations

    def around(steps):
        return [re.split(r"  +", line)[-1].partition(" at ")[0] for line in trace.around(deviation, steps=steps)]

    sleep = "await asyncio.sleep(1)"
    one = [sleep, "note: before 2", "choose() returns 'b'", sleep, "note: before 3"]

    assert around(0) == ["choose() returns 'b'"]
    assert around(1) == one
    assert around(2) == [sleep, "note: before 1", *one, sleep, "note: before 4"]


def test_around_checks_its_arguments():
    trace = traced(two_of_us, schedule=Always(1), order="timing")
    (deviation, *_) = trace.deviations

    with pytest.raises(ValueError, match=r"^deviation must be one of this trace's"):
        trace.around(Deviation(0.0, "late", deviation.text, 0))
    with pytest.raises(TypeError, match=r"^steps must be an integer"):
        trace.around(deviation, steps=0.5)
    with pytest.raises(ValueError, match=r"^steps must not be negative"):
        trace.around(deviation, steps=-1)


# --- two runs ---------------------------------------------------------------------------------------------------------


def test_where_two_runs_part():
    plain, other = traced(two_of_us), traced(two_of_us, schedule=Always(1, "late"), order="timing")
    text = plain.diff(other).splitlines()

    assert text[0] == "The runs part at t=0.01, after 3 lines in common."
    assert text[1] == "Both:"
    assert text[5] == "This run, VirtualLoop(order='fifo'):"
    assert "ann" in text[6]
    assert "The other run, VirtualLoop(order='timing'):" in text
    assert "the loop wakes 5 ms late" in text[text.index("The other run, VirtualLoop(order='timing'):") + 1]


def test_runs_that_have_nothing_in_common():
    async def main(name):
        asyncio.current_task().set_name(name)
        await asyncio.sleep(1)

    one, other = traced(lambda: main("one")), traced(lambda: main("other"))
    text = one.diff(other)

    assert text.startswith("The runs part at t=0, after 0 lines in common.\nThis run, ")
    assert "Both:" not in text


def test_runs_that_are_the_same():
    assert traced(two_of_us).diff(traced(two_of_us)).startswith("The runs are the same: VirtualLoop(order='fifo')")


def test_a_run_that_ends_earlier():
    trace = Trace()
    with opened(trace=trace) as loop:
        task = loop.create_task(two_of_us())
        loop.advance(0.012)
        short = trace.diff(traced(two_of_us))
        long = traced(two_of_us).diff(trace)
        task.cancel()
        loop.run_until_idle()

    assert "This run, VirtualLoop(order='fifo'):\n  ends here" in short
    assert long.endswith("The other run, VirtualLoop(order='fifo'):\n  ends here")


def test_no_more_is_shown_than_needed():
    async def main(last=0.0):
        for _ in range(50):
            await asyncio.sleep(1)
        await asyncio.sleep(last)
        for _ in range(50):
            await asyncio.sleep(1)

    text = traced(main).diff(traced(lambda: main(1))).splitlines()

    assert text[0] == "The runs part at t=50, after 51 lines in common."
    assert len(text) == 1 + 3 * (1 + CONTEXT)


def test_diff_takes_a_trace():
    with pytest.raises(TypeError, match=r"^other must be a Trace, not 'trace'$"):
        Trace().diff("trace")


# --- one trace, one loop ----------------------------------------------------------------------------------------------


def test_a_trace_is_for_one_loop():
    trace = traced(two_of_us)

    with pytest.raises(ValueError, match=r"^trace holds the record of another loop already: give each loop a Trace"):
        VirtualLoop(trace=trace)


def test_a_trace_has_to_be_one():
    with pytest.raises(TypeError, match=r"^trace must be a virtualloop\.Trace, not True$"):
        VirtualLoop(trace=True)


def test_a_trace_of_nothing():
    trace = Trace()

    assert repr(trace) == "<Trace of no loop yet>"
    assert str(trace) == "no loop yet: 0 steps of 0 tasks until t=0, asyncio's own order\n"
    assert trace.lines() == []
    assert trace.deviations == []
    with opened(7, trace=trace):
        assert repr(trace).startswith("<Trace of VirtualLoop(seed=7, order='tasks'): 0 steps")


def test_a_trace_keeps_nothing_alive():
    class Thing:
        pass

    async def main():
        thing = Thing()
        seen.append(weakref.ref(thing))
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda _: None, thing)
        loop.call_later(1, lambda _: None, thing).cancel()
        task = asyncio.create_task(asyncio.sleep(0, thing))
        seen.append(weakref.ref(task))
        await task
        del thing, task
        await asyncio.sleep(0)

    seen = []
    trace = traced(main)
    gc.collect()

    assert [ref() for ref in seen] == [None, None]
    assert len(trace.lines()) > 0


def test_a_trace_lets_go_of_its_loop():
    trace = Trace()
    with opened(7, trace=trace) as loop:
        loop.call_later(1, int)
        loop.call_soon(int)
    seen = weakref.ref(loop)
    del loop
    gc.collect()

    assert seen() is None
    assert repr(trace).startswith("<Trace of VirtualLoop(seed=7")


def test_a_run_with_a_trace_is_the_run_without():
    def log_of(**kwargs):
        log = []

        async def main():
            async def work(i):
                await asyncio.sleep(0.01 * (i % 3))
                log.append((asyncio.get_running_loop().time(), i))
                for _ in range(i % 3):
                    await asyncio.sleep(0)
                log.append(virtualloop.choose(range(3)))

            await asyncio.gather(*[work(i) for i in range(9)])

        run(main, **kwargs)
        return log

    for seed in range(20):
        for order in ("timing", "io", "tasks"):
            assert log_of(seed=seed, order=order) == log_of(seed=seed, order=order, trace=Trace())


def test_debug_mode_has_its_say(caplog):
    async def main():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0
        loop.call_soon(int)
        loop.call_later(1, int)
        await asyncio.sleep(2)
        loop.set_debug(False)
        await asyncio.sleep(1)

    trace = Trace()
    with opened(trace=trace) as loop:
        loop.set_debug(True)
        loop.run_until_complete(main())

    assert any("took" in record.getMessage() for record in caplog.records)
    assert whats(trace, "int()") == ["queued by Task-1", "timer of Task-1"]
    assert whats(trace, "Task-1") == ["starts; queues int(); sleeps 2 s", "wakes up; sleeps 1 s", "wakes up; ends"]


def test_what_leaves_the_loop_is_recorded_too():
    async def main():
        raise SystemExit(3)

    def leave():
        raise KeyboardInterrupt

    trace = Trace()
    with opened(trace=trace) as loop:
        with pytest.raises(SystemExit):
            loop.run_until_complete(main())
        loop.call_soon(leave)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()

    assert whats(trace, "Task-1") == ["starts; raises SystemExit: 3"]
    assert whats(trace, "leave()") == ["queued from outside"]


def test_an_exception_that_nobody_retrieves_is_still_reported(caplog):
    async def main():
        async def fail():
            raise LookupError

        asyncio.create_task(fail())
        await asyncio.sleep(0)

    traced(main)
    gc.collect()

    assert "Task exception was never retrieved" in caplog.text


def test_a_message_that_cannot_be_made():
    class Odd(Exception):  # noqa: N818  # it is
        def __str__(self):
            raise LookupError

    async def main():
        async def fail():
            raise Odd

        await asyncio.wait([task := asyncio.create_task(fail(), name="fails")])
        task.exception()

    assert whats(traced(main), "fails")[0].endswith("; raises test_a_message_that_cannot_be_made.<locals>.Odd")


# --- determinism ------------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, sys
import virtualloop
from virtualloop import Trace, VirtualLoop

async def main():
    async def work(i):
        await asyncio.sleep(0.01 * (i % 3))
        virtualloop.note(f"{i}: {virtualloop.choose('abc')}")
        await asyncio.sleep(1 + i % 2)

    async def fail():
        await asyncio.sleep(0.5)
        raise LookupError(object())

    try:
        async with asyncio.TaskGroup() as group:
            for i in range(9):
                group.create_task(work(i))
            group.create_task(fail())
    except* LookupError:
        pass
    await asyncio.gather(*[asyncio.to_thread(int) for _ in range(3)])

for seed in range(10):
    trace = Trace()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed, trace=trace)) as runner:
        runner.run(main())
    print(trace)
    print(*trace.lines(), *trace.deviations, sep="\\n")
"""


def test_the_same_run_is_the_same_text_in_every_process(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    texts = {
        subprocess.run(
            [sys.executable, program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PADDING": "x" * 1000 * int(seed)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in "123"
    }

    assert len(texts) == 1
    assert "0x" not in texts.pop()


def test_a_group_is_waited_for_where_it_is_left():
    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(1))

    trace = Trace()
    run(main, trace=trace)

    assert "waits for the TaskGroup" in str(trace)


class Stream:
    def __init__(self, is_terminal):
        self._is_terminal = is_terminal

    def isatty(self):
        if self._is_terminal is None:
            raise ValueError("I/O operation on closed file")
        return self._is_terminal


@pytest.mark.parametrize(
    ("streams", "columns", "found"),
    [
        ((False, True), 90, 90),
        ((True, False), 10, MIN_WIDTH),
        ((True, True), 500, MAX_WIDTH),
        ((None, True), 90, 90),
        ((None, None), 90, MAX_WIDTH),
        ((False, False), 90, MAX_WIDTH),
    ],
)
def test_lines_are_as_wide_as_the_terminal(streams, columns, found, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    with monkeypatch.context() as patch:  # no longer than the call: whoever runs the tests may write there
        patch.setattr(sys, "__stdout__", Stream(streams[0]))
        patch.setattr(sys, "__stderr__", Stream(streams[1]))
        widths = [width()]
        patch.setenv("CI", "true")
        widths.append(width())

    assert widths == [found, MAX_WIDTH]
