"""Child processes: real ones, for which the clock stands while somebody awaits them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

from helpers import LEVELS, run
from virtualloop import DeadlockError, VirtualLoop
from virtualloop._stock.processes import TransportedChild
from virtualloop._world import system
from virtualloop._world.processes import Processes

PIPE = subprocess.PIPE
#: Only Linux tells what a child sleeps in.
ON_LINUX = [True] if sys.platform == "linux" else []


def both(main):
    """Run `main()` on either loop; return what it returns on VirtualLoop, which is the same on the other one."""
    seen = []
    for factory in (asyncio.SelectorEventLoop, VirtualLoop):
        with asyncio.Runner(loop_factory=factory) as runner:
            seen.append(runner.run(main()))
    assert seen[0] == seen[1]
    return seen[1]


@pytest.mark.parametrize("order", LEVELS)
def test_the_clock_stands_while_a_child_is_at_work(order):
    async def main():
        process = await asyncio.create_subprocess_shell("sleep 0.2; echo done; exit 3", stdout=PIPE)
        out, _ = await process.communicate()
        return out, process.returncode, asyncio.get_running_loop().time()

    out, returncode, now = run(main, 1, order=order)
    assert (out, returncode) == (b"done\n", 3)
    assert now < 0.1  # io and tasks may be late


def test_what_programs_do_with_children():
    async def main():
        seen = []
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        process.stdin.write(b"one\n")
        seen.append(await process.stdout.readline())
        process.stdin.write(bytes(300_000))
        process.stdin.close()
        seen.append(len(await process.stdout.read()))
        seen.append(await process.wait())
        process = await asyncio.create_subprocess_shell("echo out; echo err >&2", stdout=PIPE, stderr=PIPE)
        seen.append(await process.communicate())
        process = await asyncio.create_subprocess_exec("sleep", "60")
        process.send_signal(signal.SIGTERM)
        seen.append(await process.wait())
        process = await asyncio.create_subprocess_exec("sleep", "60")
        process.kill()
        seen.append(await process.wait())
        seen.append(await (await asyncio.create_subprocess_exec("true")).wait())
        with pytest.raises(ProcessLookupError):
            process.kill()
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("no-such-program")
        processes = [await asyncio.create_subprocess_shell(f"exit {number}") for number in range(5)]
        seen.append(await asyncio.gather(*[process.wait() for process in processes]))
        return seen

    assert both(main) == [b"one\n", 300_000, 0, (b"out\n", b"err\n"), -15, -9, 0, [0, 1, 2, 3, 4]]


class Log(asyncio.SubprocessProtocol):
    def __init__(self):
        self.seen = []
        self.lost = asyncio.get_running_loop().create_future()

    def pipe_data_received(self, fd, data):
        self.seen.append((fd, data))

    def pipe_connection_lost(self, fd, exc):
        self.seen.append((fd, exc))

    def process_exited(self):
        self.seen.append("exited")

    def connection_lost(self, exc):
        self.lost.set_result(exc)


def test_a_protocol_of_ones_own():
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(Log, "echo", "1", stdin=None, stderr=None)
        await protocol.lost
        result = transport.get_returncode(), sorted(protocol.seen, key=str)
        transport.close()
        return result

    assert both(main) == (0, sorted([(1, b"1\n"), (1, None), "exited"], key=str))


@pytest.mark.parametrize("limit", [None, 60])
def test_who_waits_for_the_end_in_his_own_way_is_waited_for_as_well(limit):
    class Streams(asyncio.subprocess.SubprocessStreamProtocol):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.exited = asyncio.Event()

        def process_exited(self):
            super().process_exited()
            self.exited.set()

    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: Streams(limit=1000, loop=loop), "sleep", "0.2", stdin=None, stdout=None, stderr=None
        )
        await asyncio.wait_for(protocol.exited.wait(), limit)
        transport.close()
        return loop.time()

    assert run(main) == 0


def test_a_child_at_work_may_be_somebodys_where_nothing_else_could_happen(monkeypatch):
    """Somebody's who waits in a way that is not known to be one."""
    monkeypatch.setattr(TransportedChild, "awaited", lambda self: [])

    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "0.2")
        return await process.wait()

    assert run(main) == 0


@pytest.mark.parametrize("linux", ON_LINUX)
def test_a_child_that_sleeps_until_it_is_written_to_costs_nothing(linux):
    async def main():
        loop = asyncio.get_running_loop()
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await process.stdout.readline()
        at = loop.time()
        process.stdin.write(b"x\n")
        line = await process.stdout.readline()
        process.stdin.close()
        await process.wait()
        return at, line, loop.time()

    began = time.monotonic()
    assert run(main) == (3600, b"x\n", 3600)
    assert time.monotonic() - began < 50


@pytest.mark.parametrize("linux", ON_LINUX)
def test_a_child_that_sleeps_until_what_it_has_written_is_read_costs_nothing(linux):
    """Nobody reads: the child's output is full, then its input, and what is written there waits."""

    async def main():
        loop = asyncio.get_running_loop()
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, limit=1024)
        process.stdin.write(b"x" * 1_000_000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await process.stdin.drain()
        at = loop.time()
        read, _ = await asyncio.gather(process.stdout.readexactly(1_000_000), process.stdin.drain())
        process.stdin.close()
        await process.wait()
        return at, len(read), loop.time()

    began = time.monotonic()
    assert run(main) == (3600, 1_000_000, 3600)
    assert time.monotonic() - began < 50


@pytest.mark.parametrize("linux", ON_LINUX)
def test_a_deadlock_with_a_child_is_one(linux):
    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        try:
            await process.stdout.readline()
        finally:
            process.kill()
            await process.wait()

    with pytest.raises(DeadlockError, match="StreamReader"):
        run(main)


def test_a_child_that_nobody_awaits_does_not_hold_the_clock():
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "60")
        await asyncio.sleep(3600)
        process.kill()
        await process.wait()

    began = time.monotonic()
    run(main)
    assert time.monotonic() - began < 50


def test_a_deadlock_waits_no_longer_than_the_patience_for_a_child_that_nobody_awaits():
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "60")
        try:
            await asyncio.Event().wait()
        finally:
            process.kill()
            await process.wait()

    with pytest.raises(DeadlockError):
        run(main, thread_patience=0.1)


def test_a_child_that_never_ends_holds_the_clock_for_the_patience():
    async def main():
        loop = asyncio.get_running_loop()
        process = await asyncio.create_subprocess_exec("sleep", "60")
        waiting = asyncio.ensure_future(process.wait())
        with pytest.warns(RuntimeWarning, match=rf"although process {process.pid} is at work"):
            await asyncio.sleep(3600)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await asyncio.sleep(3600)
        process.kill()
        return await waiting, loop.time()

    assert run(main, thread_patience=0.02) == (-9, 7200)


def test_a_timeout_comes_when_it_would_have_come():
    """No warning: on a real machine the child would not have ended in time either."""

    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "60")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await process.wait()
        process.kill()
        await process.wait()
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run(main, thread_patience=0.1) == 0.3
    assert time.monotonic() - began < 50


def test_what_a_killed_child_has_started_may_keep_its_pipes():
    async def main():
        process = await asyncio.create_subprocess_shell("sleep 0.3; sleep 0.3", stdout=PIPE)
        await asyncio.sleep(0.05)
        process.kill()
        return await process.wait(), await process.stdout.read()

    assert both(main) == (-9, b"")


async def heard_to_its_end():
    process = await asyncio.create_subprocess_shell(
        "cat; echo done; echo error >&2", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    return await process.communicate(b"text\n")


async def heard_by_a_protocol_of_ones_own():
    class Protocol(asyncio.SubprocessProtocol):
        def __init__(self):
            self.heard = b""
            self.lost = asyncio.get_running_loop().create_future()

        def pipe_data_received(self, fd, data):
            self.heard += data

        def connection_lost(self, exc):
            self.lost.set_result(None)

    transport, protocol = await asyncio.get_running_loop().subprocess_shell(Protocol, "echo done", stdin=None)
    await protocol.lost
    transport.close()
    return protocol.heard


@pytest.mark.parametrize("hear", [heard_to_its_end, heard_by_a_protocol_of_ones_own])
def test_a_child_that_has_ended_holds_nothing(hear):
    async def main():
        found = await hear()
        await asyncio.sleep(3600)
        return found, asyncio.get_running_loop().time()

    found, now = run(main, thread_patience=600)
    assert now == 3600
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert runner.run(hear()) == found


def test_a_child_that_somebody_else_has_waited_for():
    class Gone:
        pid = 2**22 + 1  # more than there are
        returncode = None

        def descriptors(self):
            return []

        def ended(self, reap):
            self.returncode = reap()

    child = Gone()
    processes = Processes(patience=1, moved=set)
    processes.add(child)
    processes.poll()

    assert child.returncode == 255
    assert not processes


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="there is no way to look without asking")
def test_the_number_of_a_child_is_its_own_until_its_end_is_known():
    """Or kill() might hit another process that has got it since."""

    async def main():
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=PIPE)
        process.kill()
        while process.returncode is None:
            # Raises ChildProcessError for a number that is free.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            await asyncio.sleep(0)
        return process.returncode, await process.wait()

    assert run(main) == (-signal.SIGKILL, -signal.SIGKILL)


def test_a_child_that_is_killed_more_than_once():
    """Its end may be known to whoever sends the signal before it is to the loop."""

    async def main():
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=PIPE)
        while process.returncode is None:
            process.kill()
            await asyncio.sleep(0)
        return process.returncode

    assert run(main) == -signal.SIGKILL


def test_a_child_is_started_in_a_thread():
    async def main():
        done = await asyncio.to_thread(
            subprocess.run, ["sh", "-c", "sleep 0.1; echo x"], capture_output=True, check=True
        )
        return done.stdout, asyncio.get_running_loop().time()

    assert run(main) == (b"x\n", 0)


def test_who_is_cancelled_while_a_child_starts_leaves_none():
    async def main():
        starts = asyncio.create_task(
            asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        starts.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starts

    before = system.children()
    run(main)
    assert system.children() == before
