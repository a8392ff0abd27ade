"""Random programs run step for step as on stock asyncio.

OracleLoop is stock asyncio with a clock that jumps; hypothesis writes the programs. Each program is a list of tasks,
each a list of steps over shared locks, queues, events and other tasks; what happens is logged with the time.
"""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import OracleLoop, amount
from virtualloop import Trace, VirtualLoop

NUMBERS = st.integers(0, 3)
DELAYS = st.integers(0, 6).map(lambda n: n * OracleLoop.GRAIN)
LEAVES = st.one_of(
    st.tuples(st.just("sleep"), DELAYS),
    st.tuples(st.just("yield")),
    st.tuples(st.just("lock"), NUMBERS, DELAYS),
    st.tuples(st.just("semaphore"), DELAYS),
    st.tuples(st.just("put"), NUMBERS),
    st.tuples(st.just("get"), NUMBERS),
    st.tuples(st.just("set"), NUMBERS),
    st.tuples(st.just("wait"), NUMBERS),
    st.tuples(st.just("cancel"), NUMBERS),
    st.tuples(st.just("join"), NUMBERS),
    st.tuples(st.just("soon"), NUMBERS),
    st.tuples(st.just("later"), DELAYS),
    st.tuples(st.just("later, cancelled"), DELAYS),
    st.tuples(st.just("fail")),
    st.tuples(st.just("future"), DELAYS),
)
STEPS = st.recursive(
    st.lists(LEAVES, max_size=5),
    lambda inner: st.lists(
        st.one_of(
            LEAVES,
            st.tuples(st.just("gather"), st.lists(inner, max_size=3)),
            st.tuples(st.just("group"), st.lists(inner, max_size=3)),
            st.tuples(st.just("wait_for"), inner, DELAYS),
            st.tuples(st.just("timeout"), inner, DELAYS),
            st.tuples(st.just("shield"), inner),
            st.tuples(st.just("first"), st.lists(inner, min_size=1, max_size=3)),
            st.tuples(st.just("as_completed"), st.lists(inner, max_size=3)),
        ),
        max_size=5,
    ),
    max_leaves=25,
)
PATIENCE = 20 * OracleLoop.GRAIN


class Failed(Exception):  # noqa: N818  # it is what happened
    """What a program raises itself."""


async def interpret(programs, log):
    loop = asyncio.get_running_loop()
    locks = [asyncio.Lock() for _ in range(4)]
    queues = [asyncio.Queue(1 + n % 2) for n in range(4)]
    events = [asyncio.Event() for _ in range(4)]
    semaphore = asyncio.Semaphore(2)
    tasks = []

    def note(*what):
        task = asyncio.current_task()
        log.append((loop.time(), task.get_name() if task else None, *what))

    async def block(steps):
        for step in steps:
            note("does", step[0])
            try:
                await one(*step)
            except TimeoutError:
                note("timed out")
            except asyncio.CancelledError:
                note("cancelled")
                raise

    async def one(kind, *args):
        if kind == "sleep":
            await asyncio.sleep(args[0])
        elif kind == "yield":
            await asyncio.sleep(0)
        elif kind == "lock":
            async with asyncio.timeout(PATIENCE), locks[args[0]]:
                note("locked", args[0])
                await asyncio.sleep(args[1])
        elif kind == "semaphore":
            async with semaphore:
                note("entered")
                await asyncio.sleep(args[0])
        elif kind == "put":
            await asyncio.wait_for(queues[args[0]].put(args[0]), PATIENCE)
        elif kind == "get":
            note("got", await asyncio.wait_for(queues[args[0]].get(), PATIENCE))
        elif kind == "set":
            events[args[0]].set()
        elif kind == "wait":
            await asyncio.wait_for(events[args[0]].wait(), PATIENCE)
            events[args[0]].clear()
        elif kind == "cancel":
            if args[0] < len(tasks):
                note("cancels", tasks[args[0]].cancel())
        elif kind == "join":
            if args[0] < len(tasks) and tasks[args[0]] is not asyncio.current_task():
                done, _ = await asyncio.wait([tasks[args[0]]], timeout=PATIENCE)
                note("joined", len(done))
        elif kind == "soon":
            loop.call_soon(note, "soon", args[0])
        elif kind == "later":
            loop.call_later(args[0], note, "later")
        elif kind == "later, cancelled":
            handle = loop.call_later(args[0], note, "never")
            loop.call_soon(handle.cancel)
        elif kind == "fail":
            raise Failed
        elif kind == "future":
            future = loop.create_future()
            future.add_done_callback(lambda f: note("done callback"))
            loop.call_later(args[0], lambda: future.done() or future.set_result("value"))
            note(await future)
        elif kind == "gather":
            note([type(r).__name__ for r in await asyncio.gather(*map(block, args[0]), return_exceptions=True)])
        elif kind == "group":
            try:
                async with asyncio.TaskGroup() as group:
                    for steps in args[0]:
                        group.create_task(block(steps))
            except* Failed as failed:
                note("group failed", len(failed.exceptions))
        elif kind == "wait_for":
            await asyncio.wait_for(block(args[0]), args[1])
        elif kind == "timeout":
            async with asyncio.timeout(args[1]):
                await block(args[0])
        elif kind == "shield":
            await asyncio.shield(block(args[0]))
        elif kind == "first":
            done, pending = await asyncio.wait(
                map(asyncio.create_task, map(block, args[0])), return_when="FIRST_COMPLETED"
            )
            note("first", sorted(t.get_name() for t in done), len(pending))
            for task in sorted(pending, key=lambda t: t.get_name()):
                task.cancel()
            for task in done:
                task.cancelled() or task.exception()
        elif kind == "as_completed":
            for future in asyncio.as_completed(list(map(asyncio.create_task, map(block, args[0])))):
                try:
                    await future
                except Failed:
                    note("one failed")

    async def outermost(steps):
        try:
            await block(steps)
        except Failed:
            note("failed")

    tasks.extend(asyncio.create_task(outermost(steps)) for steps in programs)
    try:
        async with asyncio.timeout(100 * PATIENCE):
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        note("ends")


def trace(make_loop, programs):
    log = []
    loop = make_loop()

    def report(loop, context):
        # What is never retrieved is noticed by the garbage collector, in its own time.
        if "never retrieved" not in context["message"]:
            log.append((loop.time(), context["message"]))

    loop.set_exception_handler(report)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(interpret(programs, log))
    return log


@pytest.mark.slow
@settings(max_examples=amount(200, 2000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=1, max_size=4))
def test_step_for_step(programs):
    expected = trace(OracleLoop, programs)

    assert trace(VirtualLoop, programs) == expected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=1, max_size=3), st.sampled_from(["timing", "io", "tasks"]))
def test_step_for_step_at_every_level_where_nothing_is_chosen(programs, order):
    assert trace(lambda: VirtualLoop(order=order), programs) == trace(OracleLoop, programs)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=1, max_size=4), st.integers(0, 2**64))
def test_any_program_is_the_same_run_for_the_same_seed(programs, seed):
    assert trace(lambda: VirtualLoop(seed), programs) == trace(lambda: VirtualLoop(seed), programs)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(STEPS, min_size=1, max_size=4), st.integers(0, 2**64), st.sampled_from(["fifo", "timing", "io", "tasks"])
)
def test_a_run_with_a_trace_is_the_run_without(programs, seed, order):
    kept = Trace()

    assert trace(lambda: VirtualLoop(seed, order=order, trace=kept), programs) == trace(
        lambda: VirtualLoop(seed, order=order), programs
    )
    assert kept.lines()
    assert len(kept.deviations) == sum(line.startswith("*") for line in kept.lines())


def test_the_oracle_notices_a_loop_that_is_not_first_in_first_out():
    class Lifo(VirtualLoop):
        def call_soon(self, *args, **kwargs):
            handle = super().call_soon(*args, **kwargs)
            self._ready.rotate(1)
            return handle

    programs = [[("sleep", 0.0), ("set", 0)], [("wait", 0)], [("wait", 0)]]

    assert trace(Lifo, programs) != trace(OracleLoop, programs)
