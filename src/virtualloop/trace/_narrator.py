"""What is said of a run: who did what, why, and at which line; and where it left stock asyncio's order.

Owns the sentences; text, timeline and other forms of a trace are all made from these. Knows nothing of columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import CodeType

from virtualloop._core.lateness import CLOSE
from virtualloop._core.record import Event
from virtualloop._words import counted, duration, listed, seconds
from virtualloop.trace._history import TIMEOUTS, History, called, has_default_name, is_of_network, is_of_thread

__all__ = ["ORDER_KINDS", "Narrator"]

#: The name of the callback that hands over what a thread has sent; and of that which ends a thread's sleep.
SENT = "Inbox.let_in"
END_OF_THREADS_SLEEP = "Sleepers.wait_until.<locals>.wake"

#: Where the task of anyio's plugin rests that runs a test and its fixtures, one after the other.
HOST = "Host._fixtures_and_test"

#: The kinds of deviations from asyncio's order; all others are faults of the network.
ORDER_KINDS = frozenset({"late", "hold", "task", "cancel", "user"})


#: What a line awaits is told as it is written there up to so many characters.
MAX_WRITTEN = 48
#: So many tasks in a row are named by the first and the last.
MIN_RUN = 3


class Narrator:
    """One who tells a history."""

    def __init__(self, history: History) -> None:
        self.history = history

    def heading(self) -> str:
        """Return what the whole run comes to, in one line."""
        history = self.history
        faults = sum(event.deviates and event.kind not in ORDER_KINDS for event in history.events)
        deviations = sum(event.deviates for event in history.events) - faults
        order = f"{counted(deviations, 'deviation')} from asyncio's order" if deviations else "asyncio's own order"
        if faults:
            order += f", {counted(faults, 'fault')} of the network"
        ended = seconds(history.steps[-1].tick) if history.steps else "0"
        return (
            f"{history.title or 'no loop yet'}: {counted(len(history.visible), 'step')} of "
            f"{counted(len(history.names), 'task')} until t={ended}, {order}"
        )

    # --- why ----------------------------------------------------------------------------------------------------------

    def why(self, number: int) -> str:
        """Return how it came to a step."""
        history = self.history
        step = history.steps[number]
        cause = history.cause(number)
        by = None if cause is None else history.who(cause)
        if not isinstance(step.subject, int):
            if step.detail is not None:
                return f"timer of {by}" if by else "timer"
            return f"queued by {by}" if by else "queued from outside"
        over = " over the network" if history.is_sent(number) else ""
        cancelled = self._cancelled(number)
        if history.is_first(number):
            starts = f"starts, created by {by}{over}" if by else "starts"
            return f"{starts}, {cancelled}" if cancelled else starts
        if cancelled is not None:
            return cancelled
        timer = history.timer(number)
        own = cause is not None and history.steps[cause].subject == step.subject
        if over and not step.detail:
            return "woken by the network" if own or by is None else f"woken by {by}{over}"
        if timer is not None:
            kind = "timeout" if history.code_name(timer) in TIMEOUTS else "timer"
            by = f"its {kind}" if own else f"a {kind} of {by}" if by else f"a {kind}"
        elif cause is None:
            return f"{'cancelled' if step.detail else 'woken'} {self._outside(number)}"
        if step.detail:
            if history.was_overruled(number):
                # Its task is of a class that does not say who did it.
                return f"{'wakes up' if own else f'woken by {by}'}, then cancelled"
            if cause is not None and not own and history.steps[cause].awaits == "cancelled":
                return f"woken by {by}, which was cancelled"
            return f"cancelled by {'itself' if own and timer is None else by}"
        if own:
            return "goes on" if timer is None else "wakes up" if by == "its timer" else "timed out"
        return f"woken by {by}"

    def _cancelled(self, number: int) -> str | None:
        """Return who called cancel() for a step, and what had woken its task before that, or None."""
        history = self.history
        call = history.cancellation(number)
        if call is None:
            return None
        if call.kind == "cancel":
            return "cancelled by the exploration"
        cancelled = f"cancelled by {self._canceller(call.step, number)}"
        if history.is_first(number) or not history.was_overruled(number):
            return cancelled
        cause = history.cause(number)
        own = cause is not None and history.steps[cause].subject == history.steps[number].subject
        if own and history.timer(number) is None:
            return cancelled  # It had not waited for anything.
        by = "wakes up" if own else "woken from outside" if cause is None else f"woken by {history.who(cause)}"
        return f"{by}, then {cancelled}"

    def _canceller(self, canceller: int, number: int) -> str:
        """Return who cancelled the task of a step."""
        history = self.history
        visible = history.cause(canceller) if history.is_hidden(canceller) else canceller
        own = visible is not None and history.steps[visible].subject == history.steps[number].subject
        by = None if visible is None else history.who(visible)
        if history.is_hidden(canceller) and history.is_by_network(canceller):
            return "the network" if own or by is None else f"{by} over the network"
        if history.is_hidden(canceller) and history.steps[canceller].detail is not None:
            kind = "timeout" if history.code_name(canceller) in TIMEOUTS else "timer"
            return f"its {kind}" if own else f"a {kind} of {by}" if by else f"a {kind}"
        return "itself" if own else by or "asyncio"

    def _outside(self, number: int) -> str:
        """Return who resumed a task that no step did."""
        history = self.history
        waker = history.steps[number].waker
        while waker is not None:
            if is_of_thread(history.steps[waker].subject):
                return "by a thread"
            waker = history.steps[waker].waker
        before = history.before[number]
        awaited = None if before is None else history.steps[before].awaits
        match awaited.co_name if isinstance(awaited, CodeType) else None:
            case "advance" | "run_until_idle":
                return "by the loop, all else being settled"
            case "to_thread":
                return "by a thread"
            case "_fixtures_and_test":
                return "by pytest"
        return "from outside"

    # --- what ---------------------------------------------------------------------------------------------------------

    def deeds(self, number: int) -> list[str]:
        """Return what a step did, the last one being how it ended."""
        history = self.history
        step = history.steps[number]
        created, woken, queued = [], [], []
        for other in history.led_to(number):
            if not history.is_task(other):
                queued.append(history.who(other))
            elif history.is_first(other):
                created.append(history.who(other))
            elif history.steps[other].subject != step.subject:
                woken.append(history.who(other))
        sent: dict[str, int] = {}
        cancelled: dict[str, list[str]] = {}
        at_line: dict[str, str] = {}
        for event in history.inside(number):
            if event.kind == "send":
                target, size = event.data
                sent[target] = sent.get(target, 0) + size
            elif event.kind in ("cancels", "wakes"):
                task, code, offset = event.data
                place = f" ({history.line_in(code, offset)})" if code else ""
                if event.kind == "cancels":
                    cancelled.setdefault(place, []).append(history.names[task])
                elif task in history.names:
                    at_line.setdefault(history.names[task], place)
        victims = {name for names in cancelled.values() for name in names}
        deeds = []
        if created:
            deeds.append(f"creates {_listed(created)}")
        deeds += [f"cancels {_listed(dict.fromkeys(names))}{place}" for place, names in cancelled.items()]
        woken_at: dict[str, list[str]] = {}
        for name in dict.fromkeys(woken):
            if name not in victims:
                woken_at.setdefault(at_line.get(name, ""), []).append(name)
        deeds += [f"wakes {_listed(names)}{place}" for place, names in woken_at.items()]
        if queued:
            deeds.append(f"queues {listed(dict.fromkeys(queued))}")
        deeds += [f"sends {counted(size, 'byte')} to {target}" for target, size in sent.items()]
        end = self._end(number)
        return [*deeds, end] if end else deeds

    def _end(self, number: int) -> str:
        history = self.history
        step = history.steps[number]
        awaits = step.awaits
        if not isinstance(step.subject, int):
            return str(awaits) if awaits else ""
        if (raised := history.raised(number)) is not None:
            return raised
        if history.has_raised(number):
            return f"ends by {str(awaits).removeprefix('raises ').partition(':')[0]}"
        if isinstance(awaits, str):
            return {"returned": "ends", "cancelled": "ends, cancelled"}.get(awaits, awaits)
        if isinstance(awaits, CodeType):
            if awaits.co_qualname == "sleep":
                return self._sleep(number)
            if awaits.co_qualname == HOST:
                return "waits for pytest"
            if awaits.co_name == "__aexit__":
                return f"waits for the {awaits.co_qualname.split('.')[-2]}"
            # Which of asyncio's base classes a method stands in says nothing.
            operation = awaits.co_name if awaits.co_qualname.startswith("Base") else awaits.co_qualname
            return f"waits for {operation}()"
        if isinstance(awaits, int):
            name = history.names.get(awaits, f"Task-{awaits}")
            return f"waits for {name}" if has_default_name(name) else f"waits for task {name}"
        if isinstance(awaits, type):
            return "waits for gather()" if awaits.__name__ == "_GatheringFuture" else "waits for a future"
        return "yields"

    def _sleep(self, number: int) -> str:
        history = self.history
        length = history.sleep(number)
        if length is not None:
            return f"sleeps {duration(length)}"
        after = history.after[number]
        return "yields" if after is not None and history.steps[after].waker == number else "sleeps"

    def rest(self, number: int) -> str:
        """Return what a task waits for from this step on, in a word or two, or nothing."""
        end = self._end(number)
        return end.removeprefix("waits for ") if self.history.fate(number) == "waits" and end != "yields" else ""

    def awaited(self, number: int) -> str:
        """Return the same in the words of the line that waits, where it can be told from others by them."""
        rest = self.rest(number)
        written = self.history.awaited(number)
        if not rest or not written or len(written) > MAX_WRITTEN or rest.startswith(("sleeps", "task ", "Task-")):
            return rest
        # `async with lock:` awaits "lock".
        return written if written.endswith(")") else f"{written}: {rest}"

    def told(self, number: int) -> str:
        """Return why a step came and what it did."""
        return "; ".join([self.why(number), *self.deeds(number)])

    # --- where --------------------------------------------------------------------------------------------------------

    def where(self, number: int) -> str:
        """Return the lines between which a step ran: where it was resumed and where it came to rest."""
        history = self.history
        line = history.line(number)
        before = history.before[number]
        start = None if before is None else history.line_at_rest(before)
        if start is None or start == line:
            return str(line or "")
        if line is None:
            return str(start)
        return f"{start} -> {line.number if line.file == start.file else line}"

    # --- events -------------------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> str:
        """Return what an event is, in words."""
        data = event.data
        labels = self.history.labels
        match event.kind:
            case "late":
                idle, since, timers = data
                passed = duration(timers[-1][1] - since)
                late = dict.fromkeys(self._arrival(waker, subject)[0] for waker, _, subject in timers)
                due = listed(late) + (" are due" if len(late) > 1 else " is due")
                if idle:
                    return f"the loop wakes {passed} late, and {due} as well"
                return f"earlier callbacks took {passed}, and {due} already"
            case "hold":
                waker, due, subject = data
                what, arrives = self._arrival(waker, subject)
                if due is None:
                    return f"{what} is late, and has not {arrives[1]} when the run ends"
                late = event.tick - due  # a clock may be late by a tick itself
                how = "after later ones" if late <= 1 else f"{duration(late) if late > 2 * CLOSE else 'a moment'} late"
                return f"{what} {arrives[0]} {how}"
            case "task":
                first, other = data
                if isinstance(first, int):
                    return f"{labels[first]} resumes before {labels[other]}"
                return f"{self._callback(event.step, first)} runs before {labels[other]} resumes"
            case "cancel":
                number, waits = data
                return f"{labels[number]} is cancelled {'while it waits' if waits else 'before it goes on'}"
            case "user":
                shown, _, code, offset = data
                return f"choose() returns {shown} at {self.history.line_in(code, offset)}"
            case "note":
                return f"note: {data[0]}"
            case "incident":
                return str(data[0])
        return f"network: {data[0]}"

    def _callback(self, number: int, subject: CodeType | str) -> str:
        """Return what the plain callback that runs in a step is to the reader."""
        history = self.history
        if number == len(history.steps):  # The run ended in it.
            return called(subject)
        step = history.steps[number]
        if step.detail is not None:
            return self._arrival(step.waker, subject)[0]
        return called(subject) if step.waker is None else f"{called(subject)}, queued by {history.who(step.waker)},"

    def _arrival(self, waker: int | None, subject: CodeType | str) -> tuple[str, tuple[str, str]]:
        """Return what an external event is, by the step that brought it about, and the verb for its coming."""
        history = self.history
        if isinstance(subject, CodeType) and subject.co_qualname == END_OF_THREADS_SLEEP:
            return "a thread's sleep", ("ends", "ended")
        if isinstance(subject, CodeType) and is_of_thread(subject):
            what = "what a thread has sent" if subject.co_qualname == SENT else "the result of a thread"
            return what, ("arrives", "arrived")
        while waker is not None and history.is_hidden(waker):
            waker = history.steps[waker].waker
        line = None if waker is None else history.line_at_rest(waker)
        who = "the test" if waker is None else history.label(waker)
        where = f" ({line})" if line else ""
        if not is_of_network(subject):
            is_timeout = isinstance(subject, CodeType) and subject.co_qualname in TIMEOUTS
            return f"{who}'s {'timeout' if is_timeout else 'timer'}{where}", ("fires", "fired")
        has_sent = waker is not None and any(event.kind == "send" for event in history.inside(waker))
        what = f"what {who}{where} sent" if has_sent else f"the network's answer to {who}{where}"
        return what, ("arrives", "arrived")


def _listed(names: Iterable[str]) -> str:
    """Return names of tasks as a list in a sentence; of a row of numbers, the first and the last."""
    runs: list[list[str]] = []
    for name in names:
        previous = runs[-1][-1] if runs else ""
        if has_default_name(name) and has_default_name(previous) and _number(name) == _number(previous) + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    parts = [[f"{run[0]} to {run[-1]}"] if len(run) >= MIN_RUN else run for run in runs]
    return listed(part for several in parts for part in several)


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
