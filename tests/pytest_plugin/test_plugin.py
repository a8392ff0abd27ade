"""The pytest plugin, in sessions of their own: fixtures are made anew for each run of an explored test."""

import re
import socket
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

from helpers import session_environment
from virtualloop import pytest_plugin
from virtualloop._exploration import ladder as ladders
from virtualloop.pytest_plugin import _summary

FIXTURES = """
import asyncio
import pytest
import virtualloop

LOG = []

def logged(name):
    LOG.append(f"{name}+")
    yield name
    LOG.append(f"{name}-")

@pytest.fixture(scope="module")
def wide():
    yield from logged("wide")

@pytest.fixture(autouse=True)
def auto():
    yield from logged("auto")

@pytest.fixture
def outer(wide):
    yield from logged("outer")

@pytest.fixture
async def server(outer, tmp_path):
    await asyncio.sleep(1)
    LOG.append("server+")
    yield asyncio.get_running_loop()
    await asyncio.sleep(1)
    LOG.append("server-")

@pytest.fixture
async def client(server):
    assert asyncio.get_running_loop() is server
    return "client"

async def race():
    balance = 100

    async def deposit(amount, after):
        nonlocal balance
        await asyncio.sleep(after)
        before = balance
        await asyncio.sleep(0.01)
        balance = before + amount

    await asyncio.gather(deposit(10, 0.0), deposit(20, 0.03))
    assert balance == 130

async def vary():
    await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
"""


class Session:
    """What a session of pytest came to."""

    def __init__(self, process):
        self.code = process.returncode
        self.text = process.stdout + process.stderr


@pytest.fixture
def session(tmp_path):
    """Run pytest on a module with the fixtures above and what it is given."""

    def run(code, *options, plugins=("virtualloop.pytest_plugin",), typed="", alone=False, **variables):
        (tmp_path / "test_it.py").write_text(("" if alone else FIXTURES) + textwrap.dedent(code))
        loaded = [part for plugin in plugins for part in ("-p", plugin)]
        process = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *loaded, *options],
            cwd=tmp_path,
            env=session_environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            input=typed,
        )
        return Session(process)

    return run


def test_fixtures_are_made_for_each_run_in_pytest_s_order(session):
    passed = session("""
        runs = []

        @virtualloop.explored(runs=30)
        async def test_it(client, server, outer, wide, tmp_path):
            assert asyncio.get_running_loop() is server
            assert not list(tmp_path.iterdir())
            (tmp_path / "left").write_text("behind")
            runs.append(1)
            await vary()

        def test_counts():
            once = ["auto+", "outer+", "server+", "server-", "outer-", "auto-"]
            assert len(runs) > 5
            assert LOG[:-1] == ["wide+", *once * len(runs)]
    """)

    assert passed.code == 0, passed.text
    assert "1 exploration, " in passed.text


def test_a_race_in_a_fixture_is_found_and_told_with_what_its_run_printed(session):
    failed = session("""
        @pytest.fixture
        async def service():
            print("made for this run")
            yield race

        @virtualloop.explored(runs=200)
        async def test_it(service):
            await service()
    """)

    assert failed.code == 1
    assert "stock asyncio can do this (order 'timing')" in failed.text
    assert failed.text.count("made for this run") == 1
    assert re.search(r"^1 exploration, .* different, 1 failure$", failed.text, re.MULTILINE)
    assert "_items.py" not in failed.text


def test_a_token_is_replayed_by_variable_and_by_option(session):
    code = """
        @virtualloop.explored(runs=200)
        async def test_it(client):
            await race()
    """
    failed = session(code)
    token = failed.text.partition("VIRTUALLOOP_REPLAY=")[2].partition(" ")[0]

    for again in (session(code, VIRTUALLOOP_REPLAY=token), session(code, f"--explore-replay={token}")):
        assert again.code == 1
        assert "\n1 replayed run that fails\n" in again.text
    assert f"VIRTUALLOOP_REPLAY='{token}'" in session(code, "-v", VIRTUALLOOP_REPLAY=token).text


@pytest.mark.parametrize("token", ["hello", "v1.eNoryczNzEtXMDUAAm0FM2ODJBMTc0sFYz1DIwUHsyQDSyNLYxMF"])
def test_a_replay_that_no_test_makes_is_no_success(session, token):
    code = """
        def test_it():
            pass
    """

    asked = session(code, VIRTUALLOOP_REPLAY=token)
    listed = session(code, "--collect-only", VIRTUALLOOP_REPLAY=token)
    worker = session(code, VIRTUALLOOP_REPLAY=token, PYTEST_XDIST_WORKER="gw0")

    assert asked.code == 1
    assert "1 passed" in asked.text
    assert "no test has made the run in VIRTUALLOOP_REPLAY" in asked.text
    assert listed.code == 0
    assert worker.code == 0  # Who has sent it the test knows whether another one makes it.


def test_a_replay_is_debugged_as_the_guide_says(session):
    """Twice the time stands at the test's own breakpoint, in the one run there is; then pdb is where it failed."""
    code = """
        @virtualloop.explored(runs=200)
        async def test_it():
            balance = 100

            async def deposit(amount, after):
                nonlocal balance
                await asyncio.sleep(after)
                before = balance
                breakpoint()
                await asyncio.sleep(0.01)
                balance = before + amount

            await asyncio.gather(deposit(10, 0.0), deposit(20, 0.03))
            assert balance == 130
    """
    found = session(code, PYTHONBREAKPOINT="0")
    token = found.text.partition("VIRTUALLOOP_REPLAY=")[2].partition(" ")[0]
    look = ["loop = asyncio.get_running_loop()", "print('at', loop.time())", "print(loop.describe_tasks())", "continue"]
    failed = ["print('balance is', balance)", "quit"]

    debugged = session(code, "--pdb", VIRTUALLOOP_REPLAY=token, typed="\n".join([*look, *look, *failed, ""]))

    assert debugged.text.count("> PDB set_trace ") == 2
    assert debugged.text.count("at 0.03") == 2
    assert debugged.text.count("'Task-1' awaits gather() of 'Task-2' and 'Task-3'") == 2
    assert "> PDB post_mortem " in debugged.text
    assert "-> assert balance == 130\n(Pdb) balance is " in debugged.text


def test_classes_parameters_and_marks(session):
    passed = session("""
        class TestThings:
            def setup_method(self):
                self.seen = []

            @pytest.fixture
            async def things(self):
                self.seen.append("fixture")
                yield self

            @pytest.fixture(params=["x", "y"])
            def letter(self, request):
                return request.param

            @pytest.mark.usefixtures("outer")
            @pytest.mark.parametrize("number", [1, 2])
            @virtualloop.explored(runs=10)
            async def test_decorated(self, things, number, letter, request):
                assert things is self
                assert self.seen == ["fixture"]
                assert letter in "xy" and number in (1, 2)
                assert request.node.name == f"test_decorated[{number}-{letter}]" or "-" in request.node.name
                await vary()

            @pytest.mark.explored(runs=10)
            async def test_marked(self, things):
                assert self.seen == ["fixture"]
                await vary()

        @pytest.mark.parametrize("doubled", [1, 2], indirect=True)
        @virtualloop.explored(runs=10)
        async def test_indirect(doubled):
            assert doubled in (2, 4)
            await vary()

        @pytest.fixture
        def doubled(request):
            return 2 * request.param
    """)

    assert passed.code == 0, passed.text
    assert "7 passed" in passed.text
    assert "7 explorations, " in passed.text


def test_pytest_s_own_fixtures_are_new_in_each_run(session):
    passed = session("""
        import os

        @virtualloop.explored(runs=10)
        async def test_it(capsys, monkeypatch, caplog, tmp_path):
            assert "ONLY_HERE" not in os.environ
            monkeypatch.setenv("ONLY_HERE", "1")
            print("once")
            assert capsys.readouterr().out == "once\\n"
            await vary()

        def test_after(tmp_path_factory):
            assert "ONLY_HERE" not in os.environ
            assert not [path for path in tmp_path_factory.getbasetemp().glob("test_it*") if not path.is_symlink()]
    """)

    assert passed.code == 0, passed.text


def test_what_a_run_logs_is_its_own(session):
    failed = session("""
        import logging

        @virtualloop.explored(runs=10)
        async def test_log(caplog):
            logging.error("said")
            await vary()
            assert caplog.messages == ["said"] == [record.message for record in caplog.get_records("call")]

        @virtualloop.explored(runs=200)
        async def test_failure():
            logging.error("on the way")
            await race()
    """)

    assert "1 failed, 1 passed" in failed.text
    assert len(re.findall(r"ERROR .*:\d+ on the way", failed.text)) == 1


AS_IT_STANDS = """
    import hypothesis.strategies

    pytestmark = pytest.mark.asyncio

    async def test_plain(): ...

    async def test_plain_too(): ...

    async def test_what_is_left_to_the_handler(caplog):
        asyncio.get_running_loop().call_soon(dict.popitem, {})
        await vary()
        assert "Exception in callback dict.popitem" in caplog.text

    async def test_late():
        late = []
        loop = asyncio.get_running_loop()
        loop.call_soon(dict.popitem, {})
        loop.call_later(0.03, late.append, 1)
        loop.call_later(0.02, lambda: late and 1 // 0)
        await asyncio.sleep(0.1)

    async def test_race(client):
        await race()

    @hypothesis.given(hypothesis.strategies.integers())
    async def by_hypothesis(number): ...

    def test_by_hypothesis():
        pass

    test_by_hypothesis.hypothesis = by_hypothesis.hypothesis  # as a plugin for async tests has it
"""


def test_a_suite_is_explored_as_it_stands(session):
    """What its plain runs do anyhow is no failure, and what there is to say of many tests is said once."""
    options = ["-W", "error::UserWarning", "-o", "markers=asyncio"]
    failed = session(AS_IT_STANDS, "--explore=50", *options)

    assert "2 failed, 4 passed" in failed.text
    assert "FAILED test_it.py::test_late - ZeroDivisionError" in failed.text
    assert "stock asyncio can do this (order 'timing')" in failed.text
    assert 'leaves nothing to vary at order "io": 2 tests' in failed.text
    assert "is run by hypothesis, not explored (put @explored below @given): test_by_hypothesis" in failed.text

    token = failed.text.rpartition("VIRTUALLOOP_REPLAY=")[2].partition(" ")[0]
    for again in (
        session(AS_IT_STANDS, "-k", "race", *options, VIRTUALLOOP_REPLAY=token),
        session(AS_IT_STANDS, "-k", "race", f"--explore-replay={token}", *options),
    ):
        assert "\n1 replayed run that fails\n" in again.text


def test_what_a_test_of_a_suite_needs_in_time_is_said_with_what_that_means(session):
    code = """
        pytestmark = pytest.mark.asyncio

        async def test_needs_a_reply():
            async def client():
                async with asyncio.timeout(1):
                    await asyncio.sleep(0.01)

            await asyncio.gather(client())
    """
    passed = session(code, "--explore=50", "-o", "markers=asyncio")

    said = (
        r"\nneeds client\(\) within 1 s \(test_it\.py:\d+\), and fails where that is later, which says nothing about "
    )
    assert re.search(said + r"the program: test_needs_a_reply\n", passed.text), passed.text


def test_what_is_outside_is_named_for_a_whole_suite(session):
    """A test that names a network itself has that one."""
    code = """
        pytestmark = pytest.mark.asyncio

        async def connect():
            _, writer = await asyncio.open_connection("localhost", PORT)
            writer.close()
            await writer.wait_closed()

        async def test_as_it_stands():
            await connect()

        @virtualloop.explored(runs=2)
        async def test_explored():
            await connect()

        @virtualloop.explored(runs=2, network=virtualloop.Network())
        async def test_with_another_network():
            with pytest.raises(OSError):
                await connect()
    """
    options = ["--explore=2", "-o", "markers=asyncio"]
    with socket.create_server(("127.0.0.1", 0)) as real:
        port = real.getsockname()[1]
        code = code.replace("PORT", str(port))

        unnamed = session(code, *options)
        named = session(code, *options, "-o", f"explore_outside=localhost:{port}")

        wrong = session(code, *options, "-o", "explore_outside=localhost")

    assert "2 failed, 1 passed" in unnamed.text
    assert "3 passed" in named.text
    assert wrong.code == pytest.ExitCode.USAGE_ERROR
    assert "explore_outside: outside must be addresses as in 'localhost:6379' or '[::1]:6379'" in wrong.text


def test_what_fails_in_a_fixture_is_told_as_such(session):
    failed = session("""
        @pytest.fixture
        def broken():
            raise OSError("no disk")

        @virtualloop.explored
        async def test_set_up(broken): ...

        @pytest.fixture
        async def unclean():
            yield
            raise OSError("not clean")

        @pytest.fixture
        def behind(request):
            return request.getfixturevalue("broken")

        @virtualloop.explored
        async def test_set_up_of_another_one(behind): ...

        @virtualloop.explored
        async def test_tear_down(unclean):
            await vary()

        @virtualloop.explored
        async def test_both(unclean):
            assert False, "this comes first"
    """)

    assert failed.code == 1
    assert "That was in the set-up of fixture 'broken'." in failed.text
    assert "OSError: not clean" in failed.text
    assert "this comes first" in failed.text
    assert failed.text.count("That was in the tear-down of the test's fixtures.") == 1
    assert failed.text.count("Besides, in the tear-down: OSError: not clean") == 1
    assert failed.text.count("That was in the set-up of fixture 'broken'.") == 2
    assert "set-up of fixture 'behind'" not in failed.text
    assert "4 failed" in failed.text


def test_what_a_tear_down_raises_is_told_beside_a_strict_loop(session):
    failed = session("""
        @pytest.fixture
        def unclean():
            yield
            raise OSError("not clean")

        def test_strict(unclean):
            virtualloop.VirtualLoop(strict=True).close()

        @pytest.fixture
        def left_open():
            loop = virtualloop.VirtualLoop(strict=True)
            loop.create_task(asyncio.sleep(1))
            yield
            loop.close()

        def test_left_open(left_open): ...
    """)

    assert "OSError: not clean" in failed.text
    assert "1 task is pending" in failed.text
    assert "2 passed" in failed.text
    assert "2 errors" in failed.text


def test_where_nothing_was_explored_nothing_is_summed_up(session):
    passed = session("""
        import virtualloop._exploration.ladder

        @pytest.mark.skip
        @virtualloop.explored
        async def test_it(): ...
    """)

    assert passed.code == 0
    assert "virtualloop ===" not in passed.text


def test_after_a_deadlock_fixtures_are_torn_down(session):
    failed = session("""
        @virtualloop.explored
        async def test_it(server):
            await asyncio.Event().wait()

        def test_after():
            assert LOG.count("server+") == LOG.count("server-") >= 1
            assert LOG.count("outer+") == LOG.count("outer-")
    """)

    assert "DeadlockError: nothing can run any more" in failed.text
    assert "1 failed, 1 passed" in failed.text


def test_skips_and_exits_pass_through(session):
    passed = session("""
        @virtualloop.explored
        async def test_skipped(server):
            pytest.skip("not here")

        @pytest.fixture
        def skipping():
            pytest.skip("nor here")

        @virtualloop.explored
        async def test_skipped_by_a_fixture(skipping): ...

        @pytest.mark.xfail(strict=True)
        @virtualloop.explored
        async def test_expected():
            assert False

        def test_after():
            assert LOG.count("server+") == LOG.count("server-")
    """)

    assert passed.code == 0, passed.text
    assert "1 passed, 2 skipped, 1 xfailed" in passed.text


def test_an_async_fixture_of_a_wider_scope_is_refused_in_one_sentence(session):
    failed = session("""
        @pytest.fixture(scope="module")
        async def shared():
            return 1

        @virtualloop.explored
        async def test_it(shared): ...

        @pytest.fixture
        async def late():
            return 1

        @virtualloop.explored
        async def test_asked_for_while_it_runs(request):
            request.getfixturevalue("late")
    """)

    assert re.search(
        r"fixture 'shared' \(test_it.py:\d+\) is async and of scope 'module': it would live on", failed.text
    )
    assert "fixture 'late' is async, and is asked for while the loop runs" in failed.text
    assert len(failed.text.splitlines()) < 60


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("@pytest.mark.explored(100)\nasync def test_it(): ...", "takes keywords, as in explored(runs=200)"),
        ("@pytest.mark.explored\ndef test_it(): ...", "is for async tests, and this one is none"),
        ("@pytest.mark.explored(rums=1)\nasync def test_it(): ...", "takes no keyword 'rums'"),
    ],
)
def test_a_mark_that_says_nothing_useful_is_an_error(session, code, message):
    failed = session(code)

    assert failed.code != 0
    assert message in failed.text


@pytest.mark.parametrize(
    "option",
    ["--explore=0", "--explore=many", "--explore-replay=nonsense", "-oexplore=many", "-oexplore_replay=nonsense"],
)
def test_options_are_checked(session, option):
    failed = session("def test_it(): ...", option)

    assert failed.code == 4
    assert option.partition("=")[0].removeprefix("-o").replace("_", "-") in failed.text


def test_the_variable_is_checked_once(session):
    failed = session("def test_it(): ...", VIRTUALLOOP="runs=many")

    assert failed.code == 4
    assert failed.text.strip() == "ERROR: VIRTUALLOOP must give runs as a number of runs, not 'many'"


def test_options_have_twins_and_are_in_the_header(session):
    code = """
        pytestmark = pytest.mark.asyncio

        async def test_it():
            await vary()
    """
    options = ["-o", "markers=asyncio", "-v"]
    for option in ("--explore=7", "-oexplore=7"):
        text = session(code, option, *options, VIRTUALLOOP="seed=5").text
        assert "virtualloop: --explore=7, VIRTUALLOOP='seed=5'" in text
        assert "1 exploration, 7 runs, " in text
    assert "virtualloop: " not in session("def test_it(): ...", "-v", "-p", "no:virtualloop.pytest_plugin").text


#: All that a session loads of this package in which nothing is explored.
ALWAYS_LOADED = {"virtualloop", "virtualloop._cpython", "virtualloop.pytest_plugin"}


def test_loading_the_plugin_loads_nothing_else():
    script = """
        import sys, pytest
        before = set(sys.modules)
        import virtualloop.pytest_plugin
        print(*set(sys.modules) - before)
    """
    loaded = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=session_environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    assert set(loaded.stdout.split()) == ALWAYS_LOADED


def test_a_suite_without_explored_tests_does_not_notice(session):
    """To the end: what is loaded last is seen when the process ends. Nor is anything called for each fixture."""
    passed = session(
        f"""
        import atexit
        import sys
        import pytest

        @atexit.register
        def see():
            assert {{name for name in sys.modules if name.startswith("virtualloop")}} == {ALWAYS_LOADED}
            print("seen")

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(number, request, record_property):
            record_property("whose", "the test's")
            called = request.config.hook.pytest_fixture_setup.get_hookimpls()
            assert not [each for each in called if each.function.__module__.startswith("virtualloop")]
    """,
        alone=True,
    )

    assert passed.code == 0, passed.text
    assert passed.text.endswith("seen\n")
    assert "virtualloop" not in passed.text


def test_patience_that_was_used_up_is_in_the_summary(session):
    passed = session("""
        import threading
        import time

        over = []

        def poll():
            while not over:
                time.sleep(0.001)

        def poll_elsewhere():
            while not over:
                time.sleep(0.001)

        @pytest.mark.parametrize("target", [poll, poll_elsewhere])
        @pytest.mark.filterwarnings("ignore:the clock goes on although")
        def test_it(target):
            async def main():
                threading.Thread(target=target, name=target.__name__).start()
                await asyncio.sleep(1)

            over.clear()
            try:
                with asyncio.Runner(loop_factory=lambda: virtualloop.VirtualLoop(thread_patience=0.05)) as runner:
                    runner.run(main())
            finally:
                over.append(1)
    """)

    assert passed.code == 0, passed.text
    assert re.search(
        r"^the clock waited \d\.\d real seconds in vain, for thread 'poll' at \S+test_it\.py:\d+ and 1 more$",
        passed.text,
        re.MULTILINE,
    )


def test_what_is_explored_without_fixtures_is_in_the_summary(session):
    """A function in a test, and a method of unittest's."""
    passed = session("""
        import unittest

        def test_in_it():
            virtualloop.explored(runs=10)(vary)()

        class TestIt(unittest.TestCase):
            @virtualloop.explored(runs=10)
            async def test_it(self):
                await vary()
    """)

    assert passed.code == 0, passed.text
    assert passed.text.count("2 explorations, 20 runs") == 1


def test_a_replay_that_passes_or_does_not_fit_is_told(session):
    code = """
        import os

        @virtualloop.explored(runs=200)
        async def test_it():
            if "GONE" in os.environ:
                return
            try:
                await race()
            except AssertionError:
                if "FIXED" not in os.environ:
                    raise
    """
    token = session(code).text.partition("VIRTUALLOOP_REPLAY=")[2].partition(" ")[0]

    passed = session(code, VIRTUALLOOP_REPLAY=token, FIXED="1")
    assert passed.code == 0, passed.text
    assert passed.text.count("the run in VIRTUALLOOP_REPLAY passes. Fixed?") == 1

    changed = session(code, VIRTUALLOOP_REPLAY=token, GONE="1")
    assert "ReplayError: the schedule does not fit" in changed.text
    assert "hidden" not in changed.text, changed.text


def reported(**kinds):
    """Return what pytest's terminal reporter has, for the summary: reports, by their kinds."""
    lines = []
    return lines, SimpleNamespace(
        stats=kinds,
        config=SimpleNamespace(stash=pytest.Stash()),
        section=lines.append,
        line=lines.append,
    )


def test_what_a_worker_of_xdist_has_reported_before_it_crashed_is_told(monkeypatch):
    monkeypatch.delitem(sys.modules, "virtualloop._exploration.ladder", raising=False)  # what other tests have used
    counts = {"explorations": 1, "runs": 7, "different": 3, "failed": 0, "kept": 0}
    reports = [
        SimpleNamespace(when="call", user_properties=[("virtualloop: counts", counts)]),
        SimpleNamespace(when="call", user_properties=[("of the user", 1), ("virtualloop: counts", counts)]),
        SimpleNamespace(when="???", user_properties=[]),  # xdist's own, on the test that was running
        SimpleNamespace(),
    ]
    lines, reporter = reported(passed=reports)
    node = SimpleNamespace(config=reporter.config)

    pytest_plugin.pytest_testnodedown(node, None)
    pytest_plugin.pytest_testnodedown(node, "Not properly terminated")
    pytest_plugin.pytest_terminal_summary(reporter)

    assert lines == [
        "virtualloop",
        "2 explorations, 14 runs, 6 different",
        "1 worker of xdist crashed: what is told here is without the test that it was running",
    ]


def test_without_the_plugin_fixtures_are_shared(session):
    passed = session(
        """
        @virtualloop.explored(runs=10)
        async def test_it(outer):
            assert LOG.count("outer+") == 1
            await vary()
        """,
        plugins=(),
    )

    assert passed.code == 0, passed.text


def test_in_unittest_each_run_has_what_unittest_sets_up_and_all_have_what_pytest_does(session):
    passed = session("""
        import unittest

        class TestCase(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def given(self, tmp_path):
                LOG.append("given")
                self.folder = tmp_path

            def setUp(self):
                LOG.append("setUp")

            @virtualloop.explored(runs=10)
            async def test_it(self):
                LOG.append("run")
                self.assertTrue(self.folder.is_dir())
                await vary()

            def tearDown(self):
                LOG.append("tearDown")

        def test_after():
            assert LOG.count("given") == 1
            one = ["setUp", "run", "tearDown"]
            runs = [what for what in LOG if what in one]
            assert runs == one * (len(runs) // 3)
            assert len(runs) > 3
    """)

    assert passed.code == 0, passed.text


OF_UNITTEST = """
    import unittest

    class TestIt(unittest.IsolatedAsyncioTestCase):
        def setUp(self):
            LOG.append("setUp")
            print("made for this run")

        async def asyncSetUp(self):
            self.queue = asyncio.Queue()
            self.addAsyncCleanup(self.clean_up)
            await asyncio.sleep(0.01)

        async def clean_up(self):
            LOG.append("cleanup")

        def tearDown(self):
            LOG.append("tearDown")

        async def test_race(self):
            self.queue.put_nowait(1)
            await race()

        async def test_right(self):
            self.queue.put_nowait(1)
            await vary()
            assert self.queue.qsize() == 1

        async def test_parts(self):
            for number in range(3):
                with self.subTest("part", number=number):
                    if number == 1:
                        self.skipTest("not this one")
                    await (race() if number == 2 else vary())

        @unittest.skip("not today")
        async def test_skipped(self):
            raise OSError

        async def test_skips(self):
            await vary()
            self.skipTest("at its end")

        @unittest.expectedFailure
        async def test_expected(self):
            await race()

        def test_plain(self):
            assert not asyncio._get_running_loop()

    @unittest.skip("not at all")
    class TestSkipped(unittest.IsolatedAsyncioTestCase):
        async def test_it(self):
            raise OSError

    def test_after():
        one = ["setUp", "tearDown", "cleanup"]
        skipped, each = LOG.count("setUp"), [what for what in LOG if what in one]
        assert each == one * (len(each) // 3)
        assert len(each) > 30
"""


@pytest.mark.parametrize("options", [["--explore=50"], ["-oexplore=50"]])
def test_async_tests_of_unittest_are_explored_as_they_stand(session, options):
    failed = session(OF_UNITTEST, "-rA", *options)

    assert failed.code == 1
    told = re.findall(r"^(PASSED|FAILED|SKIPPED|XFAIL) (?:\[1\] )?(\S+)", failed.text, re.MULTILINE)
    names = {name.rpartition("::")[2]: outcome for outcome, name in told if outcome != "SKIPPED"}
    expected = {"test_race": "FAILED", "test_parts": "FAILED", "test_expected": "XFAIL", "test_plain": "PASSED"}
    assert names == {**expected, "test_right": "PASSED", "test_after": names["test_after"]}
    if "-nauto" not in options:
        assert names["test_after"] == "PASSED", failed.text
    assert sorted(re.findall("not today|at its end|not at all", failed.text)) == [
        "at its end",
        "not at all",
        "not today",
    ]
    assert "That was in subTest [part] (number=2)" in failed.text
    assert "order 'timing'" in failed.text
    _, _, shown = failed.text.partition(" TestIt.test_race _")
    printed = shown.partition("Captured stdout call")[2].partition("___")[0].partition("===")[0]
    assert printed.count("made for this run") == 1


def test_without_being_asked_async_tests_of_unittest_are_left_alone(session):
    text = session(OF_UNITTEST, "--deselect=test_it.py::test_after").text

    assert "4 passed, 3 skipped, 1 xfailed" in text or "unexpected success" in text.lower(), text
    assert "virtualloop" not in text


@pytest.mark.parametrize("marked", ["", "@virtualloop.explored(runs=50)", "@pytest.mark.explored(runs=50)"])
def test_a_failure_of_a_test_of_unittest_is_replayed(session, marked):
    code = OF_UNITTEST.replace(
        "async def test_race", f"{marked}\n        async def test_race" if marked else "async def test_race"
    )
    options = ["-k", "TestIt and test_race"]
    failed = session(code, *options, *([] if marked else ["--explore=50"]), VIRTUALLOOP_KEEP="")
    (token,) = re.findall(r"VIRTUALLOOP_REPLAY=(\S+)", failed.text)

    for again in (
        session(code, *options, VIRTUALLOOP_REPLAY=token, VIRTUALLOOP_KEEP=""),
        session(code, *options, f"--explore-replay={token}", VIRTUALLOOP_KEEP=""),
    ):
        assert "1 replayed run that fails" in again.text
        assert "1 failed" in again.text


def test_a_decorator_above_explored_is_called_once_around_all_runs(session):
    text = session(
        """
        import functools
        import os
        import unittest
        import unittest.mock
        from hypothesis import given, settings, strategies

        class TestIt(unittest.IsolatedAsyncioTestCase):
            @unittest.mock.patch("os.getcwd", return_value="somewhere")
            @virtualloop.explored(runs=10)
            async def test_explored(self, getcwd):
                await vary()
                assert os.getcwd() == "somewhere"

            @unittest.mock.patch("os.getcwd", return_value="somewhere")
            async def test_as_it_stands(self, getcwd):
                await vary()
                assert os.getcwd() == "somewhere"

            @settings(max_examples=3)
            @given(strategies.integers())
            @virtualloop.explored(runs=10)
            async def test_given(self, number):
                await vary()
                assert isinstance(number, int)

        calls = []

        def counted(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                calls.append(function)
                return function(*args, **kwargs)
            return wrapper

        @counted
        @unittest.mock.patch("os.getcwd", return_value="somewhere")
        @virtualloop.explored(runs=10)
        async def test_function(getcwd):
            await vary()
            assert os.getcwd() == "somewhere"
            assert len(calls) == 1
        """,
        "--explore=10",
    ).text

    assert "4 passed" in text, text


def test_of_unittest_s_tests_only_those_of_asyncio_are_explored(session):
    text = session(
        """
        import unittest

        class Other(unittest.TestCase):
            def __call__(self, result=None):  # as Django's
                self.test_it = lambda: asyncio.run(type(self).test_it(self))
                return super().__call__(result)

            async def test_it(self):
                await race()
        """,
        "--explore=50",
    ).text

    assert "1 passed" in text
    assert "exploration" not in text


AS_ANYIO_HAS_IT = """
    pytestmark = pytest.mark.usefixtures("anyio_backend")
    TASKS = []

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.fixture
    async def group(outer):
        async with asyncio.TaskGroup() as group:
            LOG.append("group+")
            TASKS.append(asyncio.current_task())
            yield group
            assert asyncio.current_task() is TASKS[-1]
            LOG.append("group-")

    @pytest.fixture
    async def other(group):
        assert asyncio.current_task() is TASKS[-1]
        await asyncio.sleep(0.01)
"""


def test_with_anyio_fixtures_and_test_are_in_one_task(session):
    """As anyio's plugin has it: a task group of a fixture is left where it was entered, and cancels the test."""
    failed = session(
        AS_ANYIO_HAS_IT
        + """
    @virtualloop.explored(runs=20, strict=True)
    async def test_one(other):
        assert asyncio.current_task() is TASKS[-1]
        await vary()

    @virtualloop.explored(runs=20, cancel="test_cancelled")
    async def test_cancelled(other):
        await asyncio.sleep(0.01)

    @virtualloop.explored(runs=20)
    async def test_deadlock(other):
        await asyncio.Event().wait()

    @virtualloop.explored(runs=20)
    async def test_child(group):
        async def fails():
            await asyncio.sleep(0.1)
            raise KeyError("of a child")

        group.create_task(fails())
        await asyncio.sleep(5)

    @virtualloop.explored(runs=200)
    async def test_race(other):
        await race()

    def test_after():
        assert LOG.count("group+") == len(TASKS) > 40
        assert LOG.count("outer+") == LOG.count("outer-")
        assert {task.done() for task in TASKS} == {True}
    """
    )

    assert "3 failed, 3 passed" in failed.text, failed.text
    assert "'test_deadlock' awaits an Event, which is not set" in failed.text
    assert "asyncio.exceptions.CancelledError" in failed.text
    assert "Besides, in the tear-down: ExceptionGroup: unhandled errors in a TaskGroup" in failed.text
    assert "stock asyncio can do this (order 'timing')" in failed.text
    # What is said of that one task.
    assert re.search(r"ms  test_race +starts; waits for pytest$", failed.text, re.MULTILINE), failed.text
    last = r"ms  test_race +woken by Task-3; +test_it\.py:\d+ -> \d+\nE? +raises AssertionError: assert 120 == 130$"
    assert re.search(last, failed.text, re.MULTILINE), failed.text
    assert "_fixtures_and_test" not in failed.text
    assert "task is pending" not in failed.text
    assert "never awaited" not in failed.text


def test_more_than_one_tear_down_that_fails(session):
    result = session(
        """
        @pytest.fixture
        def one():
            yield
            raise ValueError("one")

        @pytest.fixture
        async def other(one):
            yield
            raise KeyError("other")

        @virtualloop.explored(runs=5)
        async def test_it(other):
            await vary()
        """
    )
    assert "1 failed" in result.text
    assert "ExceptionGroup: errors while tearing down" in result.text
    assert "ValueError: one" in result.text
    assert "KeyError: 'other'" in result.text


def test_an_async_fixture_that_yields_twice(session):
    result = session(
        """
        @pytest.fixture
        async def twice():
            yield 1
            yield 2

        @virtualloop.explored(runs=5)
        async def test_it(twice):
            await vary()
        """
    )
    assert "fixture 'twice' yields more than once" in result.text


def test_without_pytests_logging_plugin(session):
    result = session(
        """
        @virtualloop.explored(runs=20)
        async def test_it():
            print("a line")
            await race()
        """,
        "-p",
        "no:logging",
    )
    assert "1 failed" in result.text
    assert "a line" in result.text


def test_what_is_no_function_is_run_as_ever(session):
    result = session(
        """
        def documented():
            '''
            >>> 1 + 1
            2
            '''

        @virtualloop.explored(runs=5)
        async def test_it():
            await vary()
        """,
        "--doctest-modules",
    )
    assert "2 passed" in result.text


def test_what_is_told_of_ladders_and_in_many_remarks(monkeypatch):
    results = ladders.Results()
    monkeypatch.setattr(ladders, "_results", results)
    sent = [("a.py::test_it", "plain", "fifo", 0.0, None, False), ("a.py::test_it", "io-1ms-0", "io", 0.001, 0, True)]
    remarks = [("virtualloop: remark", (f"test_{k}", f"remark {k}")) for k in range(12)]
    reports = [
        SimpleNamespace(when="call", user_properties=[("virtualloop: ladder", sent)]),
        SimpleNamespace(when="call", user_properties=remarks),
    ]
    lines, reporter = reported(passed=reports)
    pytest_plugin.pytest_terminal_summary(reporter)

    assert lines[1:4] == ["remark 0: test_0", "remark 1: test_1", "remark 2: test_2"]
    assert lines[11] == "and 2 more remarks of this kind"
    assert lines[12].startswith("1 of 1 test pass on the plain loop and fail on a later one")


def test_a_worker_of_xdist_hands_over_what_its_ladders_have_shown(monkeypatch):
    results = ladders.Results()
    monkeypatch.setattr(ladders, "_results", results)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    results.passes("a.py::test_it", ladders.Rung("plain", "fifo", 0.0, None))
    report = SimpleNamespace(user_properties=[])
    _summary.carry_news(report)

    assert ("virtualloop: ladder", [("a.py::test_it", "plain", "fifo", 0.0, None, False)]) in report.user_properties
