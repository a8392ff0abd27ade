"""That what is passed over because its state has been seen loses nothing: by brute force over every list of answers."""

import asyncio

import pytest

from virtualloop import VirtualLoop, explore
from virtualloop._core.lateness import ordinary_answers
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.tree import Tree
from virtualloop.schedules import Choice, Recording, Replay


class Program:
    """A program that writes down its steps."""

    def __init__(self, tasks):
        self.tasks = tasks
        self.log = []

    async def task(self, name, delays):
        for delay in delays:
            self.log.append(name)
            await asyncio.sleep(delay)
        self.log.append(name)

    async def __call__(self):
        self.log = []
        await asyncio.gather(*[self.task(name, delays) for name, delays in self.tasks.items()])


def all_orders(program, order):
    """Return each order of steps that any list of answers brings about."""
    seen, left = set(), [[]]
    while left:
        start = left.pop()
        recording = Recording(Replay(start))
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(schedule=recording, order=order)) as runner:  # noqa: B023
            runner.run(program())
        seen.add(tuple(program.log))
        answers = [choice.answer for choice in recording.choices]
        for place in range(len(start), len(answers)):
            _, n, kind = recording.choices[place]
            left += [[*answers[:place], other] for other in range(1, ordinary_answers(n, kind))]
    return seen


@pytest.mark.parametrize("order", ["timing", "io"])
@pytest.mark.parametrize(
    "tasks",
    [
        {"a": [0.01], "b": [0.02]},
        {"a": [0.01], "b": [0.01]},
        {"a": [0, 0.01], "b": [0.02]},
        {"a": [0.01, 0], "b": [0.02]},
        {"a": [0.01, 0.01], "b": [0.02]},
    ],
    ids=str,
)
def test_all_there_are_is_all_there_are(order, tasks):
    program = Program(tasks)
    exploration = explore(program, order=order, runs=20_000)

    assert exploration.exhausted
    assert exploration.bound is None
    assert exploration.distinct == len(all_orders(program, order))


def outcome(*kinds, states=()):
    return Outcome("io", choices=[Choice(0, {"hold": 6}.get(kind, 2), kind) for kind in kinds], states=states)


def test_each_question_is_answered_in_each_other_way():
    tree = Tree(most=100)
    tree.grow(outcome("late", "hold", "reply"))
    assert tree.descend()

    assert sorted((place, choice.answer) for ((place, choice),) in tree.left) == [
        (0, 1),
        *((1, answer) for answer in range(1, 6)),
    ]


def test_what_was_answered_in_the_same_state_is_not_tried_again():
    tree = Tree(most=100)
    tree.grow(outcome("late", "late", states=[7, 8]))
    tree.descend()
    assert len(tree.left) == 2
    first = tree.take()
    tree.grow(outcome("late", "late", "late", states=[7, 8, 9]), first)
    tree.descend()

    assert [[place for place, _ in branch] for branch in tree.left] == [[0, 2]]


def test_a_level_that_is_too_large_is_given_up():
    tree = Tree(most=3)
    tree.grow(outcome(*["late"] * 4))

    assert not tree.grows
    assert not tree.descend()


def test_of_a_level_that_is_too_large_some_are_tried_that_lie_far_apart():
    tree = Tree(most=3)
    made = outcome(*["late", "hold"] * 10)
    tree.grow(made)
    assert not tree.descend()
    tree.sample(made, 5)

    assert [place for ((place, _),) in reversed(tree.left)] == [0, 4, 8, 12, 16]
    assert all(choice.answer for ((_, choice),) in tree.left)
    assert not tree.grows
