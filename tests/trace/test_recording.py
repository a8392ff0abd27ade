"""That a record is the same by whichever way it is kept, and costs the program nothing but time."""

import asyncio
import functools
import gc
import types
import weakref

import pytest

from helpers import LEVELS, opened
from virtualloop import Network, Trace, VirtualLoop
from virtualloop.trace._trace import recorder_of

# --- the record is the same in line, where nothing else looks at steps, as where something does -----------------------


class Onlooker:
    def around(self, run):
        return lambda entry: run(entry)


async def rests():
    """Tasks come to rest at one line in all ways, one after the other."""
    loop = asyncio.get_running_loop()
    items = asyncio.Queue()
    done = loop.create_future()
    done.set_result(None)

    async def deeper():
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)

    async def generated():
        await asyncio.sleep(0)
        yield
        await asyncio.sleep(0)

    async def through():
        async for _ in generated():
            await deeper()

    @types.coroutine
    def bare():
        yield

    async def handling():
        try:
            raise KeyError("key")
        except KeyError:
            await deeper()

    def future():
        waited = loop.create_future()
        loop.call_later(0.001, waited.set_result, None)
        return waited

    async def work():
        for wait in (functools.partial(asyncio.sleep, 0), deeper, through, bare, handling, future, items.get) * 2:
            await wait()
        for wait in (deeper, deeper, through, through, handling, handling):
            await asyncio.wait_for(asyncio.sleep(0), 1)
            await asyncio.wait_for(wait(), 1)
            await asyncio.create_task(wait())

    works = [asyncio.create_task(work()) for _ in range(2)]
    for _ in range(4):
        await asyncio.sleep(0.01)
        items.put_nowait(None)
    await asyncio.gather(*works, done)


async def ends():
    """Tasks are cancelled in all ways, and raise."""

    async def work(cancelled):
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.sleep(1)
        finally:
            if cancelled:
                await asyncio.sleep(0.01)

    async def itself():
        await asyncio.sleep(0)
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def changes_its_mind():
        await asyncio.sleep(0)
        asyncio.current_task().cancel()
        asyncio.current_task().uncancel()
        await asyncio.sleep(0)

    async def fails():
        await asyncio.sleep(0)
        raise ValueError

    async def cleans_up():
        await asyncio.sleep(0)
        try:
            raise KeyError
        except KeyError:
            await asyncio.sleep(0)
            raise

    works = [asyncio.create_task(work(k % 2)) for k in range(6)]
    works += [asyncio.create_task(each()) for each in (itself, changes_its_mind, fails, cleans_up)]
    await asyncio.sleep(0)
    works[0].cancel()
    asyncio.Task.cancel(works[1])  # which tells nobody
    await asyncio.sleep(0)
    works[2].cancel()
    await asyncio.sleep(0.1)
    works[3].cancel()
    works[4].cancel()
    asyncio.Task.cancel(works[5])
    await asyncio.wait(works)


async def callbacks():
    """Callbacks of all kinds, with any number of arguments, some of which raise."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)

    class Callable:
        def __call__(self, *args):
            loop.call_soon(self.method, *args)

        def method(self, *args):
            if args:
                loop.call_later(0.001, self, *args[1:])

    for queue in (loop.call_soon, functools.partial(loop.call_later, 0.01), functools.partial(loop.call_at, 0.02)):
        for count in range(4):
            queue(lambda *args: None, *range(count))
            queue(Callable(), *range(count))
        queue(int, "3")
        queue(int, "x")
        queue(functools.partial(int, "3"))
        queue(lambda: 1 / 0)
        queue(int).cancel()
    loop.call_soon_threadsafe(int)
    await asyncio.to_thread(int)
    await asyncio.sleep(0.1)


async def others():
    """Tasks of other classes, some of which begin at once."""
    loop = asyncio.get_running_loop()

    class Other(asyncio.Task):
        pass

    async def work(pause):
        await asyncio.sleep(pause)
        await asyncio.sleep(0)
        await asyncio.create_task(asyncio.sleep(0))

    factories = [None, lambda loop, coro, **kwargs: Other(coro, loop=loop, **kwargs)]
    for factory in [*factories, getattr(asyncio, "eager_task_factory", None)]:  # since Python 3.12
        loop.set_task_factory(factory)
        works = [asyncio.create_task(work(pause)) for pause in (0, 0.01, 1)]
        works.append(asyncio.Task(work(0), loop=loop))
        await asyncio.sleep(0.1)
        works[2].cancel()
        await asyncio.wait(works)


def record(main, order, *, looked_at, **kwargs):
    trace = Trace()
    with opened(3, order=order, trace=trace, **kwargs) as loop:
        if looked_at:
            loop._scheduling().add_instrument(Onlooker())
        loop.run_until_complete(main())
    kept = recorder_of(trace)
    return [str(trace), kept.steps, kept.events, kept.names, kept.overruled, kept.raised, kept.eager, kept.visits]


@pytest.mark.parametrize("order", LEVELS)
@pytest.mark.parametrize("main", [rests, ends, callbacks, others])
def test_a_record_is_the_same_in_line(main, order):
    for each, other in zip(record(main, order, looked_at=False), record(main, order, looked_at=True), strict=True):
        assert each == other


def test_it_is_so_where_tasks_are_on_hosts():
    def on_hosts(*, looked_at):
        network = Network(hosts=["a", "b"])

        async def main():
            with network.host("a"):
                work = asyncio.create_task(rests())
            await work

        return record(main, "tasks", looked_at=looked_at, network=network)[-1]

    assert on_hosts(looked_at=False) == on_hosts(looked_at=True)
    assert set().union(*on_hosts(looked_at=False).values()) == {"a", None}


# --- what is out of the ordinary --------------------------------------------------------------------------------------


def test_debug_mode_may_come_and_go():
    async def main():
        loop = asyncio.get_running_loop()
        for debug in (False, True, False):
            loop.set_debug(debug)
            handle = loop.call_soon(int)
            seen.append(bool(handle._source_traceback))
            await asyncio.sleep(0)
            await asyncio.sleep(0.01)

    seen = []
    trace = Trace()
    with opened(trace=trace) as loop:
        loop.run_until_complete(main())

    assert seen == [False, True, False]
    assert sum("sleeps 10 ms" in line for line in trace.lines()) == 3


def test_a_closed_loop_with_a_trace_takes_nothing():
    with opened(trace=Trace()) as loop:
        loop.run_until_complete(asyncio.sleep(0.1))

    for queue in (loop.call_soon, functools.partial(loop.call_later, 1), functools.partial(loop.call_at, 9)):
        with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
            queue(int)


def test_a_replaced_time_is_followed_with_a_trace():
    with opened(trace=Trace()) as loop:
        now = 5.0
        loop.time = lambda: now
        timer = loop.call_later(1, int)
        now = 6.0
        later = loop.call_later(1, int)

    assert [timer.when(), later.when()] == [6.0, 7.0]


def test_methods_of_a_class_of_the_users_are_called_with_a_trace():
    class Loop(VirtualLoop):
        def call_later(self, delay, callback, *args, context=None):
            seen.append(delay)
            return super().call_later(delay, callback, *args, context=context)

    seen = []
    loop = Loop(trace=Trace())
    loop.run_until_complete(asyncio.sleep(0.25))
    loop.close()

    assert seen == [0.25]


@pytest.mark.parametrize("name", [None, "ann"])
def test_a_new_task_rests_nowhere(name):
    """And says so: that a recorder finds nothing there costs as much as a step."""
    with opened(trace=Trace()) as loop:
        task = loop.create_task(asyncio.sleep(0), name=name)

        assert task._virtualloop_rest is None
        loop.run_until_complete(task)
        assert task._virtualloop_rest is None


def test_a_handle_is_called_as_without_a_trace():
    with opened(trace=Trace()) as loop, opened() as plain:
        assert repr(loop.call_soon(int)) == repr(plain.call_soon(int)) == "<Handle int()>"


# --- nothing lives on -------------------------------------------------------------------------------------------------


class Thing:
    pass


@pytest.mark.parametrize("is_callback", [False, True])
@pytest.mark.parametrize("trace", [False, True])
def test_what_has_run_does_not_live_on_while_the_next_runs(trace, is_callback):
    """As without a trace: arguments, tasks, their coroutines and what those await."""

    def keep(thing):
        seen.append(weakref.ref(thing))
        return thing

    async def pause(thing):
        await asyncio.sleep(0)

    async def work():
        await keep(pause(keep(Thing())))

    def look():
        found.append([ref() is None for ref in seen])

    async def looking():
        look()

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(keep, Thing())
        loop.call_soon(look)
        await asyncio.sleep(0)
        keep(asyncio.create_task(keep(work())))
        await asyncio.sleep(0)
        follower = loop.call_soon(look) if is_callback else asyncio.create_task(looking())
        await asyncio.sleep(0)
        del follower

    seen, found = [], []
    with opened(trace=Trace() if trace else None) as loop:
        loop.run_until_complete(main())

    assert found == [[True], [True] * 5]


def test_a_task_that_has_ended_takes_along_where_it_rested():
    async def deeper(thing):
        await asyncio.sleep(1000)

    async def work(thing):
        await asyncio.sleep(0)
        await deeper(thing)

    async def main():
        thing = Thing()
        seen.append(weakref.ref(thing))
        task = asyncio.create_task(work(thing))
        seen.append(weakref.ref(task))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])

    seen = []
    with opened(trace=Trace()) as loop:
        loop.run_until_complete(main())
        gc.collect()

        assert [ref() for ref in seen] == [None, None]


@pytest.mark.parametrize("instruments", ["trace", "trace and onlooker", "debug", "nothing"])
def test_an_exception_that_is_kept_keeps_nothing_of_other_callbacks(instruments):
    class Given:
        pass

    async def fails():
        raise ValueError

    async def main():
        loop = asyncio.get_running_loop()
        kept, given = [], []
        for _ in range(3):
            task = asyncio.ensure_future(fails())
            thing = Given()
            given.append(weakref.ref(thing))
            loop.call_soon(lambda _: None, thing)
            del thing
            await asyncio.sleep(1)
            kept.append(task.exception())
            gc.collect()
        return len(kept), [each() for each in given]

    with opened(trace=Trace() if "trace" in instruments else None) as loop:
        loop.set_debug(instruments == "debug")
        if "onlooker" in instruments:
            loop._scheduling().add_instrument(Onlooker())
        assert loop.run_until_complete(main()) == (3, [None, None, None])


@pytest.mark.parametrize("what", ["debug", "time"])
@pytest.mark.parametrize("name", ["call_soon", "call_later", "call_at"])
def test_what_somebody_has_put_in_the_place_of_a_method_stays_with_a_trace(name, what):
    with opened(trace=Trace()) as loop:
        loop.run_until_complete(asyncio.sleep(0))
        seen, own = [], getattr(loop, name)

        def spy(*args, **kwargs):
            seen.append(name)
            return own(*args, **kwargs)

        setattr(loop, name, spy)
        if what == "debug":
            loop.set_debug(True)
        else:
            loop.time = lambda: 5.0
        assert getattr(loop, name) is spy
        if what == "debug":
            loop.set_debug(False)
        else:
            del loop.time
        assert getattr(loop, name) is spy
        loop.run_until_complete(asyncio.sleep(0))
        assert seen == (["call_soon"] * len(seen) if name == "call_soon" else [])


def test_errors_call_the_methods_as_without_a_trace():
    with opened(trace=Trace()) as loop:
        loop.run_until_complete(asyncio.sleep(0))
        for name in ("call_soon", "call_later", "call_at"):
            with pytest.raises(TypeError, match=rf"^VirtualLoop\.{name}\(\) missing"):
                getattr(loop, name)()
