"""What holds for every test: a limit of time, and no luck.

A test that takes longer than its limit ends the whole run, with the stacks of all threads: what hangs in C, or holds
the interpreter, cannot be ended by anything gentler. Tests that need long are marked `slow`; they run all the same.
"""

import faulthandler
import gc
import os
import signal

import hypothesis
import pytest

# What fails here fails on purpose.
os.environ["VIRTUALLOOP_KEEP"] = ""
# Some tests press Control-C, which a job in the background of a shell begins with ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: Seconds that a test may take, and one that is marked slow: a hundred times what they take on an idle machine. Where
#: something watches each line or call (coverage, mutations), SLOWED_DOWN says how many times as long.
LIMIT, SLOW_LIMIT = (limit * int(os.environ.get("SLOWED_DOWN", "1")) for limit in (120, 600))

# How long an example takes is a matter of the machine; and in CI no change is blamed for what another one did.
hypothesis.settings.register_profile("virtualloop", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("virtualloop")

_stderr = pytest.StashKey[int]()


def pytest_configure(config):
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        config.stash[_stderr] = os.dup(2)


def pytest_unconfigure(config):
    os.close(config.stash[_stderr])


@pytest.fixture
def own_garbage():
    """Have gc.collect() look through what a test has made, and not through all that the session has."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    limit = SLOW_LIMIT if item.get_closest_marker("slow") else LIMIT
    faulthandler.dump_traceback_later(limit, exit=True, file=item.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
