"""Fixtures of each kind, in a suite that is explored: each run has what the test has without, in that order.

The suite is run twice, and what it has logged is compared. With pytest alone it is not async at all the first time;
with those of pytest-asyncio and anyio that are installed, it is run by them. `.ci/nightly` has both.
"""

import importlib.util
import itertools
import json
import re
import subprocess
import sys

import pytest

from helpers import session_environment

RUNS = 8

SUITE = """
import asyncio
import contextvars
import json
import logging
import os
import pytest
IMPORTS
mark = MARK

LOG = []
variable = contextvars.ContextVar("variable", default=None)

def log(what):
    LOG.append((os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].partition("::")[2], what))

def of(fixture, *others):
    return f"{fixture}({', '.join(map(str, others))})"

def teardown_module():
    with open(os.environ["LOG"], "w") as file:
        json.dump(LOG, file)

@pytest.fixture(scope="session")
def wide():
    return []

@pytest.fixture(scope="module", autouse=True)
def wide_too(wide):
    yield wide

@pytest.fixture(autouse=True)
def always():
    log("always+")
    yield
    log("always-")

@pytest.fixture(params=["asyncio"], scope="module")
def anyio_backend(request):
    return request.param

@pytest.fixture
def value():
    log("value+")
    return []

@pytest.fixture
def generator(value, wide):
    log("generator+")
    assert wide == []
    assert value == []
    yield value
    log("generator-")

@ASYNC_FIXTURE
async def coroutine(generator):
    log("coroutine+")
    await pause()
    assert generator == []
    variable.set("coroutine")
    generator.append("coroutine")
    return generator

@ASYNC_FIXTURE
async def service(coroutine, tmp_path):
    log("service+")
    assert coroutine == ["coroutine"]
    assert variable.get() == "coroutine"
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("made")
    yield coroutine
    await pause()
    assert coroutine == ["coroutine", "test"]
    log("service-")

@ASYNC_FIXTURE(params=["x", "y"])
async def letter(request):
    log(of("letter+", request.param, request.fixturename, request.node.name))
    await pause()
    request.addfinalizer(lambda: log("letter's finalizer"))
    yield request.param
    log("letter-")

@ASYNC_FIXTURE
async def doubled(request):
    log("doubled+")
    await pause()
    return 2 * request.param

@pytest.fixture
def by_name(request):
    log("by_name+")
    yield request.getfixturevalue("service")
    log("by_name-")

@pytest.fixture
def unused():
    log("unused+")
    yield
    log("unused-")

async def vary():
    VARY

@mark
async def test_all(service, generator, value):
    log("test")
    await vary()
    assert service is generator is value
    assert variable.get() == "coroutine"
    service.append("test")

@mark
async def test_own(monkeypatch, capsys, caplog, tmp_path, recwarn):
    log("test")
    assert "ONLY_HERE" not in os.environ
    monkeypatch.setenv("ONLY_HERE", "1")
    print("once")
    logging.warning("said")
    await vary()
    assert capsys.readouterr().out == "once\\n"
    assert [record.message for record in caplog.records if record.name == "root"] == ["said"]
    assert not list(tmp_path.iterdir())

@mark
async def test_letters(letter, value):
    log(of("test", letter))
    await vary()
    value.append(letter)

@pytest.mark.parametrize("doubled", [1, 2], indirect=True)
@pytest.mark.parametrize("number", [3, 4])
@mark
async def test_parameters(doubled, number, value):
    log(of("test", doubled, number))
    assert doubled in (2, 4)
    await vary()

@pytest.mark.usefixtures("unused")
@mark
async def test_used(by_name):
    log("test")
    await vary()
    by_name.append("test")

@mark
async def test_its_request(request):
    log(of("test", request.node.name, request.scope))
    request.addfinalizer(lambda: log("the test's finalizer"))
    await vary()

@pytest.mark.usefixtures("value")
class TestThings:
    def setup_method(self, method):
        log(of("setup_method", method.__name__))
        self.seen = []

    def teardown_method(self):
        log("teardown_method")
        self.seen = None

    @ASYNC_FIXTURE(autouse=True)
    async def always_too(self):
        log("always_too+")
        await pause()
        yield
        await pause()
        log("always_too-")

    @pytest.fixture(autouse=True)
    def own(self):
        log("own+")
        self.seen = [*getattr(self, "seen", []), "own"]
        yield self
        log("own-")

    @ASYNC_FIXTURE
    async def things(self, own, generator):
        log("things+")
        await pause()
        assert own is self
        self.seen.append("things")
        yield self
        log("things-")

    @mark
    async def test_method(self, things, letter):
        log(of("test", letter))
        assert things is self
        assert self.seen == ["own", "things"]
        await vary()

class TestMore(TestThings):
    @pytest.mark.parametrize("number", [1, 2])
    @mark
    async def test_more(self, number, service):
        log(of("test", number))
        await vary()
        service.append("test")

def test_that_is_not_async(value, unused):
    log("test")
"""

ASYNC = SUITE.replace("VARY", "await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))").replace(
    "def of(", "async def pause():\n    await asyncio.sleep(0.01)\n\ndef of("
)

NONE = "lambda test: test"

#: What each way of running the suite loads, how it names its fixtures and tests, and what is run to compare it with.
WAYS = {
    "alone": ("", "pytest.fixture", f"pytest.mark.explored(runs={RUNS})", []),
    "asyncio strict": (
        "import pytest_asyncio",
        "pytest_asyncio.fixture",
        "pytest.mark.asyncio",
        ["pytest_asyncio.plugin"],
    ),
    "asyncio auto": ("", "pytest.fixture", NONE, ["pytest_asyncio.plugin"]),
    "anyio": ("", "pytest.fixture", "pytest.mark.anyio", ["anyio.pytest_plugin"]),
}
INSTALLED = [
    way
    for way, (*_, plugins) in WAYS.items()
    if all(importlib.util.find_spec(name.partition(".")[0]) for name in plugins)
]


@pytest.mark.slow
@pytest.mark.parametrize("way", INSTALLED)
def test_each_run_has_what_the_test_has_without(way, tmp_path):
    imports, fixture, mark, plugins = WAYS[way]

    def log_of(suite, *options):
        text = suite.replace("IMPORTS", imports).replace("ASYNC_FIXTURE", fixture).replace("MARK", mark)
        (tmp_path / "test_it.py").write_text(text)
        loaded = [part for plugin in plugins for part in ("-p", plugin)]
        mode = ["--asyncio-mode=auto"] if way == "asyncio auto" else []
        process = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *loaded, *mode, *options],
            cwd=tmp_path,
            env=session_environment(LOG=str(tmp_path / "log")),
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        lines = json.loads((tmp_path / "log").read_text())
        by_test = itertools.groupby(sorted(lines, key=lambda line: line[0]), key=lambda line: line[0])
        return {test: [what for _, what in group] for test, group in by_test}, process.stdout

    if plugins:
        plain, _ = log_of(ASYNC)
        explored, text = log_of(ASYNC, "-p", "virtualloop.pytest_plugin", f"--explore={RUNS}")
    else:
        not_async = re.sub(r"async def|await pause\(\)", lambda match: "def" if "def" in match[0] else "pass", SUITE)
        plain, _ = log_of(not_async.replace("await ", "").replace("VARY", "pass").replace("MARK", NONE))
        explored, text = log_of(ASYNC, "-p", "virtualloop.pytest_plugin")

    assert len(plain) > 15
    runs = {test: len(lines) // len(plain[test]) for test, lines in explored.items()}
    assert explored == {test: lines * runs[test] for test, lines in plain.items()}
    assert {test for test, number in runs.items() if number == 1} == {"test_that_is_not_async"}
    assert f"{len(runs) - 1} explorations, " in text
