"""What a coroutine on the loop calls: advance(), run_until_idle(), choose() and note().

Owns these four functions; the loop does the work.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TypeVar

from virtualloop._loop import VirtualLoop
from virtualloop._private import get_running_loop

__all__ = ["advance", "choose", "note", "run_until_idle"]

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


def choose(options: Sequence[_T]) -> _T:
    """Return one of `options`: a decision of the test's own, made by the running loop's schedule and replayed with it.

    `options[0]` without a seed, and where no VirtualLoop runs. Raises ValueError where there is nothing to choose from.

    Example:

        async def main():
            return virtualloop.choose(["answer", "error", "silence"])

        with asyncio.Runner(loop_factory=lambda: VirtualLoop(7)) as runner:
            assert runner.run(main()) in ["answer", "error", "silence"]
    """
    if not options:
        raise ValueError("options must not be empty")
    loop = get_running_loop()
    if len(options) == 1 or not isinstance(loop, VirtualLoop):
        return options[0]
    position = loop._choose(len(options), "user")
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
