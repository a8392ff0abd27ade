"""Who waits for each other in a circle.

Owns that question and nothing else: whatever can be hashed may wait for whatever else; knows no tasks and no asyncio.
A chain of thousands costs what it takes to walk along it once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

__all__ = ["circles"]

_T = TypeVar("_T")


def circles(waits: Mapping[_T, Collection[_T]]) -> list[list[_T]]:
    """Return circles, each in the order of waiting, and the shortest through its first; nothing is in two of them.

    `waits` says whom each one waits for; who is not among its keys waits for nobody.
    """
    place = {each: k for k, each in enumerate(waits)}
    found = []
    left = list(_knots(waits, set(waits)))
    while left:
        knot = left.pop()
        circle = _shortest(min(knot, key=place.__getitem__), waits, knot)
        found.append(circle)
        # Without this one, others of the knot may still be in a circle.
        left += _knots(waits, knot.difference(circle))
    return sorted(found, key=lambda circle: place[circle[0]])


def _knots(waits: Mapping[_T, Collection[_T]], among: Collection[_T]) -> Iterator[set[_T]]:
    """Return those who can reach each other by waiting, set by set (Tarjan's strongly connected components)."""
    number: dict[_T, int] = {}
    lowest: dict[_T, int] = {}
    path: list[_T] = []
    on_path: set[_T] = set()
    for root in among:
        if root in number:
            continue
        walk = [(root, iter(waits[root]))]
        number[root] = lowest[root] = len(number)
        path.append(root)
        on_path.add(root)
        while walk:
            each, others = walk[-1]
            other = next(
                (other for other in others if other in among and (other in on_path or other not in number)), None
            )
            if other is None:
                walk.pop()
                if walk:
                    before = walk[-1][0]
                    lowest[before] = min(lowest[before], lowest[each])
                if lowest[each] == number[each]:
                    knot = set()
                    while each not in knot:
                        knot.add(path.pop())
                    on_path -= knot
                    if len(knot) > 1 or each in waits[each]:
                        yield knot
            elif other in number:
                lowest[each] = min(lowest[each], number[other])
            else:
                walk.append((other, iter(waits[other])))
                number[other] = lowest[other] = len(number)
                path.append(other)
                on_path.add(other)


def _shortest(start: _T, waits: Mapping[_T, Collection[_T]], knot: Collection[_T]) -> list[_T]:
    """Return the shortest way from `start` back to itself within the knot that it is in."""
    came_from: dict[_T, _T] = {}
    ways = deque([start])
    while start not in came_from:
        each = ways.popleft()
        for other in waits[each]:
            if other in knot and other not in came_from:
                came_from[other] = each
                ways.append(other)
    way = [came_from[start]]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]
