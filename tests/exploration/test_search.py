import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualloop._core.lateness import HELD, LONGEST
from virtualloop._exploration.late import APART
from virtualloop._exploration.levels import LEVELS, level_of, tighter_than
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.replies import Reply, Timeout
from virtualloop._exploration.search import Plan, Search
from virtualloop.schedules import Choice, Random, Recording


def program(schedule):
    """A stand-in for a program: three questions of two, and a fourth if the first two were answered by 1."""
    answers = [schedule.choose(2, "late"), schedule.choose(2, "release"), schedule.choose(2, "late")]
    if answers[:2] == [1, 1]:
        answers.append(schedule.choose(3, "user"))
    return tuple(answers)


def explore(search, program=program, replies=()):
    """Make all runs of a search; return the plans and what the runs answered."""
    plans, runs = [], []
    rounds = search.rounds()
    try:
        due = next(rounds)
        while True:
            seen = []
            for plan in due:
                recording = Recording(plan.make())
                runs.append(program(recording))
                seen.append(Outcome(plan.order, choices=recording.choices if plan.grows else ()))
            if not plans:
                search.replies = list(replies)
            plans += due
            due = rounds.send(seen)
    except StopIteration:
        return plans, runs


def long_program(schedule):
    return tuple(schedule.choose(2, ("release", "late")[i % 2]) for i in range(40))


def test_a_small_program_is_seen_through():
    search = Search(runs=1000, seed=0, order=None)
    plans, runs = explore(search)

    assert search.exhausted
    assert search.bound is None
    assert len(runs) == len(set(runs)) == 12
    assert runs[0] == (0, 0, 0)
    assert [sum(map(bool, run)) for run in runs] == sorted(sum(map(bool, run)) for run in runs)
    assert {plan.order for plan in plans} == {"io"}


def test_a_program_that_asks_nothing_is_run_once():
    search = Search(runs=1000, seed=0, order=None)
    _, runs = explore(search, lambda _: ())

    assert runs == [()]
    assert search.exhausted
    assert search.nothing_varies


def test_a_larger_program_is_seen_through_as_far_as_whole_levels_go():
    search = Search(runs=500, seed=0, order=None)
    _, runs = explore(search, long_program)

    assert len(runs) == 500
    assert (search.exhausted, search.bound) == (True, 1)
    singles = {run for run in runs if sum(run) == 1}
    assert len(singles) == 40
    assert not search.nothing_varies


@pytest.mark.parametrize("runs", [1, 2, 20, 33, 60])
def test_no_more_runs_than_allowed(runs):
    search = Search(runs=runs, seed=0, order=None)

    assert len(explore(search, long_program)[1]) == runs
    assert not search.exhausted


@pytest.mark.parametrize(("runs", "kept"), [(79, False), (81, True)])
def test_what_runs_were_asked_is_kept_only_where_all_that_deviate_once_are_made(runs, kept):
    plans, _ = explore(Search(runs=runs, seed=0, order=None), long_program)

    assert plans[0].grows
    assert any(plan.grows for plan in plans[1:]) == kept


def test_single_deviations_alternate_with_random_runs_the_likeliest_first():
    """What is held until it is released, and what passes late, comes before what is late by turns."""

    def holds(schedule):
        return tuple(schedule.choose(6, "hold") if i % 2 else schedule.choose(2, "late") for i in range(10))

    plans, _ = explore(Search(runs=100, seed=0, order=None), holds)
    first = plans[1:33]
    singles = [plan.branch for plan in first if plan.branch is not None]

    assert [plan.branch is None for plan in first] == [False, True] * 16
    assert [place for ((place, _),) in singles[:10]] == [*range(10)]
    assert {choice.answer for ((_, choice),) in singles[:10]} == {1, HELD}
    assert {choice for ((_, choice),) in singles[10:15]} == {Choice(1, 6, "hold")}


def test_what_is_near_a_cancellation_comes_before_what_is_not():
    def holds(schedule):
        return tuple(schedule.choose(6, "hold") for _ in range(10))

    search = Search(runs=200, seed=0, order=None)
    search.near_cancellations = {3, 7}
    plans, _ = explore(search, holds)
    singles = [plan.branch[0] for plan in plans[1:] if plan.branch]

    assert [(place, choice.answer) for place, choice in singles[:10]] == [
        (place, HELD) for place in (3, 7, 0, 1, 2, 4, 5, 6, 8, 9)
    ]
    assert [(place, choice.answer) for place, choice in singles[10:18]] == [
        (place, turns) for turns in range(1, HELD) for place in (3, 7)
    ]


@pytest.mark.parametrize("order", [None, *LEVELS])
def test_all_runs_have_the_same_order_and_some_are_punctual(order):
    plans, runs = explore(Search(runs=300, seed=0, order=order), long_program)
    held = [any(run[::2]) for plan, run in zip(plans, runs, strict=True) if plan.punctual]

    assert {plan.order for plan in plans} == {order or "io"}
    assert held
    assert not any(held)


def test_the_plan_depends_on_nothing_but_its_arguments():
    def plans(seed):
        return explore(Search(runs=300, seed=seed, order=None), long_program)[0]

    def drawn(plans):
        return {plan for plan in plans if plan.branch is None}

    assert plans(1) == plans(1)
    assert not drawn(plans(1)) & drawn(plans(2))


def test_some_runs_have_few_deviations():
    plans, runs = explore(Search(runs=200, seed=0, order=None), long_program)
    few = [sum(run) for plan, run in zip(plans, runs, strict=True) if plan.few is not None]

    assert set(few) == {1, 2, 3, 4}


def test_cancellations_are_swept_once_then_twice_and_then_combined():
    def cancellable(schedule):
        return tuple((schedule.choose(2, "late"), schedule.choose(2, "cancel")) for _ in range(8))

    plans, runs = explore(Search(runs=200, seed=0, order=None), cancellable)
    cancelled = [[cancel for _, cancel in run] for run in runs]
    late = [any(late for late, _ in run) for run in runs]

    # First each one alone, in the order of the program; then each two.
    assert cancelled[1:9] == [[int(i == k) for i in range(8)] for k in range(8)]
    pairs = cancelled[9:37]
    assert len({tuple(each) for each in pairs}) == 28
    assert all(sum(each) == 2 for each in pairs)
    assert not any(late[:37])
    rest = [(each, is_late) for plan, each, is_late in zip(plans, cancelled, late, strict=True) if plan.cancels]
    assert all(sum(each) == 1 for each, _ in rest)
    assert sum(is_late for _, is_late in rest) > 20


TIMEOUT = Timeout("ask", "client.py:12", 1.0, of_main=False)


def waits(schedule):
    """One reply after another, each of which is asked about."""
    return tuple(schedule.choose(1 + LONGEST, "reply") for _ in range(3))


def test_each_reply_is_late_in_the_usual_ways_before_all_is_tried():
    replies = [Reply(0, 900_000, TIMEOUT), Reply(2, 500_000, TIMEOUT)]
    search = Search(runs=1000, seed=0, order=None)
    plans, runs = explore(search, waits, replies)

    assert search.exhausted
    assert runs[1:5] == [(900_000 + APART, 0, 0), (0, 0, 500_000 + APART), (900_000, 0, 0), (0, 0, 500_000)]
    assert len(runs) == 11
    assert [plan.late.reply for plan in plans[1:3]] == replies


def test_one_run_in_four_has_a_late_reply():
    def both(schedule):
        return (*long_program(schedule), *waits(schedule))

    plans, _ = explore(Search(runs=401, seed=0, order=None), both, [Reply(40, 900_000, TIMEOUT)])

    assert sum(plan.late is not None for plan in plans) == 100


def test_a_reply_that_is_needed_in_time_is_not_late_again():
    search = Search(runs=100, seed=0, order=None)
    needed, other = Reply(0, 900_000, TIMEOUT), Reply(2, 500_000, TIMEOUT)
    search.needed.add(needed)
    plans, _ = explore(search, waits, [needed, other])

    assert {plan.late and plan.late.reply for plan in plans} == {None, other}


@given(st.lists(st.sampled_from(["late", "slow", "apart", "hold", "reply", "task", "user", "loss"])))
def test_the_level_is_that_of_the_loosest_kind(kinds):
    level = level_of(kinds)

    assert ("task" in kinds) == (level == "tasks")
    assert bool({"hold", "reply", "task"} & set(kinds)) == (level in ("io", "tasks"))
    assert (not {"late", "slow", "apart", "hold", "reply", "task"} & set(kinds)) == (level == "fifo")


def test_tighter_levels_come_from_the_tightest_on():
    assert tighter_than("tasks") == ("fifo", "timing", "io")
    assert tighter_than("fifo") == ()


def test_a_plan_without_more_is_random():
    plan = Plan("io", seed=5)

    assert isinstance(plan.make(), Random)
    assert long_program(plan.make()) == long_program(Random(5))
    assert long_program(Plan("io", branch=((0, Choice(1, 2, "release")),)).make()) == (1, *[0] * 39)
