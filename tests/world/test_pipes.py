"""Children of subprocess.Popen whose pipes the loop watches: the clock stands while one is at work."""

import asyncio
import os
import subprocess
import sys

import pytest

from helpers import run
from virtualloop._world import system
from virtualloop._world.pipes import PipedChildren

pytestmark = pytest.mark.skipif(not system.AVAILABLE, reason="this system does not tell who has a pipe")

WORKS = "import time\nuntil = time.monotonic() + 0.3\nwhile time.monotonic() < until: pass\nprint('done')"


async def reader_of(pipe):
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    return reader, transport


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("shell", [False, True])
def test_what_a_child_at_work_writes_is_waited_for(limit, shell):
    async def main():
        command = [sys.executable, "-S", "-c", WORKS]
        if shell:  # the child of a child
            command = ["/bin/sh", "-c", '"$@"; true', "sh", *command]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            reader, transport = await reader_of(child.stdout)
            async with asyncio.timeout(limit):
                text = await reader.read()
            transport.close()
        return text, asyncio.get_running_loop().time()

    assert run(main, thread_patience=60) == (b"done\n", 0)


def test_a_child_that_waits_for_this_process_costs_nothing():
    async def main():
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            reader, transport = await reader_of(child.stdout)
            await asyncio.sleep(3600)
            child.stdin.close()
            text = await reader.read()
            transport.close()
        return text, asyncio.get_running_loop().time()

    assert run(main, thread_patience=600) == (b"", 3600)


def test_what_a_child_of_the_loop_has_started_holds_nothing_either():
    async def main():
        child = await asyncio.create_subprocess_shell("sleep 60; true", stdout=subprocess.PIPE, start_new_session=True)
        await asyncio.sleep(3600)
        os.killpg(child.pid, 9)
        await child.wait()
        return asyncio.get_running_loop().time()

    assert run(main, thread_patience=600) == 3600


def test_a_child_that_writes_nothing_is_given_up():
    async def main():
        with subprocess.Popen(["/bin/sleep", "60"], stdout=subprocess.PIPE) as child:
            _, transport = await reader_of(child.stdout)
            with pytest.warns(RuntimeWarning, match=f"although process {child.pid} is at work, and the loop watches"):
                await asyncio.sleep(3600)
            transport.close()
            child.kill()

    run(main, thread_patience=0.02)


def test_whoever_was_heard_is_waited_for_anew():
    here, there = os.pipe()
    with subprocess.Popen(["/bin/sleep", "60"], pass_fds=[there]) as child:
        piped = PipedChildren(0.05)
        with pytest.warns(RuntimeWarning, match="is at work"):
            looks = [piped.hold([here], (), passed, 3600.0) for passed in (9.0, 0.4, 0.2)]
        piped.heard()
        looks.append(piped.hold([here], (), 9.0, 3600.0))
        looks.append(piped.hold([here], {child.pid}, 0.0, 3600.0))
        looks.append(piped.hold([], (), 0.0, 3600.0))
        child.kill()
    os.close(here)
    os.close(there)

    assert looks == [True, True, False, True, False, False]
