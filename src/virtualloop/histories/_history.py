"""History: the operations of all clients in the order in which they began and ended, and whether that may be.

Owns the recording and the verdict; the search for an order is the business of `_search`, what it shows that of
`_timeline`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Hashable
from itertools import count
from typing import Literal, get_args

from virtualloop._stock.private import get_running_loop
from virtualloop.histories._call import Call, Model, Moment, Place
from virtualloop.histories._models import usual_partition
from virtualloop.histories._search import linearize, sequence
from virtualloop.histories._timeline import MAX_ROWS, counterexample, timeline

__all__ = ["History", "UndecidedWarning"]

#: What may be asked of a history: an order that also keeps to the clock, or only to that of each client.
Consistency = Literal["linearizable", "sequential"]

#: How often a model is applied before the search gives up: about two seconds, and ten times what a thousand operations
#: of ten clients take, all of them busy all the time.
BUDGET = 1_000_000

_WHAT = {"linearizable": "linearizable", "sequential": "sequentially consistent"}
_ABOUT = {"linearizable": "", "sequential": ", each client's in their own,"}


class UndecidedWarning(UserWarning):
    """The budget of a check ended before it was decided whether the history is consistent."""

    __module__ = "virtualloop.histories"


class History:
    """A record of what clients asked of an object, and what it answered.

    Make one for each run, record each operation by `call`, and `check` it at the end.

    Example:

        from virtualloop import histories

        async def main():
            history = histories.History()
            values = []

            async def client(name, value):
                async with history.call(name, "write", value):
                    await asyncio.sleep(0.01)
                    values.append(value)
                async with history.call(name, "read") as call:
                    call.result = values[-1]

            await asyncio.gather(client("Ann", 1), client("Bob", 2))
            history.check(histories.register)

        virtualloop.explore(main, runs=50)
    """

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._positions = count()

    @property
    def calls(self) -> tuple[Call, ...]:
        """The operations, in the order in which they began; without those that were discarded."""
        return tuple(call for call in self._calls if call.began is not None)

    def call(self, client: Hashable, op: str, *args: object) -> Call:
        """Record an operation: `async with history.call("Ann", "read") as call: call.result = await ...`.

        It begins with this call and ends with the block, or with `call.finish(result)` where there is none. One whose
        block raised or was never left stays open: it may have had its effect, have it later or never; `call.discard()`
        says that it certainly had none.

        Arguments:
            client: who asks, by a name or a number.
            op: what is asked, a name that the model knows.
            args: with what arguments.

        Raises TypeError for an `op` that is no string, and for a client without a hash.
        """
        hash(client)
        if not isinstance(op, str):
            raise TypeError(f"op must be the name of an operation, not {op!r}")
        frame = sys._getframe(1)
        call = Call(client, op, args, self._now, Place(frame.f_code.co_filename, frame.f_lineno))
        self._calls.append(call)
        return call

    def _now(self) -> Moment:
        loop = get_running_loop()
        return next(self._positions), None if loop is None else loop.time()

    def check(
        self,
        model: Model,
        *,
        initial: object = None,
        partition: Callable[[Call], Hashable] | None = None,
        consistency: Consistency = "linearizable",
        budget: int = BUDGET,
    ) -> bool:
        """Raise AssertionError if no order of the operations explains their results, with the operations that show it.

        Arguments:
            model: a function of (state, op, args, result) that returns the state after the operation, or None where a
                correct object would not give that result; see `virtualloop.histories` for those that are ready made.
                States have to be hashable, or dicts, lists or sets, and must not be changed in place. The result of an
                operation that never returned is `histories.UNKNOWN`, which equals everything.
            initial: the state before the first operation.
            partition: a function of a call that returns its key, where operations on different keys have nothing to do
                with each other. Each key is then checked by itself, which is much faster.
            consistency: "linearizable": each operation takes effect between its beginning and its end. "sequential":
                there is an order in which the operations of each client stay in theirs.
            budget: how often the model is applied at most, for each key.

        Returns True; or False, with an UndecidedWarning, where the budget ended before that was decided. Raises
        TypeError or ValueError that names the argument.

        Example:

            from virtualloop import histories

            def stack(state, op, args, result):
                items = state or ()
                if op == "push":
                    return (*items, args[0])
                if op == "pop":
                    return items[:-1] if items and items[-1] == result else None
                raise ValueError(op)

            history = histories.History()
            for item in "ab":
                history.call("Ann", "push", item).finish()
            history.call("Bob", "pop").finish("b")
            assert history.check(stack)
        """
        __tracebackhide__ = True  # pytest shows the line that checks
        if not callable(model):
            raise TypeError(f"model must be a function of (state, op, args, result), not {model!r}")
        if consistency not in get_args(Consistency):
            raise ValueError(f"consistency must be one of {', '.join(get_args(Consistency))}, not {consistency!r}")
        if isinstance(budget, bool) or not isinstance(budget, int):
            raise TypeError(f"budget must be an integer, not {budget!r}")
        if budget < 1:
            raise ValueError(f"budget must be at least 1, got {budget}")
        if consistency == "linearizable":
            search = linearize
            partition = partition or usual_partition(model)
        elif partition is not None:
            # Two registers can each be consistent, and no order of both be.
            raise ValueError('partition= is for linearizability: consistency="sequential" is not decided key by key')
        else:
            search = sequence
        undecided: list[object] = []
        for key, calls in self._parts(partition):
            verdict = search(calls, model, initial=initial, budget=budget)
            if verdict.holds is None:
                undecided.append(key)
            elif not verdict.holds:
                # What began after the last of them is no part of what shows it.
                last = max(call.ended or 0 for call in verdict.stuck)
                text = counterexample(
                    [call for call in calls if call.began is not None and call.began < last],
                    verdict.stuck,
                    verdict.states,
                    what=_WHAT[consistency],
                    key=None if partition is None else key,
                    about=_ABOUT[consistency],
                )
                raise AssertionError(text)
        if undecided:
            of_keys = "" if partition is None else f" for {len(undecided)} keys, {undecided[0]!r} first"
            warnings.warn(
                f"not decided{of_keys}: {budget} applications of the model did not find an order that makes the "
                f"history {_WHAT[consistency]}, nor that there is none. Check by key (partition=), have fewer "
                "operations at a time or fewer that stay open, or give it more (budget=)",
                UndecidedWarning,
                stacklevel=2,
            )
        return not undecided

    def _parts(self, partition: Callable[[Call], Hashable] | None) -> list[tuple[object, list[Call]]]:
        """Return the operations by their keys, in the order in which these came up."""
        if partition is None:
            return [(None, list(self.calls))]
        parts: dict[Hashable, list[Call]] = {}
        for call in self.calls:
            parts.setdefault(partition(call), []).append(call)
        return list(parts.items())

    def __len__(self) -> int:
        return len(self.calls)

    def __str__(self) -> str:
        calls = self.calls
        earlier = [f"  ({len(calls) - MAX_ROWS} earlier operations)"] if len(calls) > MAX_ROWS else []
        return "\n".join([*earlier, *timeline(calls)])

    def __repr__(self) -> str:
        return f"<History of {len(self.calls)} operations>"
