"""What is recorded, and what a check says of it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import virtualloop
from helpers import run, session_environment
from virtualloop import histories


def recorded(*events):
    """A history from ("Ann", "read", 1) for an operation that nothing overlaps; ("Ann", "read", ...) stays open."""
    history = histories.History()
    for client, op, *args, result in events:
        call = history.call(client, op, *args)
        if result is not ...:
            call.finish(result)
    return history


def verdict(history, model, **options):
    """The lines of what a check says; nothing if there is nothing to say."""
    try:
        assert history.check(model, **options) is True
    except AssertionError as exc:
        return str(exc).splitlines()
    return []


# --- recording --------------------------------------------------------------------------------------------------------


def test_a_block_is_an_operation():
    async def main():
        history = histories.History()
        await asyncio.sleep(1)
        async with history.call("Ann", "write", 3) as call:
            await asyncio.sleep(2)
        async with history.call("Ann", "read") as read:
            read.result = 3
        return history, call

    history, call = run(main)

    assert [(c.client, c.op, c.args, c.result) for c in history.calls] == [
        ("Ann", "write", (3,), None),
        ("Ann", "read", (), 3),
    ]
    assert call.times == (1.0, 3.0)
    assert len(history) == 2
    assert history.check(histories.register)


def test_an_operation_that_raised_stays_open():
    async def main():
        history = histories.History()
        try:
            async with history.call("Ann", "write", 3):
                raise ConnectionError
        except ConnectionError:
            pass
        history.call("Bob", "write", 4)  # never returns
        return history

    history = run(main)
    for value in (None, 3, 4, 3, 4):
        history.call("Eve", "read").finish(value)

    assert [call.ended for call in history.calls[:2]] == [None, None]
    assert verdict(history, histories.register)[1].startswith("  read() -> 3 by client Eve")  # neither happens twice


def test_an_operation_that_certainly_had_no_effect_is_discarded():
    history = recorded(("Ann", "write", 3, ...), ("Bob", "read", 3))
    assert verdict(history, histories.register) == []

    history.calls[0].discard()
    assert verdict(history, histories.register) != []
    assert len(history) == 1


def test_discarded_within_its_block():
    async def main():
        history = histories.History()
        async with history.call("Ann", "write", 3) as call:
            call.discard()
        return history

    assert len(run(main)) == 0


def test_an_operation_ends_once():
    history = histories.History()
    call = history.call("Ann", "read")
    call.finish(1)
    with pytest.raises(RuntimeError, match=r"^read\(\) -> 1 of client 'Ann' is over already$"):
        call.finish(2)


def test_a_block_may_end_its_operation_itself():
    async def main():
        history = histories.History()
        async with history.call("Ann", "read") as call:
            call.finish(1)
            history.call("Bob", "write", 2).finish()
        return history

    ann, bob = run(main).calls
    assert ann.ended < bob.began


# --- what a check says ------------------------------------------------------------------------------------------------


def test_the_timeline_of_a_stale_read():
    history = histories.History()
    history.call("Ann", "write", 1).finish()
    second = history.call("Ann", "write", 2)
    history.call("Bob", "read").finish(2)
    history.call("Eve", "read").finish(1)
    second.finish()
    history.call("Bob", "read").finish(2)
    line = test_the_timeline_of_a_stale_read.__code__.co_firstlineno + 5

    assert verdict(history, histories.register) == [
        "not linearizable: no order of these operations explains",
        f"  read() -> 1 by client Eve ({Path(__file__).name}:{line})",
        "",
        "  Ann  write(1)     |-|",
        "  Ann  write(2)         |---------|",
        "  Bob  read() -> 2        |-|",
        "  Eve  read() -> 1            |-| <--",
        "",
        "  before it, the state may have been 2",
    ]


def test_an_open_operation_in_a_timeline():
    lines = verdict(recorded(("Ann", "write", 1, ...), ("Bob", "read", 1), ("Eve", "read", None)), histories.register)

    assert lines[3:6] == [
        "  Ann  write(1)        |----------?",
        "  Bob  read() -> 1       |-|",
        "  Eve  read() -> None        |-| <--",
    ]


def test_long_histories_show_their_end():
    history = recorded(*[("Ann", "write", n, None) for n in range(100)], ("Bob", "read", 0))
    lines = verdict(history, histories.register)

    assert lines[-1] == "  (85 earlier operations are not shown)"
    assert len([line for line in lines if "|" in line]) == 16
    assert max(map(len, lines)) <= 100


def test_who_is_marked_is_always_shown():
    history = histories.History()
    slow = history.call("Bob", "read")
    for n in range(100):
        history.call("Ann", "write", n).finish()
    slow.finish("never written")

    assert any("'never written'" in line and line.endswith("<--") for line in verdict(history, histories.register)[3:])


def test_long_values_are_cut():
    history = recorded(("Ann", "write", "x" * 500, None), ("Bob", "read", "y" * 500))

    assert max(len(line) for line in verdict(history, histories.register)) <= 120


def test_a_check_by_key_names_the_key():
    history = recorded(
        ("Ann", "put", "x", 1, None), ("Ann", "put", "y", 2, None), ("Bob", "get", "x", 1), ("Bob", "get", "y", 3)
    )
    lines = verdict(history, histories.key_value)

    assert lines[0] == "not linearizable, key 'y': no order of these operations explains"
    assert not any("'x'" in line for line in lines[1:])
    whole = verdict(history, histories.key_value, partition=lambda call: None)
    assert whole[0] == "not linearizable: no order of these operations explains"


def test_sequential_consistency_is_not_about_the_clock():
    stale = recorded(("Ann", "write", 1, None), ("Bob", "read", None), ("Bob", "read", 1))
    assert verdict(stale, histories.register) != []
    assert verdict(stale, histories.register, consistency="sequential") == []

    back = recorded(("Ann", "write", 1, None), ("Bob", "read", 1), ("Bob", "read", None))
    lines = verdict(back, histories.register, consistency="sequential")
    assert lines[0] == (
        "not sequentially consistent: no order of these operations, each client's in their own, explains"
    )
    assert lines[1].startswith("  read() -> None by client Bob")


def test_two_registers_that_are_each_sequentially_consistent():
    """Both are, and no order of both is: that is why it is not decided key by key."""
    history = recorded(
        ("Ann", "put", "x", 1, None), ("Bob", "put", "y", 1, None), ("Ann", "get", "y", None), ("Bob", "get", "x", None)
    )
    for key in "xy":
        part = recorded(*[(c.client, c.op, *c.args, c.result) for c in history.calls if c.args[0] == key])
        assert verdict(part, histories.key_value, consistency="sequential") == []
    assert verdict(history, histories.key_value, consistency="sequential") != []
    with pytest.raises(ValueError, match="not decided key by key"):
        history.check(histories.key_value, partition=lambda call: call.args[0], consistency="sequential")


def test_a_budget_that_ends_is_said():
    history = recorded(*[("Ann", "write", n, None) for n in range(10)])
    for consistency in ("linearizable", "sequential"):
        with pytest.warns(histories.UndecidedWarning, match=r"^not decided: 5 applications of the model did not find"):
            assert history.check(histories.register, budget=5, consistency=consistency) is False
    with pytest.warns(histories.UndecidedWarning, match=r"^not decided for 1 keys, 'x' first: 1 applications"):
        recorded(("A", "put", "x", 1, None), ("A", "put", "x", 2, None), ("A", "put", "y", 1, None)).check(
            histories.key_value, budget=1
        )


def test_nothing_recorded_is_consistent():
    assert verdict(histories.History(), histories.register) == []
    assert verdict(histories.History(), histories.register, consistency="sequential") == []
    assert verdict(recorded(("Ann", "write", 1, ...)), histories.register, consistency="sequential") == []


def test_as_text():
    history = recorded(*[("Ann", "write", n, None) for n in range(20)])

    assert str(history).startswith("  (4 earlier operations)\n  Ann  write(4)   |-|\n")
    assert repr(history) == "<History of 20 operations>"
    assert repr(history.calls[0]) == "<Call of 'Ann': write(0)>"
    assert repr(history.call("Bob", "read")) == "<Call of 'Bob': read() (open)>"


# --- models of one's own ----------------------------------------------------------------------------------------------


def test_states_may_be_dicts_lists_and_sets():
    def inventory(state, op, args, result):
        state = state or {"items": [], "seen": set()}
        return {"items": [*state["items"], args[0]], "seen": state["seen"] | {args[0]}}

    assert verdict(recorded(("Ann", "add", 1, None), ("Bob", "add", 2, None)), inventory) == []


def test_a_state_without_a_hash_is_refused():
    class State:
        __hash__ = None

    with pytest.raises(TypeError, match=r"states of a model are compared, and <.*> has no hash: make it a tuple"):
        recorded(("Ann", "add", 1, None)).check(lambda *args: State())


def test_what_a_model_raises_says_where():
    with pytest.raises(
        ValueError, match=r"^histories.register knows no operation 'pop', only read, write, cas"
    ) as info:
        recorded(("Ann", "pop", None)).check(histories.register)
    assert info.value.__notes__[0].endswith("for pop() in the state None")


def test_what_nobody_knows():
    unknown = virtualloop.histories.UNKNOWN
    assert unknown == 1
    assert (unknown != 1) is False
    assert repr(unknown) == "UNKNOWN"
    with pytest.raises(TypeError, match="is not known: a model compares it by =="):
        bool(unknown)
    with pytest.raises(TypeError, match="unhashable"):
        hash(unknown)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"model": 3}, TypeError, "model must be a function"),
        ({"consistency": "strong"}, ValueError, "consistency must be one of linearizable, sequential, not 'strong'"),
        ({"budget": 0}, ValueError, "budget must be at least 1, got 0"),
        ({"budget": 1.5}, TypeError, "budget must be an integer, not 1.5"),
    ],
)
def test_arguments_are_checked(options, error, text):
    with pytest.raises(error, match=text):
        histories.History().check(**{"model": histories.register, **options})
    with pytest.raises(TypeError, match="op must be the name of an operation, not 3"):
        histories.History().call("Ann", 3)
    with pytest.raises(TypeError, match="unhashable"):
        histories.History().call([], "read")


# --- where it is used -------------------------------------------------------------------------------------------------


def test_a_violation_is_found_by_exploring():
    async def main():
        history = histories.History()
        value = 0

        async def client(name):
            nonlocal value
            async with history.call(name, "add") as call:
                seen = value
                await asyncio.sleep(0.01)
                value = seen + 1
                call.result = value

        async def later():
            await asyncio.sleep(0.04)
            await client("Bob")

        await asyncio.gather(client("Ann"), later())
        history.check(histories.counter)

    found = virtualloop.explore(main, check=False)
    assert found.failure.level == "io"
    assert str(found.failure.exception).startswith(
        "not linearizable: no order of these operations explains\n  add() -> 1"
    )


def test_it_is_loaded_when_it_is_asked_for():
    code = (
        "import sys, virtualloop; assert 'virtualloop.histories' not in sys.modules;"
        "virtualloop.explore; assert 'virtualloop.histories' not in sys.modules;"
        "virtualloop.histories.History(); assert 'virtualloop.histories' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=session_environment())
