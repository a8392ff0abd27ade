"""What a program has to do at some time, always, or in some run: until(), always() and sometimes().

Owns these three functions, and has the error of a property that is broken. A condition is looked at by the loop, after
each step: that is no task, so that nothing comes in another order for it. The loop does the looking.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from virtualloop._errors import PropertyError
from virtualloop._loop.conditions import check_condition, check_within, conditions_of
from virtualloop._loop.virtual import VirtualLoop
from virtualloop._stock.private import get_running_loop

__all__ = ["PropertyError", "always", "sometimes", "until"]

#: How long until() waits between two looks on another loop than VirtualLoop, in seconds: as long as nobody minds.
POLL = 0.01


async def until(condition: Callable[[], object], *, within: float | None = None) -> None:
    """Wait until `condition()` is true: looked at now, and after each step of any task or callback.

    The caller goes on like everyone who was woken, so others may run before it, and what was true may not be any more.
    On a loop that is no VirtualLoop, the condition is polled.

    Arguments:
        condition: a function without arguments; it is called often, and must change nothing.
        within: how long at most, in seconds.

    Raises TimeoutError when the time is over, which says what each task does; TypeError or ValueError that names the
    argument; and what the condition raises.

    Example:

        async def main():
            queue = asyncio.Queue()
            asyncio.get_running_loop().call_later(5, queue.put_nowait, "item")
            await virtualloop.until(lambda: not queue.empty(), within=10)
            assert asyncio.get_running_loop().time() == 5

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())
    """
    check_condition(condition, "until")
    check_within(within)
    loop = asyncio.get_running_loop()
    if isinstance(loop, VirtualLoop):
        if not condition():
            await conditions_of(loop).wait(loop, condition, within)
        return
    deadline = None if within is None else loop.time() + within
    while not condition():
        if deadline is not None and loop.time() >= deadline:
            raise TimeoutError(f"until() has waited for {within} s, and its condition is not true")
        await asyncio.sleep(POLL)


def always(condition: Callable[[], object], text: str = "") -> None:
    """State that from the end of this step on `condition()` is true after each step of any task or callback.

    It holds until main ends, the coroutine that is being run; where an async generator states it, as fixtures are,
    until that goes on after its yield; and where the loop is driven from outside, until it closes. A step that breaks
    it ends the run with a `properties.PropertyError`, an AssertionError that names `text` and the step's task and line.
    An exploration makes that failure small and describes it like any other. Does nothing where no VirtualLoop runs.

    Arguments:
        condition: a function without arguments; it is called often, and must change nothing.
        text: what it says, in words.

    Raises TypeError for what is no such function or text.

    Example:

        async def main():
            room = []
            virtualloop.always(lambda: len(room) <= 2, "no more than two in the room")
            for _ in range(3):
                room.append("guest")
                await asyncio.sleep(1)

        exploration = virtualloop.explore(main, check=False)
        assert "no more than two in the room" in str(exploration.failure.exception)
    """
    check_condition(condition, "always")
    _check_text(text)
    loop = get_running_loop()
    if isinstance(loop, VirtualLoop):
        conditions_of(loop).always(condition, text, sys._getframe(1))


def sometimes(condition: Callable[[], object], text: str) -> None:
    """State that in at least one run of an exploration, `condition()` is true after some step.

    So a test makes sure that it gets to where it wants to look: that the retry happens, that the cache is hit. From the
    end of this step on it is looked at after each step, until it was true or main has ended. If it was in no run, the
    exploration warns, and with `strict` fails. Does nothing where no VirtualLoop runs.

    Arguments:
        condition: a function without arguments; it is called often, and must change nothing.
        text: what it says, in words; several with the same text are one.

    Raises TypeError for what is no such function or text.

    Example:

        async def main():
            attempts = 0
            virtualloop.sometimes(lambda: attempts > 1, "a second attempt")
            for attempts in range(1, 4):
                await asyncio.sleep(0.1)

        virtualloop.explore(main, runs=10)
    """
    check_condition(condition, "sometimes")
    _check_text(text)
    loop = get_running_loop()
    if isinstance(loop, VirtualLoop):
        conditions_of(loop).once(condition, text, sys._getframe(1))


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, not {text!r}")
