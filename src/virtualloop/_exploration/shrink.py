"""How a failing run is made small: fewer deviations first, then smaller ones.

Owns the strategy and nothing else: what a run is, and whether it still fails in the same way, is for the caller to say.

A run is a list of answers, of which those other than 0 are deviations. Taking one away changes what the program asks
from there on, so a candidate is only a proposal: the caller runs it, and gives back the answers of the run that came of
it. A candidate is kept if the run fails in the same way and is simpler, so the result is never worse than the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import tee

__all__ = ["deviations", "shrink"]

#: Runs candidates, one after the other as they are asked for; gives for each the answers of the run if it failed in the
#: same way, else None.
Attempts = Callable[[Iterator[list[int]]], Iterator[Sequence[int] | None]]
#: Groups the deviations of the best run by what they are about: their positions, for those that go together.
Groups = Callable[[], Sequence[Sequence[int]]]

#: How many questions may disappear with a deviation, or appear: a held event is asked about again, a connection that is
#: not reset goes on.
SHIFTS = (1, 2, 3, 4, 6, 8, 12, 16)


def deviations(answers: Sequence[int]) -> list[int]:
    """Return the positions of the answers other than 0."""
    return [position for position, answer in enumerate(answers) if answer]


def shrink(answers: Sequence[int], attempts: Attempts, groups: Groups = tuple) -> Iterator[Sequence[int]]:
    """Give simpler and simpler failing answers, starting from failing ones; those that are given last are the simplest.

    What is not consumed is not tried, so whoever has enough of it stops.
    """
    best = answers
    tried = {_trimmed(answers)}
    progress = True
    while progress:
        progress = False
        ahead, behind = tee(_untried(_candidates(best, groups()), tried))
        # Others may be run ahead of the one that is looked at; only what was looked at has been tried.
        for candidate, result in zip(behind, attempts(ahead), strict=False):
            tried.add(_trimmed(candidate))
            if result is not None and _weight(result) < _weight(best):
                best = result
                tried.add(_trimmed(result))
                progress = True
                yield best
                break


def _untried(candidates: Iterator[list[int]], tried: set[tuple[int, ...]]) -> Iterator[list[int]]:
    proposed: set[tuple[int, ...]] = set()
    for candidate in candidates:
        key = _trimmed(candidate)
        if key not in tried and key not in proposed:
            proposed.add(key)
            yield candidate


def _weight(answers: Sequence[int]) -> tuple[int, int, list[int]]:
    """Return what makes a run simple: few deviations, small ones, and early ones."""
    positions = deviations(answers)
    return len(positions), sum(answers[position] for position in positions), positions


def _trimmed(answers: Sequence[int]) -> tuple[int, ...]:
    end = max(deviations(answers), default=-1) + 1
    return tuple(answers[:end])


def _candidates(answers: Sequence[int], groups: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Propose simpler answers, those that would save most first."""
    positions = deviations(answers)
    # Without any of one kind, such as hundreds of latencies; the largest group first.
    for group in sorted(groups, key=len, reverse=True):
        if 1 < len(group) < len(positions):
            candidate = list(answers)
            for position in group:
                candidate[position] = 0
            yield candidate
    # Without a part of the deviations: all, halves, quarters, down to single ones. Later ones go first, because they
    # leave the questions before them as they are.
    size = len(positions)
    while size:
        for end in range(len(positions), 0, -size):
            candidate = list(answers)
            for position in positions[max(end - size, 0) : end]:
                candidate[position] = 0
            yield candidate
        size //= 2
    # Without a deviation and the questions that came of it, or with those that come instead, so that the deviations
    # behind stay where they belong.
    for shift in SHIFTS:
        for position in reversed(positions):
            yield [*answers[:position], *answers[position + shift :]]
            if position != positions[-1]:
                yield [*answers[:position], *[0] * (shift + 1), *answers[position + 1 :]]
    for position in reversed(positions):
        answer = answers[position]
        # Less by all, by a half, by a quarter, down to one: what is needed is found as in a binary search.
        steps = [answer >> k for k in range(1, answer.bit_length())]
        for smaller in dict.fromkeys([1, *(answer - step for step in steps)]):
            if smaller == answer:
                continue
            candidate = list(answers)
            candidate[position] = smaller
            yield candidate
