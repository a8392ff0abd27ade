"""Where each thread stands, and that nobody looks while that would end the process."""

import asyncio
import os
import subprocess
import sys
import threading
import types

import pytest

from helpers import run
from virtualloop import _frames
from virtualloop._frames import frames_of_others
from virtualloop._world import system

WITH_AN_INTERPRETER = """
import asyncio, sys
from virtualloop import VirtualLoop
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

WORKS = "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\\nimport json\\nfib(20)"

def work():
    made = interpreters.create()
    getattr(interpreters, "exec" if hasattr(interpreters, "exec") else "run_string")(made, WORKS)
    interpreters.destroy(made)

async def main():
    async with asyncio.timeout(5):
        for _ in range(10):
            await asyncio.to_thread(work)
    return asyncio.get_running_loop().time()

with asyncio.Runner(loop_factory=VirtualLoop) as runner:
    assert runner.run(main()) == 0
"""


def test_every_thread_stands_somewhere():
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    found = frames_of_others()
    ended.set()
    thread.join()

    assert thread.ident in found
    assert threading.get_ident() not in found


@pytest.mark.skipif(not system.AVAILABLE, reason="nobody else tells what a thread does")
def test_while_there_are_other_interpreters_the_system_alone_tells(monkeypatch):
    monkeypatch.setattr(_frames, "_MAKERS", ("maker_of_interpreters",))
    maker = types.SimpleNamespace(list_all=lambda: [0, 1])
    monkeypatch.setitem(sys.modules, "maker_of_interpreters", maker)

    async def main():
        gate = threading.Event()
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(None, gate.wait)
        assert {frame.f_code.co_name for frame in frames_of_others().values()} == {"_wait"}
        maker.list_all = lambda: [0]
        assert "_wait" not in {frame.f_code.co_name for frame in frames_of_others().values()}
        maker.list_all = lambda: [0, 1]
        loop.call_later(3600, gate.set)
        await job
        await asyncio.to_thread(sum, range(1_000_000))
        return loop.time()

    assert run(main, thread_patience=60) == 3600


def test_an_interpreter_in_a_job_ends_no_process():
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", WITH_AN_INTERPRETER], check=True, timeout=60, env=environment)
