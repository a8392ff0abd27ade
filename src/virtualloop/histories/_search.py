"""Whether some order of the operations explains all their results, one after the other.

Owns the search and nothing else: it knows calls by where they began and ended, and an object by its model.

*Linearizable* means: each operation takes effect at one moment between its beginning and its end. The search follows
the history from return to return, and has an operation take effect as late as it can: at its own return, or just before
an operation that returns earlier and needs it. (Wing and Gong 1993; Lowe 2017; which states were reached with which
operations ahead is remembered, so that nothing is tried twice.) What has not returned may take effect at any later
moment, or never.

*Sequentially consistent* means: there is an order in which each client's own operations stay in theirs. Whose clock
says what does not count.

Both are hard in general, and easy for what correct programs do. So the search has a budget, counted in applications of
the model: the same history has the same verdict on every machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

from virtualloop.histories._call import UNKNOWN, Call, Model, short

__all__ = ["Verdict", "linearize", "sequence"]


class Verdict(NamedTuple):
    """What came of a search."""

    #: Whether there is an order; None if the budget ended before that was decided.
    holds: bool | None
    #: If there is none: the calls that no order gets past, and the states that the object may have been in before.
    stuck: tuple[Call, ...] = ()
    states: tuple[Any, ...] = ()


class _OutOfBudget(Exception):  # noqa: N818  # no error: it ends a search
    """The model was applied as often as it may be."""


class _Node(NamedTuple):
    """A point in the search: which calls have taken effect, as bits, and what state that led to."""

    bits: int
    state: Any

    def key(self) -> Hashable:
        return self.bits, _hashable(self.state)


def linearize(calls: Sequence[Call], model: Model, *, initial: Any, budget: int) -> Verdict:
    """Return whether the calls, which are in the order of their beginnings, are linearizable."""
    apply = _limited(model, budget)
    bit = {id(call): 1 << number for number, call in enumerate(calls)}
    returns = sorted((call for call in calls if call.ended is not None), key=_end_of)
    # Those that could take effect before each return.
    pending = [[call for call in calls if _begin_of(call) < _end_of(last) <= _end_of(call)] for last in returns]
    # The nodes that were met before each return, and after the last one.
    seen: list[dict[Hashable, Any]] = [{} for _ in range(len(returns) + 1)]

    def is_new(number: int, node: _Node) -> bool:
        known, key = seen[number], node.key()
        if key in known:
            return False
        known[key] = node.state
        return True

    def beyond(number: int, start: _Node) -> Iterator[_Node]:
        """Give the nodes behind a return: those first before which the fewest other calls take effect."""
        last = returns[number]
        own = bit[id(last)]
        if start.bits & own:
            yield _Node(start.bits ^ own, start.state)
            return
        waiting = deque([start])
        while waiting:
            bits, state = waiting.popleft()
            after = apply(state, last)
            if after is not None:
                yield _Node(bits, after)
            for call in pending[number]:
                ahead = bit[id(call)]
                if call is not last and not bits & ahead:
                    after = apply(state, call)
                    if after is not None and is_new(number, node := _Node(bits | ahead, after)):
                        waiting.append(node)

    root = _Node(0, initial)
    is_new(0, root)
    path = [beyond(0, root)] if returns else []
    furthest = 0
    try:
        while path:
            node = next(path[-1], None)
            if node is None:
                path.pop()
            elif is_new(len(path), node):
                furthest = max(furthest, len(path))
                if len(path) == len(returns):
                    break
                path.append(beyond(len(path), node))
    except _OutOfBudget:
        return Verdict(holds=None)
    if path or not returns:
        return Verdict(holds=True)
    return Verdict(False, (returns[furthest],), _distinct(seen[furthest].values()))


def sequence(calls: Sequence[Call], model: Model, *, initial: Any, budget: int) -> Verdict:
    """Return whether the calls, which are in the order of their beginnings, are sequentially consistent."""
    # What is linearizable is that, too, and much sooner found to be.
    if linearize(calls, model, initial=initial, budget=budget // 2).holds:
        return Verdict(holds=True)
    apply = _limited(model, budget - budget // 2)
    needed = sum(1 << number for number, call in enumerate(calls) if call.ended is not None)
    clients: dict[Hashable, int] = {}
    # Those of the same client that had returned before each call began.
    before: list[int] = []
    for number, call in enumerate(calls):
        own = clients.get(call.client, 0)
        before.append(sum(1 << other for other in _numbers(own) if _end_of(calls[other]) < _begin_of(call)))
        clients[call.client] = own | 1 << number

    def may_be_next(bits: int) -> Iterator[int]:
        for own in clients.values():
            for number in _numbers(own & ~bits):
                if before[number] & ~bits:
                    break  # it waits for one of those, and so does what came after it
                yield number

    def beyond(node: _Node) -> Iterator[_Node]:
        later: list[_Node] = []
        key = _hashable(node.state)
        # What began first took effect first more often than not.
        for number in sorted(may_be_next(node.bits)):
            after = apply(node.state, calls[number])
            if after is not None:
                following = _Node(node.bits | 1 << number, after)
                # What changes nothing is seldom in anybody's way.
                if _hashable(after) == key:
                    yield following
                else:
                    later.append(following)
        yield from later

    root = _Node(0, initial)
    seen = {root.key()}
    path = [beyond(root)]
    furthest = [root]
    try:
        while path and needed:
            node = next(path[-1], None)
            if node is None:
                path.pop()
            elif (key := node.key()) not in seen:
                seen.add(key)
                if node.bits & needed == needed:
                    break
                path.append(beyond(node))
                got = (node.bits & needed).bit_count() - (furthest[0].bits & needed).bit_count()
                if got >= 0:
                    furthest = [*(furthest if got == 0 else ()), node]
    except _OutOfBudget:
        return Verdict(holds=None)
    if path:
        return Verdict(holds=True)
    left = ~furthest[0].bits & needed
    stuck = tuple(
        call for number, call in enumerate(calls) if left >> number & 1 and before[number] & ~furthest[0].bits == 0
    )
    states = [node.state for node in furthest if node.bits == furthest[0].bits]
    return Verdict(False, stuck, _distinct(states))


def _limited(model: Model, budget: int) -> Callable[[Any, Call], Any]:
    """Return what applies the model to a state and a call, so many times at most."""
    left = budget

    def apply(state: Any, call: Call) -> Any:
        nonlocal left
        if left == 0:
            raise _OutOfBudget
        left -= 1
        try:
            return model(state, call.op, call.args, UNKNOWN if call.ended is None else call.result)
        except Exception as exc:
            exc.add_note(f"raised by the model {model!r} for {call.text()} in the state {short(state)}")
            raise

    return apply


def _numbers(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _begin_of(call: Call) -> int:
    assert call.began is not None, "discarded calls are no part of a history"
    return call.began


def _end_of(call: Call) -> float:
    return float("inf") if call.ended is None else call.ended


def _hashable(state: Any) -> Hashable:
    """Return what is equal for equal states: a state itself, or what a dict, a list or a set of it holds."""
    try:
        hash(state)
    except TypeError:
        if isinstance(state, dict):
            return "dict", frozenset((key, _hashable(value)) for key, value in state.items())
        if isinstance(state, list | tuple):
            return type(state).__name__, tuple(map(_hashable, state))
        if isinstance(state, set):
            return "set", frozenset(state)
        raise TypeError(
            f"states of a model are compared, and {state!r} has no hash: make it a tuple, a frozenset, a dict or a "
            "frozen dataclass"
        ) from None
    else:
        return state  # type: ignore[no-any-return]  # it has a hash


def _distinct(states: Any) -> tuple[Any, ...]:
    return tuple({_hashable(state): state for state in states}.values())
