"""At the end of the process, in __del__, after fork and in daemon threads: nothing is lost, and nothing is printed."""

import os
import re
import subprocess
import sys
import textwrap

import pytest

#: By name: a program, and what it prints.
PROGRAMS = {
    "exit in a run": (
        """
        async def main():
            sys.exit(3)

        try:
            run(main())
        except SystemExit as exc:
            print(exc.code)
        """,
        ["3"],
    ),
    "a loop that is never closed": (
        """
        loop = VirtualLoop()
        loop.call_later(2, print)
        loop.run_until_complete(asyncio.sleep(1))
        """,
        [],
    ),
    "a run at exit": ("atexit.register(lambda: print(run(time_after(5))))", ["5.0"]),
    "an exploration at exit": (
        "atexit.register(lambda: print(explore(lambda: time_after(5), runs=3, order='tasks').failure))",
        ["None"],
    ),
    "a run in __del__, also when the interpreter is taken down": (
        """
        class Late:
            def __del__(self):
                loop = VirtualLoop()
                print(loop.run_until_complete(asyncio.sleep(1, "slept")), loop.time())
                loop.close()

        late = Late()
        del late
        late = Late()
        """,
        ["slept 1.0", "slept 1.0"],
    ),
    "a daemon thread that spins": (
        """
        async def spin():
            started.set()
            while True:
                await asyncio.sleep(0)

        started = threading.Event()
        threading.Thread(target=lambda: run(spin()), daemon=True).start()
        started.wait()
        print("end")
        """,
        ["end"],
    ),
    "a child after runs": (
        """
        async def main():
            await asyncio.to_thread(int)
            return await time_after(2)

        print(run(main()), flush=True)
        pid = os.fork()
        if not pid:
            print("child", run(main()), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        print("parent", run(main()))
        """,
        ["2.0", "child 2.0", "parent 2.0"],
    ),
    "a child in the middle of another thread's run": (
        """
        async def other():
            while not done.is_set():
                await asyncio.to_thread(started.set)

        async def main():
            await asyncio.to_thread(int)
            return await time_after(2)

        warnings.simplefilter("ignore", DeprecationWarning)
        started, done = threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda: run(other()))
        thread.start()
        started.wait()
        pid = os.fork()
        if not pid:
            print("child", run(main()), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        done.set()
        thread.join()
        print("parent", run(main()))
        """,
        ["child 2.0", "parent 2.0"],
    ),
}

BEFORE = """
import asyncio, atexit, os, sys, threading, warnings
from virtualloop import VirtualLoop, explore

def run(main):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)

async def time_after(seconds):
    await asyncio.sleep(seconds)
    return asyncio.get_running_loop().time()
"""


@pytest.mark.slow
@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_is_lost_and_nothing_printed(name, debug):
    source, printed = PROGRAMS[name]
    mode = ["-X", "dev", "-W", "ignore::ResourceWarning"] if debug else []
    # A thread that was joined may still be ending when Python 3.12 counts those of the system.
    mode += ["-W", "ignore:This process:DeprecationWarning"]
    code = BEFORE + textwrap.dedent(source)
    command = [sys.executable, *mode, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)

    # Debug mode says what takes long, and on a busy machine anything may.
    assert [line for line in done.stderr.splitlines() if not re.match(r"Executing .* took ", line)] == []
    assert done.stdout.splitlines() == printed
    assert done.returncode == 0


@pytest.mark.parametrize("options", [[], ["-X", "dev"]], ids=["plain", "dev"])
def test_a_loop_that_was_set_and_left_open_prints_nothing_at_the_end(options):
    program = "import asyncio, virtualloop; asyncio.set_event_loop(virtualloop.VirtualLoop())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, *options, "-c", program], env=environment, capture_output=True, check=True, text=True
    )

    assert done.stdout + done.stderr == ""
