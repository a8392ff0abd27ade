"""A library that writes into the functions of C finds these, and not what stands in for them."""

import contextlib
import importlib.machinery
import sys
import time
import types

import pytest

from virtualloop._core.clock import LateClock
from virtualloop._world import shares, travel
from virtualloop._world.aliases import Substitution
from virtualloop._world.clocks import LoopReader, pairs
from virtualloop._world.shares import Share

FUNCTIONS = time.time, time.monotonic


def found(*_):
    """What it writes into; in C it would be a matter of memory, so anything else is the end."""
    assert (time.time, time.monotonic) == FUNCTIONS


@pytest.fixture
def machine(monkeypatch):
    # As in C, these are functions that do not bind.
    module = types.ModuleType("_time_machine")
    module.__spec__ = importlib.machinery.ModuleSpec("_time_machine", None)
    module.calls = []
    module.patch = lambda: (found(), module.calls.append("patch"))
    module.patch_if_needed = lambda: (found(), module.calls.append("patch_if_needed"))
    module.unpatch = lambda: (found(), module.calls.append("unpatch"))
    module.original_time_ns = lambda: 7_000_000_000_000
    monkeypatch.setattr(
        travel,
        "Originals",
        lambda module, names: types.SimpleNamespace(
            **{name: vars(module)[name] for name in names if name in vars(module)}
        ),
    )
    monkeypatch.setitem(sys.modules, "_time_machine", module)
    return module


def test_the_stand_ins_step_aside(machine):
    made = []
    made.append(Substitution([*pairs(), *travel.pairs(lambda: made[0].aside())]))
    patch = machine.patch
    made[0].hold()
    try:
        assert time.time is not FUNCTIONS[0]
        assert machine.patch is not patch
        machine.patch()
        machine.patch_if_needed()
        machine.unpatch()
        assert time.time is not FUNCTIONS[0]
    finally:
        made[0].release()

    assert machine.calls == ["patch", "patch_if_needed", "unpatch"]
    assert machine.patch is patch
    found()


def test_time_passes_as_in_the_world(machine):
    stand_ins = dict(travel.pairs(contextlib.nullcontext))
    ask = stand_ins[machine.original_time_ns]
    clock = LateClock()
    assert ask() == 7_000_000_000_000
    before = shares.enter(Share(LoopReader(clock, 0, None, lambda: None), None))
    try:
        assert ask() == 7_000_000_000_000
        clock.move(5_000_000)
        assert ask() == 7_005_000_001_000
    finally:
        shares.leave(before)
    assert ask() == 7_000_000_000_000


def test_who_travels_is_there(monkeypatch):
    traveller = types.ModuleType("time_machine")
    traveller.traveller_stack = []
    monkeypatch.setitem(sys.modules, "time_machine", traveller)
    stand_in = dict(pairs())[FUNCTIONS[0]]
    before = shares.enter(Share(LoopReader(LateClock(), 5_000_000, None, lambda: None), None))
    try:
        assert stand_in() == 5
        traveller.traveller_stack.append(object())
        assert stand_in() > 1e9  # what the function says, which it has written into
    finally:
        shares.leave(before)


def test_nothing_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(travel, "MODULE", "_no_machine_of_this_name")
    assert travel.pairs(contextlib.nullcontext) == []
