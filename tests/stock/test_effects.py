"""What a loop does to the rest of the process: nothing that is left when it has ended."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import types

import pytest

from helpers import LEVELS, opened, run
from virtualloop import Trace, explore

#: What asyncio keeps of its own doing, whoever runs: its tables of tasks and coroutine types.
TABLES = {"_all_tasks", "_scheduled_tasks", "_eager_tasks", "_current_tasks", "_iscoroutine_typecache"}


def state():
    """Return every global of asyncio's modules, and every attribute of its classes and functions."""
    found = {}
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] not in ("asyncio", "_asyncio"):
            continue
        for key, value in vars(module).items():
            if key in TABLES:
                continue
            found[name, key] = id(value)
            if isinstance(value, type):
                found |= {(name, key, attribute): id(entry) for attribute, entry in vars(value).items()}
            elif isinstance(value, types.FunctionType):
                found[name, key, "code"] = id(value.__code__), id(value.__globals__)
    hooks = (sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth(), asyncio._get_running_loop())
    return found | {"hooks": hooks}


class Own(asyncio.Task):
    """A user's task class."""


async def program():
    async def worker(n):
        await asyncio.sleep(n)
        return n

    tasks = [asyncio.create_task(worker(n)) for n in range(5)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker(1))
    return [await each for each in asyncio.as_completed(tasks)]


async def failing():
    asyncio.create_task(program())
    await asyncio.sleep(0.5)
    raise LookupError


async def interrupted():
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await program()


async def hanging():
    await asyncio.gather(asyncio.Event().wait(), asyncio.Event().wait())


async def nested():
    await asyncio.to_thread(run, program, 1)
    await program()


async def with_factory():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **kwargs: Own(coro, loop=loop, **kwargs))
    return await program()


async def with_network():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "localhost", 80)
    reader, writer = await asyncio.open_connection("localhost", 80)
    await reader.read()
    writer.close()
    server.close()


PROGRAMS = [program, failing, interrupted, hanging, nested, with_factory, with_network]


@pytest.mark.usefixtures("own_garbage")
@pytest.mark.parametrize("order", LEVELS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_asyncio_is_as_before_a_run(program, order):
    before, own = state(), dict(vars(Own))
    for options in ({}, {"strict": True}, {"trace": Trace()}):
        with contextlib.suppress(BaseException):
            run(program, 1, order=order, **options)
        gc.collect()

        assert state() == before
    assert dict(vars(Own)) == own


def test_asyncio_is_as_before_an_exploration():
    before = state()
    explore(program, runs=30)
    explore(failing, runs=30, check=False)

    assert state() == before


def test_asyncio_is_as_before_a_drive_from_outside():
    before = state()
    with opened(1) as loop:
        loop.create_task(program())
        loop.advance(2)
        loop.run_until_idle()

    assert state() == before


def test_a_loop_that_has_stopped_leaves_no_set():
    with opened() as loop:
        loop.create_task(program())
        loop.advance(2)

        assert "set" not in vars(asyncio.tasks)
        loop.run_until_idle()


def test_importing_changes_nothing():
    """In a process of its own, with all that is imported later as well."""
    program = f"""
import asyncio, asyncio.staggered, importlib, pkgutil, sys
sys.path[:] = {sys.path!r}

def state():
    found = {{}}
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "asyncio":
            found |= {{(name, key): id(value) for key, value in vars(module).items()}}
            for kind in [value for value in vars(module).values() if isinstance(value, type)]:
                found |= {{(name, kind, key): id(value) for key, value in vars(kind).items()}}
    found["tasks"] = type(getattr(asyncio.tasks, "_scheduled_tasks", asyncio.tasks.Task).__dict__.get("data"))
    return found

before = state()
import virtualloop
for module in pkgutil.walk_packages(virtualloop.__path__, "virtualloop."):
    importlib.import_module(module.name)
after = state()
assert before == after, [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
"""
    subprocess.run([sys.executable, "-c", program], check=True)
