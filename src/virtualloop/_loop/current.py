"""What a coroutine on the loop calls: advance(), run_until_idle(), get_network(), choose(), note() and plain().

Owns these; the loop does the work.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from virtualloop._core.plain import SCOPE, PlainScope, is_plain
from virtualloop._loop.virtual import VirtualLoop
from virtualloop._stock.private import get_running_loop

if TYPE_CHECKING:
    from virtualloop.network import Network

__all__ = ["advance", "choose", "get_network", "note", "plain", "run_until_idle"]

_T = TypeVar("_T")


async def advance(seconds: float) -> None:
    """Let `seconds` of virtual time pass; resume last, after all else that is due by then has settled.

    `advance(0)` settles the present instant. Raises TypeError or ValueError for what is no length of time, and
    RuntimeError where no VirtualLoop runs.

    Example:

        async def main():
            task = asyncio.create_task(asyncio.sleep(5, "done"))
            await virtualloop.advance(5)
            assert task.done()

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())
    """
    await _running("advance")._settled_after(seconds)


async def run_until_idle() -> None:
    """Resume when nothing else is left that could ever run: no callback, no timer, no job in a thread.

    Tasks that wait for something that only the caller can give stay blocked. Raises RuntimeError where no VirtualLoop
    runs.

    Example:

        async def main():
            queue = asyncio.Queue()
            consumer = asyncio.create_task(queue.get())
            await virtualloop.run_until_idle()
            assert not consumer.done()      # it waits for us
            queue.put_nowait("item")
            assert await consumer == "item"

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())
    """
    await _running("run_until_idle")._idle_at_last()


def get_network() -> Network:
    """Return the network of the running loop, to do to it what networks suffer.

    Raises RuntimeError where no VirtualLoop runs.

    Example:

        async def main():
            network = virtualloop.get_network()
            server = await asyncio.start_server(lambda reader, writer: None, "localhost", 80)
            network.link("localhost", "localhost", latency=0.5)
            _, writer = await asyncio.open_connection("localhost", 80)
            assert asyncio.get_running_loop().time() == 1.0
            writer.close()
            server.close()

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())
    """
    return _running("get_network").network


def choose(options: Sequence[_T]) -> _T:
    """Return one of `options`: a decision of the test's own, made by the running loop's schedule and replayed with it.

    `options[0]` without a seed, and where no VirtualLoop runs. Raises ValueError where there is nothing to choose from,
    and TypeError for what is no sequence.

    Example:

        async def main():
            return virtualloop.choose(["answer", "error", "silence"])

        with asyncio.Runner(loop_factory=lambda: VirtualLoop(7)) as runner:
            assert runner.run(main()) in ["answer", "error", "silence"]
    """
    if not hasattr(options, "__getitem__") or not hasattr(options, "__len__"):
        instead = f"range({options})" if isinstance(options, int) else "[...]"
        raise TypeError(f"options must be a sequence, not {options!r}: write choose({instead})")
    if not options:
        raise ValueError("options must not be empty: there has to be something to choose from")
    loop = get_running_loop()
    if len(options) == 1 or not isinstance(loop, VirtualLoop):
        return options[0]
    position = 0 if is_plain() else loop._choose(len(options), "user")
    if loop._recorder is not None:
        loop._recorder.chose(options, position, sys._getframe(1))
    return options[position]


def note(text: str) -> None:
    """Write a line of the test's own into the trace of the running loop; do nothing where there is none.

    Raises TypeError for what is no string.

    Example:

        async def main():
            virtualloop.note("the client gives up")

        trace = virtualloop.Trace()
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(trace=trace)) as runner:
            runner.run(main())
        assert "the client gives up" in str(trace)
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, not {text!r}")
    loop = get_running_loop()
    if isinstance(loop, VirtualLoop) and loop._recorder is not None:
        loop._recorder.note(text)


class plain:  # noqa: N801  # it reads as a function
    """Within it nothing varies: everything is on time and in asyncio's own order, and each choice is the first.

    For the set-up of a test, so that what is explored is what comes after; and for timers that stand for nothing
    outside, such as the interval of a loop of one's own: what is set within is on time even when it is due later. It
    concerns the code within, and what that sets; other tasks vary as ever. Off a VirtualLoop it does nothing.

    Example:

        async def main():
            with virtualloop.plain():
                server = await asyncio.start_server(lambda reader, writer: writer.close(), "localhost", 80)
                await asyncio.sleep(1)
            assert asyncio.get_running_loop().time() >= 1.0
            server.close()

        virtualloop.explore(main, runs=20, order="io")
    """

    def __enter__(self) -> None:
        self._loop = get_running_loop()
        self._scope = PlainScope()
        self._token = SCOPE.set(self._scope)
        if isinstance(self._loop, VirtualLoop):
            _vary_nothing(self._loop)

    def __exit__(self, *exc: object) -> None:
        SCOPE.reset(self._token)
        if isinstance(self._loop, VirtualLoop):
            _vary_again(self._loop, self._scope)
        else:
            self._scope.active = False
        del self._loop


def _vary_nothing(loop: VirtualLoop) -> None:
    """Let nothing vary on a loop that is set within a scope which is entered."""
    scheduler = loop._scheduling()
    loop._plain_scopes += 1
    scheduler.vary_tasks(vary=False)
    if scheduler.arrivals is not None:
        scheduler.arrivals.plain = True
        scheduler.arrivals.scopes = loop._plain_scopes


def _vary_again(loop: VirtualLoop, scope: PlainScope) -> None:
    """Let everything vary again, but for what was set within the scope."""
    scheduler = loop._scheduling()
    loop._plain_scopes -= 1
    if scheduler.arrivals is not None:
        scheduler.arrivals.scopes = loop._plain_scopes
    scope.leave(entry for entry in scheduler.entries() if type(entry) is not tuple)
    if not loop._plain_scopes:
        scheduler.vary_tasks(vary=True)


def _running(function: str) -> VirtualLoop:
    loop = get_running_loop()
    if loop is None:
        raise RuntimeError(f"virtualloop.{function}() needs a running loop: from outside, call loop.{function}()")
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError(
            f"virtualloop.{function}() needs a VirtualLoop, and {loop!r} runs: "
            "start it by asyncio.Runner(loop_factory=VirtualLoop)"
        )
    return loop
