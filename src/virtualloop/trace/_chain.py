"""The steps that matter: what of a run leads to its failure.

Owns the choice of rows for a story, and what stands in place of those left out. Knows no words of steps and events, and
nothing of what a failure is beyond the point at which the run had failed.

A story is told from its end. The step that failed has a cause, the step that woke it, and that one has a cause: the
chain. Where the run left asyncio's order is of interest with what it concerned and what it overtook. Notes, choices,
what happened to hosts, cancellations and exceptions are told as far as there is room, the last ones first. Latencies
are counted, unless there are few of them, or one is on the chain: a slow network delays everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from virtualloop._core.record import Event
from virtualloop._words import counted, listed
from virtualloop.trace._history import History
from virtualloop.trace._narrator import Narrator
from virtualloop.trace._table import Row, blocks, formatted, rows

__all__ = ["failing_steps", "story", "telling"]

#: A run of up to so many rows is told whole.
SHORT_RUN = 24
#: So many causes of the step that failed are told before all else, and so many in all.
NEAR, FAR = 8, 24
#: The rows before the end: what else happened when it failed.
AT_THE_END = 3
#: So many steps are told that ran while an event was late, and around any other deviation.
OVERTAKERS, AROUND = 3, 2
#: Faults of the network that happen all the time where they can; up to so many of them are told one by one.
QUIET = frozenset({"latency", "fragment", "coalesce"})
FEW_QUIET = 3
#: Of deviations of one kind so many are told.
MAX_OF_A_KIND = 6
#: Tasks that hang are told of, up to so many.
MAX_HANGING = 6
#: What came of it is told of so many deviations, the last ones, and looked for in so many steps.
NEAREST = 2
FOLLOWING = 60
#: Where more tasks than this wait at once, they do not race.
MAX_RIVALS = 4
#: A task's steps between the same two lines are told of so often.
MAX_ALIKE = 3
#: What is repeated in blocks of up to so many rows is told once, and counted.
MAX_PERIOD = 6


def story(narrator: Narrator, *, room: int, width: int) -> list[str]:
    """Return what led to the failure of a run, in at most `room` lines."""
    found = rows_until_failure(narrator)
    told = {id(event) for event in telling(narrator.history, [row.event for row in found if row.event])}
    found = [row for row in found if row.event is None or row.event.kind not in QUIET or id(row.event) in told]
    if len(found) <= min(SHORT_RUN, room):
        return formatted(found, width=width)
    # A choice that went as in a plain run is none to wonder about.
    found = [row for row in found if row.event is None or row.event.kind != "user" or row.event.deviates]
    history = narrator.history
    repeated = _repetitions(found)
    chosen = _chosen(history, found, repeated, room)
    while True:
        # What stands for a single row takes as much room as that row.
        around = {*chosen, -1, len(found)}
        single = {k for k in range(len(found)) if {k - 1, k + 1} <= around and not _is_of_library(history, found[k])}
        lines = _lines(history, found, repeated, sorted({*chosen, *single}), width)
        if len(lines) <= room or len(chosen) == 1:
            return lines
        chosen.pop()  # A row may take two lines.


def _lines(
    history: History, found: Sequence[Row], repeated: Mapping[int, int], chosen: Sequence[int], width: int
) -> list[str]:
    """Return the lines of the chosen rows, and of what is left out between them."""
    texts = iter(blocks([found[k] for k in chosen], width=width))
    lines: list[str] = []
    before = -1
    for k in [*chosen, len(found)]:
        if k > before + 1:
            lines.append(f"  ... {_left_out(history, found, repeated, range(before + 1, k))}")
        lines += [] if k == len(found) else next(texts)
        before = k
    return lines


def rows_until_failure(narrator: Narrator) -> list[Row]:
    """Return the rows of a run but for those of the clean-up after its failure."""
    history = narrator.history
    if history.failed_at is None:
        return rows(narrator)
    return [
        row
        for row in rows(narrator)
        if not (history.is_clean_up(row.event) if row.event else row.step >= history.failed_at)
    ]


def failing_steps(history: History) -> list[int]:
    """Return the steps with which a run failed, the last one first: what raised or, where it hangs, who waits."""
    end = len(history.steps) if history.failed_at is None else history.failed_at
    last: dict[int, int] = {}
    for number in range(end):
        subject = history.steps[number].subject
        if isinstance(subject, int):
            last.pop(subject, None)
            last[subject] = number
    if not last:
        return []
    main = last[next(number for number in history.names if number in last)]
    if history.fate(main) in ("raises", "cancelled"):
        return [main]
    raised = [number for number in range(end - 1, -1, -1) if history.fate(number) == "raises"]
    if history.fate(main) == "waits":
        hanging = [number for number in reversed(last.values()) if history.fate(number) == "waits" and number != main]
        return [main, *hanging[: MAX_HANGING - 1], *raised[:1]]
    return raised[:1] or [main]


def telling(history: History, events: Iterable[Event]) -> list[Event]:
    """Return the deviations that are worth telling, in order."""
    deviations = [event for event in events if event.deviates]
    quiet = [event for event in deviations if event.kind in QUIET]
    few = len(quiet) <= FEW_QUIET
    on_chain: set[int] = set()
    if quiet and not few:
        for root in failing_steps(history):
            on_chain.update(_all_causes(history, root))
    seen: Counter[str] = Counter()
    found = []
    # The last ones are the nearest to the failure.
    for event in reversed(deviations):
        if event.kind not in QUIET or few or event.step in on_chain:
            seen[event.kind] += 1
            if seen[event.kind] <= (FEW_QUIET if event.kind in QUIET else MAX_OF_A_KIND):
                found.append(event)
    return found[::-1]


def _all_causes(history: History, number: int) -> Iterator[int]:
    """Yield a step and all that led to it, hidden ones as well, the nearest first."""
    at: int | None = number
    while at is not None:
        yield at
        waker = history.steps[at].waker
        at = history.before[at] if waker is None else waker


def _chosen(history: History, found: Sequence[Row], repeated: Mapping[int, int], room: int) -> list[int]:
    """Return the rows to be told, what matters most first."""
    # A library's steps are nothing that its user could change, unless one of them is what failed.
    failing = failing_steps(history)
    row_of = {
        row.step: k
        for k, row in enumerate(found)
        if row.event is None and (history.library(row.step) is None or row.step in failing)
    }
    chosen: dict[int, None] = {}
    chosen.update(dict.fromkeys(row_of[step] for step in failing if step in row_of))
    # What a task does at one line again and again is of no more interest the third time.
    alike: Counter[tuple[str, str]] = Counter()
    for k in _by_weight(history, found, repeated, row_of):
        if k in chosen or k in repeated or _length({*chosen, k}, len(found)) > room:
            continue
        row = found[k]
        alike[row.who, row.where] += row.event is None
        if row.event is not None or alike[row.who, row.where] <= MAX_ALIKE or _is_remarkable(history, row.step):
            chosen[k] = None
    return list(chosen)


def _length(chosen: set[int], total: int) -> int:
    """Return how many lines some rows take, with those that stand for what is left out between them."""
    gaps = sum(k + 1 not in chosen and k + 1 < total for k in chosen)
    return len(chosen) + gaps + (0 not in chosen)


def _by_weight(
    history: History, found: Sequence[Row], repeated: Mapping[int, int], row_of: Mapping[int, int]
) -> Iterator[int]:
    """Yield rows, what matters most first; some come more than once."""
    roots = [step for step in failing_steps(history) if step in row_of]
    causes = (step for root in roots[:1] for step in _all_causes(history, root))
    chain = [step for step in causes if step in row_of and row_of[step] not in repeated]
    places: dict[tuple[int, int | None], list[int]] = {}
    last: dict[object, int] = {}
    for step in row_of:
        places.setdefault(_place(history, step), []).append(step)
        last[history.steps[step].subject] = step
    told = telling(history, (row.event for row in found if row.event))
    event_rows = {id(row.event): k for k, row in enumerate(found) if row.event}
    yield from (row_of[root] for root in roots)
    yield from (row_of[step] for step in list(reversed(row_of))[:1])
    yield from (event_rows[id(event)] for event in reversed(told))
    # What one task had been handed another one's cancel() took away.
    overruled = [step for step in reversed(row_of) if history.was_overruled(step)]
    yield from (row_of[step] for step in overruled[:MAX_OF_A_KIND])
    # What the test says of itself says more than what happened around it.
    notes = [k for k in range(len(found) - 1, -1, -1) if (event := found[k].event) and event.kind == "note"]
    yield from notes[:MAX_OF_A_KIND]
    for event in reversed(told):
        yield from _rows_of(row_of, [history.about(event)])
    # What led to the end may have begun long before, where it left asyncio's order; else it is near.
    near = NEAR // 2 if told else NEAR
    yield from (row_of[step] for step in chain[:near])
    yield from (row_of[step] for step in list(reversed(row_of))[:AT_THE_END])
    if not told:
        yield from _rows_of(row_of, _meetings(history, chain[:near], places))
    for k in range(len(found) - 1, -1, -1):
        event = found[k].event
        if event is not None and event.kind == "incident":
            yield k
    yield from notes
    remarkable = [step for step in reversed(row_of) if _is_remarkable(history, step)]
    yield from (row_of[step] for step in remarkable[:MAX_OF_A_KIND])
    for k, event in enumerate(reversed(told)):
        concerned = list(_concerned(history, event, row_of))
        yield from _rows_of(row_of, concerned)
        if k < NEAREST:
            # What came of it: who has met whom, and how each of them ended.
            following = (step for step in range(event.step, len(history.steps)) if step in row_of)
            yield from _rows_of(row_of, _meetings(history, islice(following, FOLLOWING), places))
            yield from _rows_of(row_of, dict.fromkeys(last[history.steps[step].subject] for step in concerned))
    yield from (row_of[step] for step in remarkable)
    yield from (row_of[step] for step in chain[near:NEAR])
    yield from _rows_of(row_of, _meetings(history, chain[:NEAR], places))
    yield from (row_of[step] for step in chain[NEAR:FAR])
    for root in roots:
        yield from (row_of[step] for step in _all_causes(history, root) if step in row_of)
    if len(row_of) < sum(row.event is None for row in found):
        # Between the steps of a library there are few of the reader's.
        yield from (row_of[step] for step in reversed(row_of) if history.line(step) is not None)


def _place(history: History, number: int) -> tuple[int, int | None]:
    step = history.steps[number]
    return (id(step.code), step.offset)


def _meetings(
    history: History, steps: Iterable[int], places: Mapping[tuple[int, int | None], Sequence[int]]
) -> Iterator[int]:
    """Yield steps with which several tasks came to rest at one place at once, and what they did then, once a place.

    That both have looked, and not yet acted, is what most races are. A place where many wait at once is none.
    """
    seen = set()
    for number in steps:
        place = _place(history, number)
        if place in seen or history.fate(number) != "waits" or history.steps[number].code is None:
            continue
        until = _end_of_rest(history, number)
        there = [
            other
            for other in places.get(place, ())
            if history.fate(other) == "waits" and other < until and _end_of_rest(history, other) > number
        ]
        if 1 < len(there) <= MAX_RIVALS:
            seen.add(place)
            yield from (step for other in there for step in (other, history.after[other]) if step is not None)


def _end_of_rest(history: History, number: int) -> int:
    after = history.after[number]
    return len(history.steps) if after is None else after


def _rows_of(row_of: Mapping[int, int], steps: Iterable[int]) -> Iterator[int]:
    return (row_of[step] for step in steps if step in row_of)


def _is_remarkable(history: History, number: int) -> bool:
    """Return whether a step raised, was cancelled, or cancels another one."""
    return (
        history.fate(number) in ("raises", "cancelled")
        or history.steps[number].detail is True
        or any(event.kind == "cancels" for event in history.inside(number))
    )


def _concerned(history: History, event: Event, row_of: Mapping[int, int]) -> Iterator[int]:
    """Yield the steps that a deviation is to be read with: where it comes from, and what it overtook."""
    if event.kind == "hold":
        waker, due, _ = event.data
        while waker is not None and waker not in row_of:
            waker = history.steps[waker].waker
        if waker is not None:
            yield waker
        before = [step for step in range(event.step - 1, -1, -1) if step in row_of][: 4 * OVERTAKERS]
        overtaking = [step for step in before if due is not None and history.steps[step].tick >= due]
        yield from (overtaking or before)[:OVERTAKERS]
    after = (step for step in range(event.step, len(history.steps)) if step in row_of)
    yield from (step for step, _ in zip(after, range(AROUND), strict=False))
    if event.kind not in QUIET:
        earlier = (step for step in range(event.step - 1, -1, -1) if step in row_of)
        yield from (step for step, _ in zip(earlier, range(AROUND), strict=False))


# --- what is left out -------------------------------------------------------------------------------------------------


def _repetitions(found: Sequence[Row]) -> dict[int, int]:
    """Return the rows that only repeat what the ones before them say, and how many of these that takes."""
    keys = [(row.who, row.what, row.where, row.event and row.event.kind) for row in found]
    repeated: dict[int, int] = {}
    for period in range(1, MAX_PERIOD + 1):
        run = 0
        for k in range(period, len(keys) + 1):
            if k < len(keys) and keys[k] == keys[k - period]:
                run += 1
                continue
            # One that only looks the same is none.
            if run >= max(2, period):
                for each in range(k - run, k - run % period):
                    repeated.setdefault(each, period)
            run = 0
    return repeated


def _is_of_library(history: History, row: Row) -> bool:
    return row.event is None and history.library(row.step) is not None


def _left_out(history: History, found: Sequence[Row], repeated: Mapping[int, int], gap: range) -> str:
    """Return what stands in place of some rows."""
    periods = {repeated.get(k, 0) for k in gap}
    period = periods.pop() if len(periods) == 1 else 0
    if period and len(gap) % period == 0:
        return f"the same {counted(len(gap) // period, 'time')} more"
    left = [found[k] for k in gap]
    steps = [row.step for row in left if row.event is None]
    libraries = Counter(name for step in steps if (name := history.library(step)) is not None)
    if libraries and sum(libraries.values()) == len(steps):
        parts = [f"{counted(len(steps), 'step')} in {listed(sorted(libraries))}"]
    else:
        parts = [counted(len(steps), "step")] if steps else []
    kinds = Counter(event.kind for row in left if (event := row.event))
    notes = kinds.pop("note", 0)
    if notes:
        parts.append(counted(notes, "note"))
    others = sum(kinds.values())
    if others:
        parts.append(counted(others, "other event" if parts else "event"))
    return listed(parts)
