"""What people do wrong is answered by what is wrong, where, and what to write instead. PyPy's is in `test_cpython`."""

import asyncio
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import virtualloop
from helpers import session_environment
from virtualloop import VirtualLoop, explore, explored

HERE = Path(__file__).name


async def main():
    await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))


@explored(runs=5)
async def some_test():
    await main()


def loop_for_factory():
    loop = VirtualLoop(seed=1)
    try:
        with asyncio.Runner(loop_factory=loop):
            pass
    finally:
        loop.close()


def above_given():
    @explored
    @given(st.integers())
    async def test(number): ...


def on_a_sync_function():
    @explored
    def test(): ...


def on_a_generator():
    @explored
    async def test():
        yield


def on_a_class():
    @explored
    class Tests: ...


def in_a_notebook():
    async def cell():
        explore(main)

    asyncio.run(cell())


def a_test_in_a_notebook():
    async def cell():
        some_test()

    asyncio.run(cell())


def choosing_from(options):
    async def chooses():
        virtualloop.choose(options)

    explore(chooses)


CACHE = {}
MADE = []


def a_lock_of_the_run_before():
    CACHE.clear()

    async def keeps_its_lock():
        lock = CACHE.setdefault("lock", asyncio.Lock())

        async def waits():
            async with lock:
                await asyncio.sleep(0.01)

        await asyncio.gather(waits(), waits())

    explore(keeps_its_lock)


def a_future_of_the_run_before():
    CACHE.clear()

    async def keeps_its_future():
        await asyncio.sleep(0.01)
        if "future" not in CACHE:
            CACHE["future"] = asyncio.get_running_loop().create_future()
        else:
            await CACHE["future"]

    explore(keeps_its_future)


def a_list_of_the_run_before():
    MADE.clear()

    async def counts_its_runs():
        MADE.append("one")
        await main()
        assert len(MADE) < 2

    explore(counts_its_runs)


def a_real_service():
    async def connects():
        await asyncio.open_connection("localhost", 5432)

    explore(connects)


def a_real_service_by_name():
    async def connects():
        await asyncio.open_connection("db.example.com", 5432)

    explore(connects)


MISTAKES = {
    "a loop for a factory": (
        loop_for_factory,
        TypeError,
        "loop_factory takes a function that makes a loop, and was given one that is made: write "
        "loop_factory=lambda: VirtualLoop(seed=1)",
    ),
    "above given": (
        above_given,
        TypeError,
        "explored() stands above given(), which makes above_given.<locals>.test() (HERE) a plain function: put "
        "@explored below @given, next to the function",
    ),
    "a sync function": (
        on_a_sync_function,
        TypeError,
        "explored() is for async functions, and on_a_sync_function.<locals>.test() (HERE) is none: write async def, "
        "or explore what it runs by virtualloop.explore(main)",
    ),
    "a generator": (
        on_a_generator,
        TypeError,
        "explored() is for async functions, and on_a_generator.<locals>.test() (HERE) yields: a test returns",
    ),
    "a class": (
        on_a_class,
        TypeError,
        "explored() is for async functions, and on_a_class.<locals>.Tests (HERE) is a class: put it on each async "
        "test, or have the class marked by @pytest.mark.explored",
    ),
    "a number": (
        lambda: explored(100),
        TypeError,
        "explored() takes keywords, and was given 100: write @explored(runs=100), or @explored alone",
    ),
    "an executor for a test": (
        lambda: explored(executor=ProcessPoolExecutor),
        TypeError,
        "explored() takes no executor=, because other processes cannot find the function that a test was made of: "
        'give explore(main, executor=...) a function at the top level of a module, or set VIRTUALLOOP="jobs=2"',
    ),
    "executor=2": (
        lambda: explore(main, executor=2),
        TypeError,
        "executor must be a concurrent.futures.Executor, not 2: write with ProcessPoolExecutor(2) as executor: "
        "explore(main, executor=executor)",
    ),
    "choose(3)": (
        lambda: choosing_from(3),
        TypeError,
        "options must be a sequence, not 3: write choose(range(3))",
    ),
    "a lock of the run before": (
        a_lock_of_the_run_before,
        virtualloop.VirtualLoopError,
        "is bound to a different event loop: it uses lock (HERE) that was made on another loop, in a fixture, at "
        "module level or by an earlier run, and each run has a loop of its own: make it in the test.",
    ),
    "a future of the run before": (
        a_future_of_the_run_before,
        virtualloop.VirtualLoopError,
        "attached to a different loop: it uses CACHE['future'] (HERE) that was made on another loop",
    ),
    "a list of the run before": (
        a_list_of_the_run_before,
        virtualloop.VirtualLoopError,
        f"(a module's global, a cache, a file, a fixture). What its runs have changed: MADE in {HERE}.",
    ),
    "a real service": (
        a_real_service,
        ConnectionRefusedError,
        "Connections of a VirtualLoop are in memory: nothing listens at 127.0.0.1:5432 on this loop. To connect to a "
        "real server, name it: network=Network(outside=['127.0.0.1:5432']), which VirtualLoop, explore and explored "
        "take.",
    ),
    "a real service by name": (
        a_real_service_by_name,
        OSError,
        "Names are looked up in this loop's network in memory, which knows 'localhost', and not 'db.example.com'. Add "
        "it, network=Network(hosts=[...]), or name the real server, network=Network(outside=['host:port'])",
    ),
    "a notebook": (
        in_a_notebook,
        RuntimeError,
        "explore() runs whole programs on loops of their own, and in this thread a loop is running: in a notebook or a "
        "coroutine, await asyncio.to_thread(explore, main); elsewhere, call it from a plain function",
    ),
    "a test in a notebook": (
        a_test_in_a_notebook,
        RuntimeError,
        "in a notebook or a coroutine, await asyncio.to_thread(some_test); elsewhere",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_text(mistake):
    make, kind, text = MISTAKES[mistake]

    with pytest.raises(kind) as raised:
        make()

    told = "\n".join([str(raised.value), *getattr(raised.value, "__notes__", ())])
    assert text in re.sub(rf"{HERE}:\d+", "HERE", told)


def test_what_is_advised_for_a_notebook_works():
    async def cell():
        return await asyncio.to_thread(explore, main, runs=20)

    assert asyncio.run(cell()).failure is None


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("rubbish", "a token of this version begins with 'v1.', got 'rubbish'"),
        ("v1.rubbish", "the token is not whole, or mistyped; copy it again: 'v1.rubbish'"),
    ],
)
def test_a_bad_token_in_the_environment(monkeypatch, token, why):
    monkeypatch.setenv("VIRTUALLOOP_REPLAY", token)

    with pytest.raises(ValueError, match="VIRTUALLOOP_REPLAY") as raised:
        some_test()

    assert re.sub(r":\d+\)", ")", str(raised.value)) == (
        f"VIRTUALLOOP_REPLAY was read for some_test() ({HERE}), and holds no token: {why}. Copy all of it from a "
        "failure's last line, or unset VIRTUALLOOP_REPLAY."
    )


def test_a_loop_that_is_never_closed_says_nothing_at_exit():
    code = "import asyncio, virtualloop; asyncio.set_event_loop(virtualloop.VirtualLoop())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("", "")


#: As pytest-asyncio does it: it closes the loop of a test in a fixture, and makes a warning of a RuntimeError; and it
#: warns of marked tests that are no coroutine functions.
CONFTEST = """
import asyncio, inspect, warnings
import pytest
from virtualloop import VirtualLoop

def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: as pytest-asyncio's")

@pytest.fixture
def runner():
    runner = asyncio.Runner(loop_factory=lambda: VirtualLoop(strict=True))
    yield runner
    try:
        runner.close()
    except RuntimeError:
        warnings.warn("An exception occurred during teardown of an asyncio.Runner.", RuntimeWarning)

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if pyfuncitem.get_closest_marker("asyncio") and not inspect.iscoroutinefunction(pyfuncitem.obj):
        warnings.warn("is marked with '@pytest.mark.asyncio' but it is not an async function")

@pytest.fixture(scope="session")
async def pool():
    return asyncio.Queue()
"""
TESTS = """
import asyncio
import pytest
from virtualloop import explored

pytestmark = pytest.mark.asyncio

@explored(runs=5)
async def test_marked():
    await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))

@explored(runs=5)
async def test_other_loop(pool):
    await pool.get()
"""
STRICT = """
import asyncio

def test_leaks(runner):
    async def serve():
        await asyncio.start_server(lambda reader, writer: None, "localhost", 80)

    runner.run(serve())

def test_clean(runner):
    runner.run(asyncio.sleep(1))
"""


def test_in_pytest(tmp_path):
    for name, code in {"conftest": CONFTEST, "test_explored": TESTS, "test_strict": STRICT}.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "virtualloop.pytest_plugin"]

    done = subprocess.run(command, cwd=tmp_path, env=session_environment(), capture_output=True, text=True, check=False)

    assert "3 passed, 2 errors" in done.stdout, done.stdout + done.stderr
    assert (
        "fixture 'pool' (conftest.py) is async and of scope 'session': it would live on another loop than the runs "
        "of an explored test. Give it scope 'function', or make what it makes in the test.\n"
    ) in re.sub(r":\d+\)", ")", done.stdout)
    assert "\nthe loop was closed at t=0, and left open:\n1 server was not closed:\n" in done.stdout
    assert "Warning" not in done.stdout
    assert "hidden" not in done.stdout
