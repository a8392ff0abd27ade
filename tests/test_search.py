import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualloop._search import LEVELS, Plan, Search, Seen, level_of, tighter_than
from virtualloop.schedules import Choice, Random, Recording


def program(schedule):
    """A stand-in for a program: three questions of two, and a fourth if the first two were answered by 1."""
    answers = [schedule.choose(2, "hold"), schedule.choose(2, "late"), schedule.choose(2, "hold")]
    if answers[:2] == [1, 1]:
        answers.append(schedule.choose(3, "user"))
    return tuple(answers)


def explore(search, program=program):
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
                seen.append(Seen(b"", recording.choices if plan.start is not None else []))
            plans += due
            due = rounds.send(seen)
    except StopIteration:
        return plans, runs


def long_program(schedule):
    return tuple(schedule.choose(2, ("hold", "late")[i % 2]) for i in range(40))


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

    assert plans(1) == plans(1)
    assert not set(plans(1)[1:33]) & set(plans(2)[1:33])


def test_some_runs_have_few_deviations():
    plans, runs = explore(Search(runs=200, seed=0, order=None), long_program)
    few = [sum(run) for plan, run in zip(plans, runs, strict=True) if plan.few is not None]

    assert set(few) == {1, 2, 3, 4}


def test_cancellations_are_swept_and_then_combined():
    def cancellable(schedule):
        return tuple((schedule.choose(2, "hold"), schedule.choose(2, "cancel")) for _ in range(12))

    plans, runs = explore(Search(runs=200, seed=0, order=None), cancellable)
    cancelled = [[cancel for _, cancel in run] for run in runs]
    held = [any(hold for hold, _ in run) for run in runs]

    # First each one alone, in the order of the program.
    assert cancelled[1:13] == [[int(i == k) for i in range(12)] for k in range(12)]
    assert not any(held[:13])
    rest = list(zip(cancelled, held, plans, strict=True))[13:45]
    assert all(sum(each) == 1 for each, _, _ in rest)
    assert sum(hold for _, hold, _ in rest) > 20


@given(st.lists(st.sampled_from(["late", "hold", "task", "user", "loss"])))
def test_the_level_is_that_of_the_loosest_kind(kinds):
    level = level_of(kinds)

    assert ("task" in kinds) == (level == "tasks")
    assert ("hold" in kinds or "task" in kinds) == (level in ("io", "tasks"))
    assert (not {"late", "hold", "task"} & set(kinds)) == (level == "fifo")


def test_tighter_levels_come_from_the_tightest_on():
    assert tighter_than("tasks") == ("fifo", "timing", "io")
    assert tighter_than("fifo") == ()


def test_a_plan_without_more_is_random():
    plan = Plan("io", seed=5)

    assert isinstance(plan.make(), Random)
    assert long_program(plan.make()) == long_program(Random(5))
    assert long_program(Plan("io", start=(Choice(1, 2, "hold"),)).make()) == (1, *[0] * 39)
