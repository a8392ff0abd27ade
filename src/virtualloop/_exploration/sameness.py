"""Whether the runs of a program are the same where their schedules are; and if not, in what they differ.

Owns what is told apart there: a program that does something else each time is refused, since nothing that is found in
it can be made small or made again; one that does the same in another order goes on. That is what a set of objects
does: its order is that of their addresses, any of them can happen, and a race in one is a race.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import zip_longest

from virtualloop._core.shown import without_addresses
from virtualloop._errors import VirtualLoopError
from virtualloop._exploration.leftovers import Leftovers
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.program import Program
from virtualloop._exploration.run import reads_outside
from virtualloop._exploration.search import Plan
from virtualloop._exploration.survey import Survey
from virtualloop._report.text import in_words
from virtualloop._report.tracebacks import name_of_foreign, readers_only
from virtualloop.trace import Trace

__all__ = ["ANOTHER_ORDER", "Sameness", "made_elsewhere", "was_made_elsewhere"]

#: Why a run may differ from one with the same schedule, in words.
NONDETERMINISM = (
    "it depends on something besides its schedule, such as the real time, the order of a set, an object's address, or "
    "what an earlier run has left behind (a module's global, a cache, a file, a fixture)"
)
#: And where it does the same in another order.
ANOTHER_ORDER = (
    "where they part, its runs do the same in another order, as through a set of objects, whose order is that of their "
    "addresses"
)
#: So many more runs are traced at most to see where they part: a set of two has the same order in every other run.
MOST_TRACED = 12
#: What asyncio says of a lock or a queue, or of a task or a future, that is used on a second loop.
_OTHER_LOOPS = ("is bound to a different event loop", "attached to a different loop")
#: What a line of a trace consists of: when, which task, what it does, and where.
_COLUMNS = re.compile("  +")
_WORD = re.compile(r"[^\s;,()]+")
_NUMBER = re.compile(r"\d").search
MADE_ELSEWHERE = (
    "that was made on another loop, in a fixture, at module level or by an earlier run, and each run has a loop of its "
    "own: make it in the test"
)


class Sameness:
    """What is known by now of whether the runs of a program are the same."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._leftovers = Leftovers(program.main)
        #: Whether its runs were seen to do the same in another order.
        self.has_another_order = False

    def check_again(self, plan: Plan, first: Outcome, *, states: bool) -> tuple[Outcome, Survey]:
        """Make the plain run once more, and survey it. Raises VirtualLoopError if it does something else, or fails.

        Where only its order is another one, it may fail: that is a failure as any other.
        """
        program = self._program
        second, survey = program.survey(plan.make(), plan.order, states=states)
        if second.exception is not None:
            if self.is_in_order_alone(plan):
                return second, survey
            what = without_addresses(in_words(second.exception).partition("\n")[0])
            error = VirtualLoopError(
                f"the first run passed, and the same run, made again, fails with {what}: {self.why(second)}"
            )
            # It says all there is to say, at the same line.
            raise error.with_traceback(readers_only(second.exception.__traceback__)) from None
        # A program that reads from outside is the same only as far as that is, and the exploration says so.
        differs = second.choices != first.choices
        if not differs and second.digest != first.digest:
            # The first one may have filled a cache, or opened what stays open.
            third, _ = program.survey(plan.make(), plan.order, states=False)
            differs = third.digest != second.digest
        if differs and not reads_outside():
            self.differs(plan, "the first run, made again, is another one")
        return second, survey

    def differs(self, plan: Plan, what: str, detail: str = "") -> None:
        """Note that the run of a plan was another one. Raises VirtualLoopError unless only its order was."""
        if not self.has_another_order:
            where, self.has_another_order = self._where_it_differs(plan)
            if not self.has_another_order:
                raise VirtualLoopError(f"{what}: {NONDETERMINISM}{detail}.{self._leftovers.in_words()}{where}")

    def is_in_order_alone(self, plan: Plan) -> bool:
        """Return whether the runs of a plan do the same in another order, as far as a few more runs show it."""
        if not self.has_another_order:
            _, self.has_another_order = self._where_it_differs(plan)
        return self.has_another_order

    def why(self, outcome: Outcome) -> str:
        """Return a sentence, or more, that says why a failed run is another one when it is made again."""
        if outcome.failed and _says_so(outcome.failed):
            return f"{made_elsewhere(outcome.exception)}."
        why = ANOTHER_ORDER if self.has_another_order else NONDETERMINISM
        return f"{why}.{self._leftovers.in_words()}"

    def _where_it_differs(self, plan: Plan) -> tuple[str, bool]:
        """Return at which lines two runs of one schedule part, and whether they do the same in another order."""
        first = self._lines_of(plan)
        for _ in range(MOST_TRACED):
            second = self._lines_of(plan)
            for one, other in zip_longest(first, second, fillvalue="(it is over)"):
                if one != other:
                    where = f"\nThe same run, made twice, parts here:\n{one}\n{other}"
                    return where, _is_another_order(one, other, first, second)
        return "", False

    def _lines_of(self, plan: Plan) -> list[str]:
        trace = Trace()
        program = self._program.of(plan)
        program.run(plan.make(), plan.order, trace=trace)
        return trace.lines()


def _is_another_order(one: str, other: str, first: list[str], second: list[str]) -> bool:
    """Return whether two runs part at steps that both make, or at one that is the same for something else of theirs."""
    if one in second and other in first:
        return True
    # Tasks, connections and numbers that both runs know, each without the step at which they part.
    known = _names_in(first, but=one) & _names_in(second, but=other)
    return _deed(one, known) == _deed(other, known)


def _names_in(lines: list[str], *, but: str) -> set[str]:
    """Return what stands in the steps of a run for one of many: names of tasks, and words with a number in them."""
    names: set[str] = set()
    for line in lines:
        if line != but:
            _, task, *rest = [*_COLUMNS.split(line.strip()), "", ""]
            names.update(_WORD.findall(task), (word for each in rest for word in _WORD.findall(each) if _NUMBER(word)))
    return names


def _deed(line: str, known: set[str]) -> tuple[Counter[str], list[str]]:
    """Return the words of a step, with one in place of all that is `known`; and where it is made."""
    _, task, deeds, *place = [*_COLUMNS.split(line.strip()), "", ""]
    return Counter("it" if word in known else word for word in _WORD.findall(f"{task} {deeds}")), place


def made_elsewhere(exc: BaseException | None) -> str:
    """Return what to say of an exception by which something is used on a loop that is not its own."""
    name = None if exc is None else name_of_foreign(exc)
    return f"it uses {name or 'something'} {MADE_ELSEWHERE}"


def was_made_elsewhere(exc: BaseException) -> bool:
    """Return whether an exception says that something is used on a loop that is not its own."""
    return isinstance(exc, RuntimeError) and _says_so(str(exc))


def _says_so(text: str) -> bool:
    return any(words in text for words in _OTHER_LOOPS)
