"""Children of subprocess.Popen that a loop may hear of: the clock stands while one is at work."""

import asyncio
import contextlib
import multiprocessing
import os
import pty
import signal
import socket
import subprocess
import sys
import time
import warnings

import pytest

from helpers import LEVELS, run
from virtualloop._world import children, system
from virtualloop._world.children import Children

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
        await child.communicate()
        return asyncio.get_running_loop().time()

    assert run(main, thread_patience=600) == 3600


def test_a_child_that_writes_nothing_is_given_up():
    async def main():
        with subprocess.Popen(["/bin/sleep", "60"], stdout=subprocess.PIPE) as child:
            _, transport = await reader_of(child.stdout)
            with pytest.warns(RuntimeWarning, match=f"although process {child.pid} is at work, and the loop may hear"):
                await asyncio.sleep(3600)
            transport.close()
            child.kill()

    run(main, thread_patience=0.02)


def test_whoever_was_heard_is_waited_for_anew():
    here, there = os.pipe()
    with subprocess.Popen(["/bin/sleep", "60"], pass_fds=[there]) as child:
        kin = Children(0.05)
        with pytest.warns(RuntimeWarning, match="is at work"):
            looks = [kin.hold([here], {}, passed, 3600.0) for passed in (9.0, 0.4, 0.2)]
        kin.heard()
        looks.append(kin.hold([here], {}, 9.0, 3600.0))
        looks.append(kin.hold([here], {child.pid: None}, 0.0, 3600.0))
        looks.append(kin.hold([here], {child.pid: [here]}, 0.0, 3600.0))
        looks.append(kin.hold([], {}, 0.0, 3600.0))
        child.kill()
    os.close(here)
    os.close(there)

    assert looks == [True, True, False, True, False, False, False]


# --- other ways to hear of one ----------------------------------------------------------------------------------------


class Heard:
    """What a test waits for: a child is heard of, by a signal or a descriptor."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.future = self.loop.create_future()

    def __call__(self):
        if not self.future.done():
            self.future.set_result(None)

    @contextlib.contextmanager
    def by_signal(self, number):
        self.loop.add_signal_handler(number, self)
        try:
            yield
        finally:
            self.loop.remove_signal_handler(number)

    @contextlib.contextmanager
    def by_descriptor(self, fd):
        self.loop.add_reader(fd, self)
        try:
            yield
        finally:
            self.loop.remove_reader(fd)


@contextlib.contextmanager
def child_that_works(then="", **kwargs):
    with subprocess.Popen([sys.executable, "-S", "-c", f"{WORKS}\n{then}"], stdout=-3, **kwargs) as child:
        try:
            yield child
        finally:
            child.kill()


def work():
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass


@contextlib.contextmanager
def its_end(heard):
    with heard.by_signal(signal.SIGCHLD), child_that_works():
        yield


@contextlib.contextmanager
def the_end_of_one_of_multiprocessing(heard):
    with warnings.catch_warnings():
        # Python warns of forks beside threads, and those of other tests may not have ended.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = multiprocessing.get_context("fork").Process(target=work)
        with heard.by_signal(signal.SIGCHLD):
            process.start()
            yield
    process.join()


@contextlib.contextmanager
def a_signal_that_it_sends(heard):
    then = f"import os; os.kill(os.getppid(), {int(signal.SIGUSR1)}); time.sleep(60)"
    with heard.by_signal(signal.SIGUSR1), child_that_works(then):
        yield


@contextlib.contextmanager
def a_signal_whose_handler_somebody_has_replaced(heard):
    with heard.by_signal(signal.SIGCHLD):
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with child_that_works():
            yield


@contextlib.contextmanager
def what_the_systems_handler_writes(heard):
    here, there = socket.socketpair()
    there.setblocking(False)
    before = signal.signal(signal.SIGCHLD, lambda *_: None), signal.set_wakeup_fd(there.fileno())
    with here, there, heard.by_descriptor(here), child_that_works():
        yield
    signal.set_wakeup_fd(before[1])
    signal.signal(signal.SIGCHLD, before[0])


@contextlib.contextmanager
def what_tells_of_its_end(heard):
    with child_that_works() as child:
        fd = os.pidfd_open(child.pid)
        with heard.by_descriptor(fd):
            yield
        os.close(fd)


@contextlib.contextmanager
def a_pair_of_sockets(heard):
    here, there = socket.socketpair()
    then = f"import os; os.write({there.fileno()}, b'x'); time.sleep(60)"
    with here, there, heard.by_descriptor(here), child_that_works(then, pass_fds=[there.fileno()]):
        yield


@contextlib.contextmanager
def a_connection(heard):
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = socket.create_connection(server.getsockname())
        there, _ = server.accept()
    then = f"import os; os.write({there.fileno()}, b'x'); time.sleep(60)"
    with here, there, heard.by_descriptor(here), child_that_works(then, pass_fds=[there.fileno()]):
        yield


@contextlib.contextmanager
def a_connection_that_it_makes(heard):
    with socket.create_server(("127.0.0.1", 0)) as server:
        then = f"import socket; socket.create_connection({server.getsockname()}); time.sleep(60)"
        with heard.by_descriptor(server), child_that_works(then):
            yield


@contextlib.contextmanager
def a_terminal(heard):
    here, there = pty.openpty()
    then = f"import os; os.write({there}, b'x'); time.sleep(60)"
    with heard.by_descriptor(here), child_that_works(then, pass_fds=[there]):
        yield
    os.close(here)
    os.close(there)


WAYS = [
    its_end,
    the_end_of_one_of_multiprocessing,
    a_signal_that_it_sends,
    a_signal_whose_handler_somebody_has_replaced,
    what_the_systems_handler_writes,
    what_tells_of_its_end,
    a_pair_of_sockets,
    a_connection,
    a_connection_that_it_makes,
    a_terminal,
]


@pytest.fixture(autouse=True)
def _none_given_up(monkeypatch):
    monkeypatch.setattr(children, "_given_up", set())


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_clock_stands_while_a_child_is_at_work_that_is_heard_of_by(way, limit):
    async def main():
        heard = Heard()
        with way(heard):
            async with asyncio.timeout(limit):
                await heard.future
        return asyncio.get_running_loop().time()

    assert run(main, thread_patience=60) == 0


@pytest.mark.parametrize("order", LEVELS)
def test_a_signal_of_a_child_comes_in_at_any_order(order):
    async def main():
        heard = Heard()
        with its_end(heard):
            async with asyncio.timeout(5):
                await heard.future
        return asyncio.get_running_loop().time()

    assert run(main, 1, order=order, thread_patience=60) < 0.1


def test_a_child_of_the_loop_that_nobody_awaits_is_waited_for_where_it_can_be_heard():
    async def main():
        heard = Heard()
        here, there = os.pipe()
        then = f"{WORKS}\nimport os; os.write({there}, b'x'); time.sleep(60)"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-c", then, stdout=subprocess.PIPE, pass_fds=[there]
        )
        with heard.by_descriptor(here):
            async with asyncio.timeout(5):
                await heard.future
        now = heard.loop.time()
        child.kill()
        await child.communicate()
        os.close(here)
        os.close(there)
        return now

    assert run(main, thread_patience=60) == 0


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("number", [signal.SIGCHLD, signal.SIGUSR1])
@pytest.mark.parametrize("order", LEVELS)
def test_a_signal_whose_handler_only_python_knows_of(number, limit, order):
    async def main():
        heard = Heard()
        before = signal.signal(number, lambda *_: heard())
        try:
            with child_that_works(f"import os; os.kill(os.getppid(), {int(number)}); time.sleep(60)"):
                async with asyncio.timeout(limit):
                    await heard.future
        finally:
            signal.signal(number, before)
        return heard.loop.time()

    assert run(main, 1, order=order, thread_patience=60) < 0.1


def test_children_that_have_ended_or_wait_for_this_process_do_not_hold_the_clock():
    async def main():
        ended = subprocess.Popen(["/bin/true"])
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        waits = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
        while not system.is_child_asleep(waits.pid):
            pass
        heard = Heard()
        with heard.by_signal(signal.SIGCHLD):
            await asyncio.sleep(3600)
            told = heard.future.done()
            waits.stdin.close()
            await heard.future
        ended.wait()
        waits.wait()
        return told, heard.loop.time()

    assert run(main, thread_patience=600) == (False, 3600)


def test_a_service_is_given_up_once_a_process():
    async def main():
        heard = Heard()
        with heard.by_signal(signal.SIGCHLD):
            await asyncio.sleep(3600)

    with subprocess.Popen(["/bin/sleep", "60"]) as service:
        with pytest.warns(RuntimeWarning, match=f"although process {service.pid} is at work"):
            run(main, thread_patience=0.02)
        run(main, thread_patience=600)
        service.kill()


def test_a_signal_that_only_people_send_holds_nothing():
    async def main():
        heard = Heard()
        with heard.by_signal(signal.SIGTERM), child_that_works():
            await asyncio.sleep(3600)
        return heard.loop.time()

    assert run(main, thread_patience=600) == 3600
