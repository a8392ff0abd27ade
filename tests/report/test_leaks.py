"""What close() says is left open, and to whom."""

import asyncio
import gc
import re
import subprocess
import sys
import warnings

import pytest

from helpers import run
from virtualloop import DeadlockError, Network, VirtualLoop, VirtualLoopError, explore
from virtualloop._loop import endings

ADVICE = "Before closing a loop, cancel and await its tasks (asyncio.Runner does), and close what was opened on it."


async def heartbeat():
    while True:
        await asyncio.sleep(1)


async def ticks():
    yield 1
    yield 2


async def fail():
    raise ValueError("no")


def said(text):
    """Return the lines of a message, with this file's name alone and without line numbers."""
    return re.sub(r'"[^"]*test_leaks\.py", line \d+', '"test_leaks.py"', str(text)).splitlines()


def closed(loop):
    """Close a loop; return its warning, in lines."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
    (warning,) = caught
    assert warning.category is ResourceWarning
    assert warning.filename == __file__
    assert loop.is_closed()
    return said(warning.message)


def clean_up(*tasks):
    """Have the collector say nothing about tasks whose loop is closed."""
    for task in tasks:
        task._log_destroy_pending = False


def test_pending_tasks_and_generators():
    loop = VirtualLoop()
    tasks = [loop.create_task(heartbeat(), name=f"heart-{k}") for k in range(2)]
    numbers = ticks()
    finished = ticks()

    async def main():
        async for _ in numbers:
            break
        async for _ in finished:
            pass

    loop.run_until_complete(main())
    loop.advance(2.5)
    loop.call_later(60, print)  # A timer that nobody waits for is no fault.

    assert closed(loop) == [
        "the loop was closed at t=2.5, and left open:",
        "2 tasks are pending:",
        "  'heart-0' and 'heart-1' await sleep(1), until t=3",
        '    File "test_leaks.py", in heartbeat',
        "      await asyncio.sleep(1)",
        "1 async generator was not closed:",
        "  ticks()",
        '    File "test_leaks.py", in ticks',
        "      yield 1",
        ADVICE,
    ]
    clean_up(*tasks)


def test_nothing_is_said_about_what_asyncio_run_cleans_up():
    numbers = ticks()

    async def main():
        asyncio.create_task(heartbeat())
        asyncio.get_running_loop().call_later(60, print)
        async for _ in numbers:
            break
        # Nor about this, which asyncio itself logs.
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        await asyncio.wait([asyncio.create_task(fail())])

    run(main)


def test_a_server_that_was_not_closed():
    """Stock asyncio warns of its socket."""

    async def main():
        await asyncio.start_server(lambda reader, writer: writer.close(), "localhost", 80)

    with pytest.warns(ResourceWarning, match=r"1 server was not closed:\n  server on 127\.0\.0\.1:80\n"):
        run(main)


def test_a_loop_that_had_no_task_is_closed_at_once(monkeypatch):
    monkeypatch.setattr(endings, "left_open", None)
    loop = VirtualLoop()
    loop.call_soon(print)
    loop.close()


def fail_and_close(loop):
    try:
        loop.run_until_complete(asyncio.sleep(1))
        1 / 0  # noqa: B018  # it fails
    finally:
        loop.close()


def test_a_failing_program_is_not_warned_of():
    loop = VirtualLoop()
    task = loop.create_task(heartbeat())
    with pytest.raises(ZeroDivisionError):
        fail_and_close(loop)
    clean_up(task)


def test_an_unclosed_loop_is_warned_of_once():
    loop = VirtualLoop()
    task = loop.create_task(heartbeat())
    loop.run_until_complete(asyncio.sleep(1))
    clean_up(task)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del task, loop
        gc.collect()

    assert [str(w.message).partition("loop <")[0] for w in caught] == ["unclosed event "]


def test_a_warning_that_is_an_error_leaves_nothing_half_closed():
    loop = VirtualLoop()
    task = loop.create_task(heartbeat())
    loop.run_until_complete(asyncio.sleep(1))
    with pytest.raises(ResourceWarning):
        loop.close()
    assert loop.is_closed()
    loop.close()
    clean_up(task)


def test_strict_says_where_tasks_were_made_and_is_an_error():
    loop = VirtualLoop(strict=True)

    async def main():
        async with asyncio.timeout(None):
            tasks.append(asyncio.create_task(heartbeat(), name="heart"))

    tasks = []
    loop.run_until_complete(main())
    with pytest.raises(VirtualLoopError) as caught:
        loop.close()

    assert type(caught.value) is VirtualLoopError
    assert said(caught.value)[1:-1] == [
        "1 task is pending:",
        "  'heart' awaits sleep(1), until t=1",
        '    File "test_leaks.py", in heartbeat',
        "      await asyncio.sleep(1)",
        "    created at",
        '    File "test_leaks.py", in test_strict_says_where_tasks_were_made_and_is_an_error.<locals>.main',
        '      tasks.append(asyncio.create_task(heartbeat(), name="heart"))',
    ]
    assert loop.is_closed()
    clean_up(*tasks)


def test_strict_says_which_callbacks_never_ran():
    def poll(*_):
        """Never run."""

    loop = VirtualLoop(1, order="io", strict=True)
    loop.call_later(60, poll)
    loop.call_later(60, poll, 1)
    loop.call_later(50, poll).cancel()
    loop.call_soon(asyncio.Event().set)
    loop.run_until_complete(asyncio.wait([loop.create_future()], timeout=1))
    with pytest.raises(VirtualLoopError) as caught:
        loop.close()

    text = said(caught.value)
    name = "test_strict_says_which_callbacks_never_ran.<locals>.poll"
    assert text[1:-1] == [
        "2 callbacks never ran:",
        *2 * [f"  callback {name}(), due at t=60", f'    File "test_leaks.py", in {name}', "      def poll(*_):"],
    ]


def test_strict_says_nothing_about_timers_of_asyncio_and_deliveries():
    async def limited():
        async with asyncio.timeout(3):
            await asyncio.sleep(5)

    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("localhost", 53))
        transport.sendto(b"late", ("localhost", 53))
        transport.close()
        tasks.append(asyncio.create_task(limited()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    tasks = []
    loop = VirtualLoop(strict=True, network=Network(latency=1.0))
    loop.run_until_complete(main())
    with pytest.raises(VirtualLoopError) as caught:
        loop.close()

    assert "pending" in said(caught.value)[1]
    assert "never ran" not in str(caught.value)
    clean_up(*tasks)


def test_an_error_at_the_end_of_the_interpreter():
    code = """
import asyncio
from virtualloop import VirtualLoop

async def fail():
    raise OSError("disk full")

async def main():
    global task
    task = asyncio.create_task(fail())
    await asyncio.sleep(1)

with asyncio.Runner(loop_factory=VirtualLoop) as runner:
    runner.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert done.stderr.startswith("Task exception was never retrieved")
    assert "ImportError" not in done.stderr


def test_strict_says_which_errors_nobody_saw(caplog):
    tasks = []

    async def main():
        loop = asyncio.get_running_loop()
        tasks.append(asyncio.create_task(fail(), name="kept"))
        asyncio.create_task(fail(), name="dropped")
        tasks.append(seen := asyncio.create_task(fail()))
        loop.call_soon(lambda: 1 / 0)
        loop.call_exception_handler({"message": "so it goes"})
        await asyncio.sleep(1)
        assert seen.exception()

    with pytest.raises(VirtualLoopError) as caught:
        run(main, strict=True)

    assert said(caught.value)[1:-1] == [
        "4 errors went unnoticed:",
        "  so it goes",
        "  'dropped': Task exception was never retrieved: ValueError: no",
        '    File "test_leaks.py", in fail',
        '      raise ValueError("no")',
        "  in callback test_strict_says_which_errors_nobody_saw.<locals>.main.<locals>.<lambda>(): "
        "ZeroDivisionError: division by zero",
        '    File "test_leaks.py", in test_strict_says_which_errors_nobody_saw.<locals>.main.<locals>.<lambda>',
        "      loop.call_soon(lambda: 1 / 0)",
        "  'kept': Task exception was never retrieved: ValueError: no",
        '    File "test_leaks.py", in fail',
        '      raise ValueError("no")',
    ]
    assert len(caplog.records) == 3
    del tasks[0]


def test_strict_leaves_errors_to_a_handler_of_the_programs_own():
    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        asyncio.create_task(fail())
        await asyncio.sleep(1)

    run(main, strict=True)


def test_strict_says_which_servers_and_connections_are_open():
    kept = []

    async def main():
        kept.append(await asyncio.start_server(lambda reader, writer: kept.append(writer), "localhost", 8000))
        kept.append(await asyncio.open_connection("localhost", 8000))
        loop = asyncio.get_running_loop()
        kept.append(await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("localhost", 53)))
        await asyncio.sleep(1)

    with pytest.raises(VirtualLoopError) as caught:
        run(main, strict=True)
    lines = [line for line in said(caught.value) if "File" not in line]
    with warnings.catch_warnings():  # asyncio's own
        warnings.simplefilter("ignore")
        kept.clear()
        gc.collect()

    assert lines[1:-1] == [
        "2 connections were not closed:",
        "  connection on 127.0.0.1:49152 to 127.0.0.1:8000",
        '      kept.append(await asyncio.open_connection("localhost", 8000))',
        "  connection on 127.0.0.1:8000 to 127.0.0.1:49152",
        '      kept.append(await asyncio.open_connection("localhost", 8000))',
        "1 server was not closed:",
        "  server on 127.0.0.1:8000",
        '      kept.append(await asyncio.start_server(lambda reader, writer: kept.append(writer), "localhost", 8000))',
        "1 socket was not closed:",
        "  socket on 127.0.0.1:53",
        '      kept.append(await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("localhost", 53)))',
    ]


def test_strict_with_a_task_factory():
    def factory(loop, coro, **kwargs):
        return asyncio.Task(coro, loop=loop, **kwargs)

    async def main():
        loop = asyncio.get_running_loop()
        for each in (factory, None):
            loop.set_task_factory(each)
            assert loop.get_task_factory() is each
            tasks.append(loop.create_task(asyncio.sleep(1), name=f"{each and each.__name__}"))
        assert await asyncio.create_task(asyncio.sleep(0, "value")) == "value"

    tasks = []
    loop = VirtualLoop(strict=True)
    loop.run_until_complete(main())
    loop.advance(0)
    with pytest.raises(VirtualLoopError) as caught:
        loop.close()

    assert "  'factory' and 'None' await sleep(1), until t=1" in said(caught.value)
    assert said(caught.value).count("    created at") == 1
    clean_up(*tasks)


def test_strict_adds_a_note_to_an_error_that_is_on_its_way():
    tasks = []

    async def main():
        tasks.append(asyncio.get_running_loop().call_later(5, print))
        raise KeyError("key")

    with pytest.raises(KeyError) as caught:
        run(main, strict=True)
    (note,) = caught.value.__notes__
    assert "1 callback never ran:\n  callback print(), due at t=5\n" in note


@pytest.mark.parametrize("order", ["fifo", "tasks"])
def test_strict_changes_nothing_else(order):
    async def main():
        log = []

        async def work(name):
            for _ in range(3):
                await asyncio.sleep(0)
                log.append((name, asyncio.current_task().get_name()))

        async with asyncio.TaskGroup() as group:
            for k in range(4):
                group.create_task(work(k))
        return log

    assert run(main, 3, order=order, strict=True) == run(main, 3, order=order)


def test_long_lists_are_cut():
    loop = VirtualLoop(strict=True)
    for k in range(9):
        loop.call_later(k, print)
    with pytest.raises(VirtualLoopError) as caught:
        loop.close()

    assert said(caught.value)[1] == "9 callbacks never ran:"
    assert said(caught.value)[-2] == "  and 4 more"


def test_a_message_has_forty_lines_at_most():
    async def main():
        loop = asyncio.get_running_loop()
        for k in range(9):
            loop.call_later(k + 1, heartbeat_callback)
            tasks.append(asyncio.create_task(heartbeat() if k % 2 else asyncio.sleep(k + 1), name=f"task-{k}"))
            kept.append(await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("localhost", 9000 + k)))
            loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def heartbeat_callback():
        """Never run."""

    tasks, kept = [], []
    loop = VirtualLoop(strict=True)
    loop.run_until_complete(main())
    with pytest.raises(VirtualLoopError) as caught:
        loop.close()
    with warnings.catch_warnings():  # asyncio's own
        warnings.simplefilter("ignore")
        kept.clear()
        gc.collect()

    assert len(said(caught.value)) <= 40
    assert re.fullmatch(r"and \d+ more lines of this kind", said(caught.value)[-2])
    clean_up(*tasks)


def test_exploration_says_nothing_about_what_failed_runs_leave_open():
    async def stubborn():
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                tasks.append(asyncio.current_task())

    async def main():
        asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        await asyncio.Event().wait()

    tasks = []
    with pytest.raises(DeadlockError):
        explore(main, runs=2)
    clean_up(*tasks)


def test_a_right_program_is_told_nothing_with_warnings_as_errors():
    code = """
import asyncio
from virtualloop import VirtualLoop

async def serve(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()

async def main():
    async with await asyncio.start_server(serve, "localhost", 80):
        reader, writer = await asyncio.open_connection("localhost", 80)
        writer.write(b"line\\n")
        assert await reader.readline() == b"line\\n"
        writer.close()
        await writer.wait_closed()
        asyncio.create_task(asyncio.sleep(3600))
        await asyncio.to_thread(int)
        async with asyncio.timeout(5):
            await asyncio.sleep(1)

for strict in (False, True):
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(strict=strict)) as runner:
        runner.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, check=True, text=True)

    assert (done.stdout, done.stderr) == ("", "")
