"""Who waits for whom, where reports are asked for at any time: describe_tasks(), and what it can and cannot see."""

import asyncio
import gc
import weakref

from helpers import opened, run
from virtualloop import VirtualLoop

EVENT, KEPT, HIDDEN = asyncio.Event(), asyncio.Event(), asyncio.Event()


def lines_about(text, name):
    """Return the line of a report that is about the task of this name."""
    return next(line.strip() for line in text.splitlines() if line.startswith(f"  {name!r} "))


async def hold(lock):
    async with lock:
        await asyncio.sleep(10)


async def take(lock):
    async with lock:
        pass


def test_no_task():
    with opened(start=5) as loop:
        assert loop.describe_tasks() == "No task is pending at t=5."


def test_what_tasks_do_while_the_loop_runs():
    async def main():
        loop = asyncio.get_running_loop()
        lock, event = asyncio.Lock(), asyncio.Event()

        async def impatient():
            async with asyncio.timeout(3):
                await event.wait()

        async def yielding():
            await asyncio.sleep(0)

        tasks = [asyncio.create_task(hold(lock), name="holder")]
        await asyncio.sleep(0)
        tasks += [
            asyncio.create_task(take(lock), name="taker"),
            asyncio.create_task(impatient(), name="impatient"),
            asyncio.create_task(yielding(), name="yielding"),
        ]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(yielding(), name="new"))
        text = loop.describe_tasks()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return text

    text = run(main)

    assert text.startswith("At t=0:\n6 tasks are pending:\n")
    assert lines_about(text, "Task-1") == "'Task-1' is running"
    assert "      text = loop.describe_tasks()\n" in text
    assert lines_about(text, "holder") == "'holder' awaits sleep(10), until t=10"
    assert lines_about(text, "impatient") == "'impatient' awaits Event 'event', which is not set, with a timeout at t=3"
    assert lines_about(text, "yielding") == "'yielding' is ready to go on"
    assert lines_about(text, "new") == "'new' has not started"
    assert lines_about(text, "taker").startswith("'taker' awaits Lock 'lock', held by 'holder' since line ")


def test_nothing_is_claimed_about_what_the_running_task_holds():
    async def main():
        lock = asyncio.Lock()
        async with lock:
            taker = asyncio.create_task(take(lock), name="taker")
            await asyncio.sleep(0)
            text = asyncio.get_running_loop().describe_tasks()
        await taker
        return text

    assert lines_about(run(main), "taker") == "'taker' awaits Lock 'lock'"


def test_a_task_that_was_woken_is_ready():
    with opened() as loop:
        queue = asyncio.Queue()
        task = loop.create_task(queue.get(), name="reader")
        loop.run_until_idle()
        assert lines_about(loop.describe_tasks(), "reader") == "'reader' awaits get() from a Queue, which is empty"
        queue.put_nowait(1)
        assert lines_about(loop.describe_tasks(), "reader") == "'reader' is ready to go on"
        loop.run_until_idle()
        assert task.result() == 1


def test_what_a_condition_gives_up_it_does_not_hold():
    async def main():
        changed = asyncio.Condition()

        async def consume():
            async with changed:
                await changed.wait()

        consumer = asyncio.create_task(consume(), name="consumer")
        await asyncio.sleep(0)
        await changed.acquire()
        taker = asyncio.create_task(take(changed), name="taker")
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: texts.append(loop.describe_tasks()))
        await asyncio.sleep(1)
        changed.notify()
        changed.release()
        await asyncio.gather(consumer, taker)

    texts = []
    run(main)
    assert lines_about(texts[0], "taker") == (
        "'taker' awaits the lock of Condition 'lock', which no task holds by `async with`: acquire() without release()?"
    )


def test_names_of_things():
    class Slots:
        __slots__ = ("empty", "event")

        def __init__(self, event):
            self.event = event

        async def wait(self):
            await self.event.wait()

    class Deep:
        def __init__(self, event):
            self.slots = Slots(event)
            self.table = {"key": KEPT, (1, 2): 3}

        async def by_attributes(self):
            await self.slots.event.wait()

        async def by_item(self):
            key = "key"
            await self.table[key].wait()

    async def by_number(events):
        await events[1].wait()

    async def by_global():
        await EVENT.wait()

    async def without():
        await asyncio.Event().wait()

    event = asyncio.Event()
    with opened() as loop:
        tasks = [
            loop.create_task(coro, name=name)
            for name, coro in {
                "self.event": Slots(event).wait(),
                "self.slots.event": Deep(event).by_attributes(),
                "self.table['key']": Deep(event).by_item(),
                "events[1]": by_number([None, event]),
                "EVENT": by_global(),
            }.items()
        ]
        tasks.append(loop.create_task(without(), name="without"))
        loop.run_until_idle()
        text = loop.describe_tasks()
        for task in tasks:
            task.cancel()
        loop.run_until_idle()

    for task in tasks[:-1]:
        name = task.get_name()
        assert f' awaits Event "{name}"' in text or f" awaits Event {name!r}" in text
    assert lines_about(text, "without") == "'without' awaits an Event, which is not set"


def test_names_do_not_lead_through_functions():
    async def wait(get):
        await get().wait()

    with opened() as loop:
        task = loop.create_task(wait(lambda: HIDDEN), name="waiter")
        loop.run_until_idle()
        assert lines_about(loop.describe_tasks(), "waiter") == "'waiter' awaits an Event, which is not set"
        task.cancel()
        loop.run_until_idle()


def test_describing_keeps_nothing_alive():
    class Thing:
        pass

    async def main():
        thing = Thing()
        things.append(weakref.ref(thing))
        await asyncio.sleep(1)
        del thing
        await asyncio.sleep(1)

    things = []
    with opened() as loop:
        task = loop.create_task(main())
        loop.advance(0)
        loop.describe_tasks()
        loop.advance(1)
        loop.describe_tasks()  # Until Python 3.12, where a frame keeps what its variables were when last asked.
        gc.collect()
        assert things[0]() is None
        loop.run_until_idle()
        assert task.done()


def test_other_awaitables():
    class Ready:
        def __await__(self):
            return (yield from asyncio.get_running_loop().create_future().__await__())

    class Strange:
        def __await__(self):
            return self

        def __iter__(self):
            return self

        def __next__(self):
            return self.future

        def __init__(self, future):
            future._asyncio_future_blocking = True
            self.future = future

    async def ready():
        await Ready()

    async def strange():
        await Strange(asyncio.get_running_loop().create_future())

    async def numbers():
        yield await asyncio.get_running_loop().create_future()

    async def first():
        await anext(numbers(), None)

    async def last():
        agen = numbers()
        await agen.asend(None)

    with opened() as loop:
        tasks = [loop.create_task(coro(), name=coro.__name__) for coro in (ready, strange, first, last)]
        loop.run_until_idle()
        text = loop.describe_tasks()
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks))

    assert lines_about(text, "ready") == "'ready' awaits a future, which is not done"
    assert lines_about(text, "strange") == "'strange' awaits a Strange"
    assert "in test_other_awaitables.<locals>.numbers" in text
    assert "'first' awaits a future" in text


def test_a_stream_says_whom_it_is_connected_to():
    async def main():
        async def serve(reader, writer):
            await reader.readline()
            writer.close()

        async with await asyncio.start_server(serve, "localhost", 8000):
            reader, writer = await asyncio.open_connection("localhost", 8000)
            waiting = asyncio.create_task(reader.readexactly(5), name="client")
            await asyncio.sleep(1)
            text = asyncio.get_running_loop().describe_tasks()
            writer.write(b"\n")
            await asyncio.wait([waiting])
            assert waiting.exception()
            writer.close()
            await writer.wait_closed()
        return text

    text = run(main)
    assert lines_about(text, "client") == "'client' awaits readexactly() of a StreamReader, connected to 127.0.0.1:8000"
    assert "awaits readline() of StreamReader 'reader', connected to 127.0.0.1:" in text


def test_a_future_of_a_thread_that_is_nobodys_job():
    import concurrent.futures

    with opened() as loop:
        outer = concurrent.futures.Future()

        async def main():
            await asyncio.wrap_future(outer)

        task = loop.create_task(main(), name="main")
        loop.run_until_idle()
        text = loop.describe_tasks()
        outer.cancel()
        loop.run_until_complete(asyncio.wait([task]))

    assert lines_about(text, "main") == "'main' awaits concurrent Future 'outer'"


def test_a_task_that_waits_for_itself():
    async def main():
        me = asyncio.current_task()
        await asyncio.wait([me], timeout=None)

    loop = VirtualLoop()
    task = loop.create_task(main())
    loop.run_until_idle()
    assert loop.describe_tasks().startswith(
        "At t=0:\n'Task-1' waits for itself:\n  'Task-1' awaits wait() for 'Task-1'\n"
    )
    task.cancel()
    loop.run_until_idle()
    loop.close()


def test_no_two_tasks_have_one_name():
    async def main():
        lock = asyncio.Lock()

        async def first():
            async with lock:
                await asyncio.Event().wait()

        async def second():
            async with lock:
                pass

        tasks = [asyncio.create_task(work(), name="worker") for work in (first, second)]
        await asyncio.sleep(1)
        text = asyncio.get_running_loop().describe_tasks()
        for task in tasks:
            task.cancel()
        return text

    text = run(main)

    assert "'worker' awaits an Event, which is not set" in text
    assert "'worker (2)' awaits Lock 'lock', held by 'worker' since" in text
