"""Real time, also while somebody stands in for it."""

import importlib
import time

import pytest

from virtualloop._world.originals import Originals, real_time

#: The rooms that measure it.
MODULES = ["_exploration.budget", "_exploration.progress", "_loop.debugging"]
MODULES += [f"_world.{name}" for name in ("conversations", "descriptors", "patience", "sleepers", "threads", "turns")]


@pytest.mark.parametrize(
    "name", [*MODULES, "_world.conversations", "_world.sleepers", "_world.threads", "_world.turns"]
)
def test_nobody_finds_it_among_the_attributes_of_a_module(name):
    """There a library that stops the time replaces whatever it knows."""
    clocks = (time.monotonic, time.perf_counter, time.sleep, time.time)
    attributes = vars(importlib.import_module(f"virtualloop.{name}"))

    assert [key for key, value in attributes.items() if any(value is clock for clock in clocks)] == []


def test_it_is_found_behind_what_stands_in(monkeypatch):
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: 1.0)

    assert Originals(time, ["monotonic"]).monotonic is monotonic is real_time.monotonic


def test_what_this_python_does_not_have_is_named():
    originals = Originals(time, ["monotonic", "clock_of_another_system"])

    with pytest.raises(AttributeError, match=r"this Python has no clock_of_another_system\(\)"):
        originals.clock_of_another_system()
