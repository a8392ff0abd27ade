"""What several test modules need; tested in test_helpers.py."""

import asyncio
import contextlib
import os
import selectors
from pathlib import Path

import virtualloop
from virtualloop import VirtualLoop
from virtualloop._exploration.program import Program
from virtualloop._stock import sets
from virtualloop._stock.tasks import FactoryTask, TaskOwner

LEVELS = ("fifo", "timing", "io", "tasks")

#: By what the environment changes what a session of pytest prints: its own variables and ours, and those by which
#: a CI says that it is one (pytest prints more then), or how wide and coloured the output shall be.
SESSIONS = ("PYTEST", "VIRTUALLOOP", "CI", "BUILD_NUMBER", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "PY_COLORS")


def amount(each_change, at_night):
    """Return how much of something a test does: enough to fail where the code is broken, or what adds confidence.

    The second is for `.ci/nightly`, which sets NIGHTLY.
    """
    return at_night if os.environ.get("NIGHTLY") else each_change


def session_environment(**more):
    """Return the environment of a session of pytest that prints the same wherever it runs, with `more` in it."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(SESSIONS)},
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(Path(virtualloop.__file__).parent.parent),
        **more,
    }


def run(main, *args, **kwargs):
    """Run `main()` on a VirtualLoop made with the other arguments, as asyncio.run() does."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(*args, **kwargs)) as runner:
        return runner.run(main())


@contextlib.contextmanager
def opened(*args, **kwargs):
    """Make a VirtualLoop and close it."""
    loop = VirtualLoop(*args, **kwargs)
    try:
        yield loop
    finally:
        loop.close()


class Always:
    """A schedule with one answer: the k-th, or the last where there are not as many. It keeps what it was asked.

    Where kinds are named, all other questions are answered by 0.
    """

    def __init__(self, k, *kinds):
        self.k = k
        self.kinds = kinds
        self.asked = []

    def choose(self, n, kind):
        self.asked.append((n, kind))
        return min(self.k, n - 1) if kind in self.kinds or not self.kinds else 0


class OracleLoop(TaskOwner, asyncio.SelectorEventLoop):
    """Stock asyncio, with a selector that does not wait and a clock that it moves instead.

    Every line that decides the order of events is stock asyncio's. Two things are pinned down that stock leaves open:
    timers for the same deadline run as they were registered (its heap is not stable), and asyncio goes through
    sets of tasks in the order of creation (theirs is that of addresses). Deadlines have to be multiples of GRAIN.
    """

    GRAIN = 1 / 64

    class _Selector(selectors.BaseSelector):
        def __init__(self, grain):
            self.now = 0.0
            self._grain = grain

        def register(self, fileobj, events, data=None):
            return selectors.SelectorKey(fileobj, 0, events, data)

        def unregister(self, fileobj):
            return self.register(fileobj, 0)

        def get_map(self):
            return {}

        def get_key(self, fileobj):
            raise KeyError(fileobj)

        def select(self, timeout=None):
            assert timeout is not None, "stock asyncio would wait for ever"
            self.now = round((self.now + timeout) / self._grain) * self._grain
            return []

    def __init__(self):
        self._clock = self._Selector(self.GRAIN)
        self._timers = 0
        super().__init__(self._clock)
        self._clock_resolution = self.GRAIN / 4

    def run_forever(self):
        sets.begin(self)
        try:
            super().run_forever()
        finally:
            sets.end(())

    def close(self):
        sets.finish(self)
        super().close()

    def create_task(self, coro, **kwargs):
        return FactoryTask(coro, loop=self, **kwargs)

    def time(self):
        return self._clock.now

    def call_at(self, when, callback, *args, context=None):
        self._timers += 1
        return super().call_at(when + self._timers * 1e-9, callback, *args, context=context)


def as_explored(main, *, replies=False):
    """Return a program as an exploration has it, with all that explore() may be given left out."""
    return Program(
        main,
        lateness=0.05,
        replies=replies,
        chosen=None,
        network=None,
        strict=False,
        allow=(),
        options=None,
        epoch=None,
        number=None,
    )
