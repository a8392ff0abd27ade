"""DeadlockError: what it says about each kind of hang, word for word, and the same on each version of Python.

The one home of a deadlock's text. What the same reports say at other times is in test_describe_tasks.
"""

import asyncio
import linecache
import queue
import re
import textwrap
import traceback

import pytest

from helpers import LEVELS, opened, run
from virtualloop import DeadlockError, VirtualLoop
from virtualloop._report.survey import Survey

NOTHING = "no callback is ready, no timer is pending, no thread is at work."
LOOK = (
    "Look for what should have set, released, put or completed the things awaited above. If that is the test's part, "
    "drive the loop with run_until_idle() or advance(), which let tasks stay blocked."
)
ORDER = "Take locks in the same order everywhere, and await nothing under a lock that needs the same lock."
REENTRANT = (
    "asyncio's locks and semaphores are not reentrant: what runs under one must not take it again. Take it once, "
    "outside, and give the inner code a variant that does not."
)
FAILED = "Look first at what has failed: it may be what the others wait for."
BREAK = "Break the circle: one of these has to finish without the next."


def program(source, **names):
    """Return the `main` of a program that reports can quote the source of."""
    source = textwrap.dedent(source).lstrip()
    linecache.cache["hang.py"] = (len(source), None, source.splitlines(keepends=True), "hang.py")
    names |= {"asyncio": asyncio, "__name__": "hang"}
    exec(compile(source, "hang.py", "exec"), names)  # noqa: S102  # it stands below
    return names["main"]


def report(main, finally_):
    """Return what DeadlockError says about `main()`."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(thread_patience=0.02)) as runner:
        with pytest.raises(DeadlockError) as caught:
            runner.run(main())
        finally_()
    return str(caught.value)


def check(source, expected, advice, *, at=0, finally_=int, **names):
    first, *lines, last = report(program(source, **names), finally_).splitlines()

    assert first == f"nothing can run any more at t={at}: {NOTHING}"
    assert lines == textwrap.dedent(expected).strip().splitlines()
    assert last == advice


def test_two_locks_in_opposite_order():
    check(
        """
        class Account:
            def __init__(self):
                self.lock = asyncio.Lock()

        async def transfer(source, target):
            async with source.lock:
                await asyncio.sleep(0.5)
                async with target.lock:
                    pass

        async def main():
            ann, bob = Account(), Account()
            asyncio.create_task(transfer(ann, bob), name="there")
            await transfer(bob, ann)
        """,
        """
        2 tasks wait for each other:
        +-> 'Task-1' awaits Lock 'target.lock', held by 'there' since line 6
        |     File "hang.py", line 14, in main
        |       await transfer(bob, ann)
        |     File "hang.py", line 8, in transfer
        |       async with target.lock:
        |   'there' awaits Lock 'target.lock', held by 'Task-1' since line 6
        |     File "hang.py", line 8, in transfer
        +--     async with target.lock:
        """,
        ORDER,
        at=0.5,
    )


def test_three_locks_in_a_circle():
    check(
        """
        async def take(first, second):
            async with first:
                await asyncio.sleep(1)
                async with second:
                    pass

        async def main():
            a, b, c = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
            await asyncio.gather(take(a, b), take(b, c), take(c, a))
        """,
        """
        3 tasks wait for each other:
        +-> 'Task-2' awaits Lock 'second', held by 'Task-3' since line 2
        |     File "hang.py", line 4, in take
        |       async with second:
        |   'Task-3' awaits Lock 'second', held by 'Task-4' since line 2
        |     File "hang.py", line 4, in take
        |       async with second:
        |   'Task-4' awaits Lock 'second', held by 'Task-2' since line 2
        |     File "hang.py", line 4, in take
        +--     async with second:
        1 more task is blocked:
          'Task-1' awaits gather() of 'Task-2', 'Task-3' and 'Task-4'
            File "hang.py", line 9, in main
              await asyncio.gather(take(a, b), take(b, c), take(c, a))
        """,
        ORDER,
        at=1,
    )


def test_a_lock_taken_twice():
    check(
        """
        class Store:
            def __init__(self):
                self._lock = asyncio.Lock()

            async def set(self, key):
                async with self._lock:
                    await self.evict()

            async def evict(self):
                async with self._lock:
                    pass

        async def main():
            await Store().set("key")
        """,
        """
        'Task-1' waits for itself:
          'Task-1' awaits Lock 'self._lock', which it holds itself since line 6
            File "hang.py", line 14, in main
              await Store().set("key")
            File "hang.py", line 7, in Store.set
              await self.evict()
            File "hang.py", line 10, in Store.evict
              async with self._lock:
        """,
        REENTRANT,
    )


def test_a_lock_never_released():
    check(
        """
        async def careless(lock):
            await lock.acquire()
            if True:
                return
            lock.release()

        async def main():
            lock = asyncio.Lock()
            await careless(lock)
            async with lock:
                pass
        """,
        """
        1 task is blocked:
          'Task-1' awaits Lock 'lock', which no task holds by `async with`: acquire() without release()?
            File "hang.py", line 10, in main
              async with lock:
        """,
        LOOK,
    )


def test_a_semaphore_used_up():
    check(
        """
        async def download(limit, depth):
            async with limit:
                if depth:
                    await download(limit, depth - 1)

        async def main():
            limit = asyncio.Semaphore(2)
            await asyncio.gather(download(limit, 2), download(limit, 2))
        """,
        """
        'Task-2' waits for itself:
          'Task-2' awaits Semaphore 'limit', which it holds itself since line 2
            File "hang.py", line 4, in download
              await download(limit, depth - 1)
            File "hang.py", line 4, in download
              await download(limit, depth - 1)
            File "hang.py", line 2, in download
              async with limit:
        2 more tasks are blocked:
          'Task-1' awaits gather() of 'Task-2' and 'Task-3'
            File "hang.py", line 8, in main
              await asyncio.gather(download(limit, 2), download(limit, 2))
          'Task-3' awaits Semaphore 'limit', held by 'Task-2' since line 2
            File "hang.py", line 2, in download
              async with limit:
        """,
        REENTRANT,
    )


def test_a_condition_never_notified():
    check(
        """
        async def consumer(changed, items):
            async with changed:
                await changed.wait_for(lambda: items)

        async def main():
            changed, items = asyncio.Condition(), []
            task = asyncio.create_task(consumer(changed, items), name="consumer")
            await asyncio.sleep(1)
            items.append(1)
            await task
        """,
        """
        2 tasks are blocked:
          'consumer' awaits Condition 'changed', to be notified
            File "hang.py", line 3, in consumer
              await changed.wait_for(lambda: items)
          'Task-1' awaits task 'consumer'
            File "hang.py", line 10, in main
              await task
        """,
        LOOK,
        at=1,
    )


def test_the_lock_of_a_condition():
    check(
        """
        async def consumer(changed):
            async with changed:
                await asyncio.Event().wait()

        async def main():
            changed = asyncio.Condition()
            task = asyncio.create_task(consumer(changed), name="consumer")
            await asyncio.sleep(1)
            async with changed:
                changed.notify()
        """,
        """
        2 tasks are blocked:
          'consumer' awaits an Event, which is not set
            File "hang.py", line 3, in consumer
              await asyncio.Event().wait()
          'Task-1' awaits the lock of Condition 'changed', held by 'consumer' since line 2
            File "hang.py", line 9, in main
              async with changed:
        """,
        LOOK,
        at=1,
    )


def test_an_event_never_set():
    check(
        """
        class Service:
            def __init__(self):
                self.ready = asyncio.Event()

        async def main():
            service = Service()
            await service.ready.wait()
        """,
        """
        1 task is blocked:
          'Task-1' awaits Event 'service.ready', which is not set
            File "hang.py", line 7, in main
              await service.ready.wait()
        """,
        LOOK,
    )


def test_an_empty_queue():
    check(
        """
        async def worker(queue):
            while True:
                item = await queue.get()
                queue.task_done()

        async def main():
            queue = asyncio.Queue()
            workers = [asyncio.create_task(worker(queue), name=f"worker-{i}") for i in range(5)]
            queue.put_nowait(1)
            await queue.join()
            await asyncio.gather(*workers)
        """,
        """
        6 tasks are blocked:
          'worker-0', 'worker-1', 'worker-2' and 2 more await get() from Queue 'queue', which is empty
            File "hang.py", line 3, in worker
              item = await queue.get()
          'Task-1' awaits gather() of 'worker-0', 'worker-1', 'worker-2' and 2 more
            File "hang.py", line 11, in main
              await asyncio.gather(*workers)
        """,
        LOOK,
    )


def test_a_full_queue():
    check(
        """
        async def main():
            queue = asyncio.Queue(maxsize=1)
            await queue.put(1)
            await queue.put(2)
        """,
        """
        1 task is blocked:
          'Task-1' awaits put() into Queue 'queue', which is full (maxsize=1)
            File "hang.py", line 4, in main
              await queue.put(2)
        """,
        LOOK,
    )


def test_a_queue_never_done():
    check(
        """
        async def worker(queue):
            while True:
                item = await queue.get()
                if item != 2:
                    queue.task_done()

        async def main():
            queue = asyncio.Queue()
            asyncio.create_task(worker(queue), name="worker")
            for i in range(4):
                queue.put_nowait(i)
            await queue.join()
        """,
        """
        2 tasks are blocked:
          'Task-1' awaits join() of Queue 'queue', with 1 item left without task_done()
            File "hang.py", line 12, in main
              await queue.join()
          'worker' awaits get() from Queue 'queue', which is empty
            File "hang.py", line 3, in worker
              item = await queue.get()
        """,
        LOOK,
    )


def test_a_barrier():
    check(
        """
        async def main():
            gate = asyncio.Barrier(3)
            await asyncio.gather(gate.wait(), gate.wait())
        """,
        """
        3 tasks are blocked:
          'Task-2' and 'Task-3' await a Barrier, where 2 of 3 have arrived
          'Task-1' awaits gather() of 'Task-2' and 'Task-3'
            File "hang.py", line 3, in main
              await asyncio.gather(gate.wait(), gate.wait())
        """,
        LOOK,
    )


def test_a_future_never_done():
    check(
        """
        class Client:
            async def ask(self):
                self._reply = asyncio.get_running_loop().create_future()
                return await self._reply

        async def main():
            await Client().ask()
        """,
        """
        1 task is blocked:
          'Task-1' awaits Future 'self._reply', which is not done
            File "hang.py", line 7, in main
              await Client().ask()
            File "hang.py", line 4, in Client.ask
              return await self._reply
        """,
        LOOK,
    )


def test_tasks_that_await_each_other(caplog):
    check(
        """
        tasks = {}

        async def wait(name):
            await asyncio.sleep(0)
            await tasks[name]

        async def main():
            tasks["a"] = asyncio.create_task(wait("b"), name="a")
            tasks["b"] = asyncio.create_task(wait("a"), name="b")
            await tasks["a"]
        """,
        """
        2 tasks wait for each other:
        +-> 'a' awaits task 'b'
        |     File "hang.py", line 5, in wait
        |       await tasks[name]
        |   'b' awaits task 'a'
        |     File "hang.py", line 5, in wait
        +--     await tasks[name]
        1 more task is blocked:
          'Task-1' awaits task 'a'
            File "hang.py", line 10, in main
              await tasks["a"]
        """,
        BREAK,
    )
    assert caplog.records == []  # One of them was cancelled; without that, asyncio.run() ends in a RecursionError.


def test_gather_of_futures():
    check(
        """
        async def main():
            loop = asyncio.get_running_loop()
            await asyncio.gather(*[loop.create_future() for _ in range(3)])
        """,
        """
        1 task is blocked:
          'Task-1' awaits gather()
            File "hang.py", line 3, in main
              await asyncio.gather(*[loop.create_future() for _ in range(3)])
        """,
        LOOK,
    )


def test_wait_for_the_first():
    check(
        """
        async def never():
            await asyncio.Event().wait()

        async def main():
            await asyncio.wait([asyncio.create_task(never(), name="stop")], return_when="FIRST_COMPLETED")
        """,
        """
        2 tasks are blocked:
          'stop' awaits an Event, which is not set
            File "hang.py", line 2, in never
              await asyncio.Event().wait()
          'Task-1' awaits wait() for one of 'stop'
            File "hang.py", line 5, in main
              await asyncio.wait([asyncio.create_task(never(), name="stop")], return_when="FIRST_COMPLETED")
        """,
        LOOK,
    )


def test_wait_for_without_a_timeout():
    check(
        """
        async def main():
            await asyncio.wait_for(asyncio.Event().wait(), None)
        """,
        """
        1 task is blocked:
          'Task-1' awaits an Event, which is not set
            File "hang.py", line 2, in main
              await asyncio.wait_for(asyncio.Event().wait(), None)
        """,
        LOOK,
    )


def test_a_group_under_a_lock_of_its_child():
    check(
        """
        async def child(lock):
            async with lock:
                pass

        async def main():
            lock = asyncio.Lock()
            async with lock:
                async with asyncio.TaskGroup() as group:
                    group.create_task(child(lock), name="child")
        """,
        """
        2 tasks wait for each other:
        +-> 'Task-1' awaits the tasks of TaskGroup 'group': 'child'
        |     File "hang.py", line 8, in main
        |       async with asyncio.TaskGroup() as group:
        |   'child' awaits Lock 'lock', held by 'Task-1' since line 7
        |     File "hang.py", line 2, in child
        +--     async with lock:
        """,
        ORDER,
    )


def test_nested_groups():
    check(
        """
        async def leaf(event):
            await event.wait()

        async def branch(event, n):
            async with asyncio.TaskGroup() as group:
                for i in range(n):
                    group.create_task(leaf(event), name=f"leaf-{n}-{i}")

        async def main():
            event = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(branch(event, 2), name="branch-2")
                group.create_task(branch(event, 6), name="branch-6")
        """,
        """
        11 tasks are blocked:
          'leaf-2-0', 'leaf-2-1', 'leaf-6-0' and 5 more await Event 'event', which is not set
            File "hang.py", line 2, in leaf
              await event.wait()
          'Task-1' awaits the tasks of TaskGroup 'group': 'branch-2' and 'branch-6'
            File "hang.py", line 11, in main
              async with asyncio.TaskGroup() as group:
          'branch-2' awaits the tasks of TaskGroup 'group': 'leaf-2-0' and 'leaf-2-1'
            File "hang.py", line 5, in branch
              async with asyncio.TaskGroup() as group:
          'branch-6' awaits the tasks of TaskGroup 'group': 'leaf-6-0', 'leaf-6-1', 'leaf-6-2' and 3 more
            File "hang.py", line 5, in branch
              async with asyncio.TaskGroup() as group:
        """,
        LOOK,
    )


def test_a_stream():
    check(
        """
        async def main():
            reader = asyncio.StreamReader()
            await reader.readline()
        """,
        """
        1 task is blocked:
          'Task-1' awaits readline() of StreamReader 'reader'
            File "hang.py", line 3, in main
              await reader.readline()
        """,
        LOOK,
    )


def test_job_in_a_thread():
    jobs = queue.Queue()
    check(
        """
        def fetch(n):
            return jobs.get()

        async def main():
            await asyncio.to_thread(fetch, 3)
        """,
        """
        1 task is blocked:
          'Task-1' awaits fetch() in a thread
            File "hang.py", line 5, in main
              await asyncio.to_thread(fetch, 3)
            and its thread stands at
            File "hang.py", line 2, in fetch
              return jobs.get()
        """,
        LOOK,
        jobs=jobs,
        finally_=lambda: jobs.put("done"),
    )


def test_shield():
    check(
        """
        async def main():
            await asyncio.shield(asyncio.create_task(asyncio.Event().wait(), name="inner"))
        """,
        """
        2 tasks are blocked:
          'inner' awaits an Event, which is not set
          'Task-1' awaits shield() of task 'inner'
            File "hang.py", line 2, in main
              await asyncio.shield(asyncio.create_task(asyncio.Event().wait(), name="inner"))
        """,
        LOOK,
    )


def test_as_completed():
    check(
        """
        async def main():
            for next_ in asyncio.as_completed([asyncio.create_task(asyncio.Event().wait(), name="inner")]):
                await next_
        """,
        """
        2 tasks are blocked:
          'inner' awaits an Event, which is not set
          'Task-1' awaits as_completed() of 'inner'
            File "hang.py", line 3, in main
              await next_
        """,
        LOOK,
    )


def test_an_async_generator():
    check(
        """
        async def ticks(event):
            while True:
                await event.wait()
                yield 1

        async def main():
            event = asyncio.Event()
            async for tick in ticks(event):
                pass
        """,
        """
        1 task is blocked:
          'Task-1' awaits Event 'event', which is not set
            File "hang.py", line 8, in main
              async for tick in ticks(event):
            File "hang.py", line 3, in ticks
              await event.wait()
        """,
        LOOK,
    )


def test_a_semaphore_in_a_context_manager():
    check(
        """
        from contextlib import asynccontextmanager

        class Pool:
            def __init__(self):
                self.free = asyncio.Semaphore(1)

            @asynccontextmanager
            async def connection(self):
                async with self.free:
                    yield object()

        async def report(pool):
            async with pool.connection():
                await audit(pool)

        async def audit(pool):
            async with pool.connection():
                pass

        async def main():
            await report(Pool())
        """,
        """
        'Task-1' waits for itself:
          'Task-1' awaits Semaphore 'self.free', which it holds itself since line 13
            (1 more caller)
            File "hang.py", line 14, in report
              await audit(pool)
            File "hang.py", line 17, in audit
              async with pool.connection():
            File "hang.py", line 9, in Pool.connection
              async with self.free:
        """,
        REENTRANT,
    )


def test_many_tasks_are_told_of_together():
    check(
        """
        async def client(i, lock):
            async with lock:
                await asyncio.get_running_loop().create_future()

        async def main():
            locks = [asyncio.Lock() for _ in range(20)]
            async with asyncio.TaskGroup() as group:
                for i in range(30):
                    group.create_task(client(i, locks[i % 20]))
        """,
        """
        31 tasks are blocked:
          'Task-2', 'Task-3', 'Task-4' and 17 more await a future, which is not done
            File "hang.py", line 3, in client
              await asyncio.get_running_loop().create_future()
          'Task-1' awaits the tasks of TaskGroup 'group': 'Task-2', 'Task-3', 'Task-4' and 27 more
            File "hang.py", line 7, in main
              async with asyncio.TaskGroup() as group:
          'Task-22', 'Task-23', 'Task-24' and 7 more await Lock 'lock', held by 'Task-2', 'Task-3', 'Task-4' and 7 more
            File "hang.py", line 2, in client
              async with lock:
        """,
        LOOK,
    )


def test_a_worker_that_has_failed():
    check(
        """
        async def worker(queue):
            while True:
                item = await queue.get()
                if item == 3:
                    raise ValueError(f"cannot work with {item}")
                queue.task_done()

        async def main():
            queue = asyncio.Queue()
            workers = [asyncio.create_task(worker(queue), name=f"worker-{i}") for i in range(2)]
            for i in (3, 3, 4):
                queue.put_nowait(i)
            await queue.join()
        """,
        """
        1 task is blocked:
          'Task-1' awaits join() of Queue 'queue', with 3 items left without task_done()
            File "hang.py", line 13, in main
              await queue.join()
        2 tasks have failed:
          'worker-0' and 'worker-1': ValueError: cannot work with 3
            File "hang.py", line 5, in worker
              raise ValueError(f"cannot work with {item}")
        """,
        FAILED,
    )


def test_a_failure_that_gather_has_not_passed_on():
    check(
        """
        async def produce(queue):
            for i in range(3):
                await queue.put(i)

        async def consume(queue):
            await queue.get()
            raise OSError("disk full")

        async def main():
            queue = asyncio.Queue(1)
            await asyncio.gather(produce(queue), consume(queue), return_exceptions=True)
        """,
        """
        2 tasks are blocked:
          'Task-2' awaits put() into Queue 'queue', which is full (maxsize=1)
            File "hang.py", line 3, in produce
              await queue.put(i)
          'Task-1' awaits gather() of 'Task-2'
            File "hang.py", line 11, in main
              await asyncio.gather(produce(queue), consume(queue), return_exceptions=True)
        1 task has failed:
          'Task-3': OSError: disk full
            File "hang.py", line 7, in consume
              raise OSError("disk full")
        """,
        FAILED,
    )


def test_a_callback_that_has_failed():
    check(
        """
        class Client:
            def __init__(self):
                self.pending = {}

            def on_reply(self, number, reply):
                self.pending[str(number)].set_result(reply)

            async def ask(self, number):
                self.pending[number] = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_later(1, self.on_reply, number, "reply")
                return await self.pending[number]

        async def main():
            await Client().ask(7)
        """,
        """
        1 task is blocked:
          'Task-1' awaits Future 'self.pending[7]', which is not done
            File "hang.py", line 14, in main
              await Client().ask(7)
            File "hang.py", line 11, in Client.ask
              return await self.pending[number]
        1 error was logged:
          in callback Client.on_reply(): KeyError: '7'
            File "hang.py", line 6, in Client.on_reply
              self.pending[str(number)].set_result(reply)
        """,
        FAILED,
        at=1,
    )


def test_a_lock_behind_a_context_manager_of_the_programs_own():
    check(
        """
        class Transaction:
            def __init__(self, db):
                self.db = db

            async def __aenter__(self):
                await self.db.lock.acquire()

            async def __aexit__(self, *exc):
                self.db.lock.release()

        class DB:
            def __init__(self):
                self.lock = asyncio.Lock()

        async def pay(db):
            async with Transaction(db):
                await asyncio.sleep(1)
                await audit(db)

        async def audit(db):
            async with Transaction(db):
                pass

        async def main():
            await pay(DB())
        """,
        """
        1 task is blocked:
          'Task-1' awaits Lock 'self.db.lock', which no task holds by `async with`: acquire() without release()?
            (1 more caller)
            File "hang.py", line 18, in pay
              await audit(db)
            File "hang.py", line 21, in audit
              async with Transaction(db):
            File "hang.py", line 6, in Transaction.__aenter__
              await self.db.lock.acquire()
        """,
        LOOK,
        at=1,
    )


def test_exit_stacks_and_exceptions_being_handled():
    check(
        """
        import contextlib

        async def main():
            outer, inner = asyncio.Lock(), asyncio.Lock()
            async with contextlib.AsyncExitStack() as stack, asyncio.timeout(None):
                await stack.enter_async_context(outer)
                try:
                    raise KeyError
                except KeyError:
                    async with inner:
                        await asyncio.gather(wait(outer), wait(inner))

        async def wait(lock):
            with contextlib.suppress(ValueError):
                async with lock:
                    pass
        """,
        """
        2 tasks wait for each other:
        +-> 'Task-1' awaits gather() of 'Task-2' and 'Task-3'
        |     File "hang.py", line 11, in main
        |       await asyncio.gather(wait(outer), wait(inner))
        |   'Task-2' awaits Lock 'lock', held by 'Task-1' since line 5
        |     File "hang.py", line 15, in wait
        +--     async with lock:
        1 more task is blocked:
          'Task-3' awaits Lock 'lock', held by 'Task-1' since line 10
            File "hang.py", line 15, in wait
              async with lock:
        """,
        ORDER,
    )


def test_a_condition_that_was_notified_gets_no_lock():
    check(
        """
        async def consume(changed):
            async with changed:
                await changed.wait()

        async def produce(changed):
            async with changed:
                changed.notify()
                await asyncio.Event().wait()

        async def main():
            changed = asyncio.Condition()
            consumer = asyncio.create_task(consume(changed), name="consumer")
            await asyncio.sleep(1)
            await asyncio.create_task(produce(changed), name="producer")
        """,
        """
        3 tasks are blocked:
          'producer' awaits an Event, which is not set
            File "hang.py", line 8, in produce
              await asyncio.Event().wait()
          'Task-1' awaits task 'producer'
            File "hang.py", line 14, in main
              await asyncio.create_task(produce(changed), name="producer")
          'consumer' awaits the lock of Condition 'changed', held by 'producer' since line 6
            File "hang.py", line 3, in consume
              await changed.wait()
        """,
        LOOK,
        at=1,
    )


def test_circles_through_gather_are_left_without_a_recursion_error():
    check(
        """
        async def main():
            me = asyncio.current_task()
            other = asyncio.create_task(await_it(me), name="other")
            await asyncio.gather(other)

        async def await_it(task):
            await asyncio.sleep(1)
            await task
        """,
        """
        2 tasks wait for each other:
        +-> 'Task-1' awaits gather() of 'other'
        |     File "hang.py", line 4, in main
        |       await asyncio.gather(other)
        |   'other' awaits task 'Task-1'
        |     File "hang.py", line 8, in await_it
        +--     await task
        """,
        BREAK,
        at=1,
    )


def test_a_large_circle_is_cut():
    check(
        """
        async def take(first, second):
            async with first:
                await asyncio.sleep(1)
                async with second:
                    pass

        async def main():
            locks = [asyncio.Lock() for _ in range(20)]
            await asyncio.gather(*[take(locks[k], locks[k - 1]) for k in range(20)])
        """,
        """
        20 tasks wait for each other:
        +-> 'Task-2' awaits Lock 'second', held by 'Task-21' since line 2
        |     File "hang.py", line 4, in take
        |       async with second:
        |   'Task-21' awaits Lock 'second', held by 'Task-20' since line 2
        |     File "hang.py", line 4, in take
        |       async with second:
        |   'Task-20' awaits Lock 'second', held by 'Task-19' since line 2
        |     File "hang.py", line 4, in take
        |       async with second:
        |   'Task-19' awaits Lock 'second', held by 'Task-18' since line 2
        |     File "hang.py", line 4, in take
        |       async with second:
        +-- 'Task-18', 'Task-17', 'Task-16' and 13 more likewise, the last for 'Task-2'
        1 more task is blocked:
          'Task-1' awaits gather() of 'Task-2', 'Task-3', 'Task-4' and 17 more
            File "hang.py", line 9, in main
              await asyncio.gather(*[take(locks[k], locks[k - 1]) for k in range(20)])
        """,
        ORDER,
        at=1,
    )


def test_many_circles_are_cut():
    main = program(
        """
        async def take(first, second):
            async with first:
                await asyncio.sleep(1)
                async with second:
                    pass

        async def main():
            locks = [asyncio.Lock() for _ in range(40)]
            await asyncio.gather(*[take(locks[k], locks[k ^ 1]) for k in range(40)])
        """
    )
    lines = report(main, int).splitlines()

    assert lines.count("2 tasks wait for each other:") == 4
    assert lines[-4:] == ["and 16 more such circles", "1 more task is blocked:", "  'Task-1'", ORDER]


def test_a_lock_inside_a_generator_that_a_loop_goes_through():
    check(
        """
        async def rows(lock):
            async with lock:
                yield 1
                yield 2

        async def update(lock):
            async with lock:
                pass

        async def main():
            lock = asyncio.Lock()
            async for row in rows(lock):
                await update(lock)
        """,
        """
        'Task-1' waits for itself:
          'Task-1' awaits Lock 'lock', which it holds itself since line 13
            File "hang.py", line 13, in main
              await update(lock)
            File "hang.py", line 7, in update
              async with lock:
        """,
        REENTRANT,
    )


def test_an_exit_by_another_name():
    check(
        """
        class Strange:
            async def __aenter__(self):
                pass

            async def close(self, *exc):
                pass

            __aexit__ = close

        async def hold(lock):
            async with Strange(), lock:
                await asyncio.Event().wait()

        async def main():
            lock = asyncio.Lock()
            asyncio.create_task(hold(lock), name="holder")
            await asyncio.sleep(1)
            async with lock:
                pass
        """,
        """
        2 tasks are blocked:
          'holder' awaits an Event, which is not set
            File "hang.py", line 12, in hold
              await asyncio.Event().wait()
          'Task-1' awaits Lock 'lock', held by 'holder' since line 11
            File "hang.py", line 18, in main
              async with lock:
        """,
        LOOK,
        at=1,
    )


def test_other_operations_have_their_names():
    check(
        """
        async def main():
            server = await asyncio.start_server(lambda reader, writer: None, "localhost", 80)
            await server.serve_forever()
        """,
        """
        1 task is blocked:
          'Task-1' awaits Server.serve_forever()
            File "hang.py", line 3, in main
              await server.serve_forever()
        """,
        LOOK,
    )


def test_a_failure_that_was_seen_is_not_named():
    check(
        """
        async def fail():
            raise OSError

        async def main():
            task = asyncio.create_task(fail())
            try:
                await task
            except OSError:
                await asyncio.Event().wait()
        """,
        """
        1 task is blocked:
          'Task-1' awaits an Event, which is not set
            File "hang.py", line 9, in main
              await asyncio.Event().wait()
        """,
        LOOK,
    )


# --- whatever the kind ------------------------------------------------------------------------------------------------


async def never():
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("order", LEVELS)
def test_lists_every_blocked_task_in_the_order_of_creation(order):
    async def main():
        await asyncio.sleep(3)
        await asyncio.gather(*[asyncio.create_task(never(), name=f"t{i}") for i in range(5)])

    with pytest.raises(DeadlockError) as caught:
        run(main, 7, order=order)
    text = str(caught.value)

    assert "at t=3:" in text
    assert "6 tasks are blocked:" in text
    assert "  't0', 't1', 't2' and 2 more await a future, which is not done\n" in text
    assert "  'Task-1' awaits gather() of 't0', 't1', 't2' and 2 more\n" in text
    assert not re.search(r"0x[0-9a-f]+", text)


def test_a_task_that_runs_a_coroutine_of_asyncio_itself():
    async def main():
        await asyncio.gather(asyncio.create_task(asyncio.Queue().get(), name="q"))

    with pytest.raises(DeadlockError, match=r"'q' awaits get\(\) from a Queue, which is empty"):
        run(main)


def test_a_message_has_forty_lines_at_most():
    async def deep(n):
        if n:
            await deep(n - 1)
        else:
            await never()

    async def main():
        # Each waits in another way, so none can be told of together.
        names = {}
        for k in range(50):
            exec(f"async def wait_{k}(deep):\n    await deep({k})\n", names)  # noqa: S102  # it stands here
        await asyncio.gather(*[names[f"wait_{k}"](deep) for k in range(50)])

    with pytest.raises(DeadlockError) as caught:
        run(main)
    text = str(caught.value)

    assert "51 tasks are blocked:" in text
    assert re.search(r"\n  and \d+ more: 'Task-\d+', 'Task-\d+', 'Task-\d+' and \d+ more\n", text)
    assert len(text.splitlines()) <= 40


def test_no_task_at_all():
    with opened() as loop, pytest.raises(DeadlockError, match="No task is left either; nothing will call stop"):
        loop.run_forever()


def test_the_report_comes_out_of_asyncio_run_and_the_tasks_are_cleaned_up():
    cleaned = []

    async def main():
        try:
            await never()
        finally:
            cleaned.append(True)

    with pytest.raises(DeadlockError):
        run(main)
    assert cleaned == [True]


def test_the_loop_goes_on_after_a_report():
    with opened() as loop:
        future = loop.create_future()
        with pytest.raises(DeadlockError):
            loop.run_until_complete(future)
        loop.call_later(1, future.set_result, "late")

        assert loop.run_until_complete(future) == "late"


def test_driving_from_outside_is_no_deadlock():
    with opened() as loop:
        task = loop.create_task(never())
        loop.advance(1)
        loop.run_until_idle()
        task.cancel()
        loop.run_until_idle()

        assert task.cancelled()


def test_an_error_does_not_hold_what_the_report_has_looked_at():
    async def main():
        asyncio.create_task(never(), name="other")
        await never()

    with pytest.raises(DeadlockError) as caught:
        run(main)
    held = [value for frame, _ in traceback.walk_tb(caught.value.__traceback__) for value in frame.f_locals.values()]

    assert {task.get_name() for task in held if isinstance(task, asyncio.Task)} == {"Task-1"}
    assert not any(isinstance(value, Survey) for value in held)


def test_looking_for_names_runs_no_code_of_the_program():
    class Trap:
        def __getattribute__(self, name):
            raise AssertionError(name)

        def __eq__(self, other):
            raise AssertionError

        __hash__ = None

    async def wait(trap, traps):
        await asyncio.get_running_loop().create_future()

    async def main():
        await wait(Trap(), [Trap(), {"trap": Trap()}])

    with pytest.raises(DeadlockError, match="'Task-1' awaits a future, which is not done"):
        run(main)


def test_a_library_between_the_program_and_asyncio(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "library"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import asyncio\n"
        "async def connect():\n"
        "    await _open()\n"
        "async def _open():\n"
        "    await asyncio.Event().wait()\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    import library

    async def main():
        background = asyncio.create_task(library.connect(), name="background")
        await library.connect()
        await background

    with pytest.raises(DeadlockError) as caught:
        run(main)
    lines = str(caught.value).splitlines()
    start = lines.index("  'Task-1' awaits an Event, which is not set")

    assert "test_deadlocks.py" in lines[start + 1]
    assert lines[start + 3 : start + 5] == [
        f'    File "{package / "__init__.py"}", line 5, in _open',
        "      await asyncio.Event().wait()",
    ]
    background = lines.index("  'background' awaits an Event, which is not set")
    assert "line 3, in connect" in lines[background + 1]
    assert "line 5, in _open" in lines[background + 3]


def test_of_many_tasks_seven_are_described_and_the_others_counted():
    main = program(
        """
        async def main():
            names = {"asyncio": asyncio}
            for k in range(19):
                exec(f"async def wait_{k}(event):\\n    await event.wait()", names)
            events = [asyncio.Event() for _ in range(19)]
            for k in range(19):
                asyncio.create_task(names[f"wait_{k}"](events[k]), name=f"t{k}")
            await asyncio.Event().wait()
        """
    )
    lines = report(main, int).splitlines()

    assert lines[1] == "20 tasks are blocked:"
    assert sum(" awaits " in line for line in lines) == 7
    assert lines[-2] == "  and 13 more: 't6', 't7', 't8' and 10 more"
