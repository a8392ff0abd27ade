"""Histories in the forms that Jepsen and Porcupine publish theirs in; these here are our own."""

import re
from pathlib import Path

import pytest

from virtualloop import histories

DATA = Path(__file__).parent / "data"


def register_history(text):
    """Read a log of Jepsen's etcd test: a process that timed out is never heard of again; `:fail` had no effect."""
    history = histories.History()
    running = {}
    for line in text.splitlines():
        process, kind, op, value = re.fullmatch(
            r"INFO  jepsen\.util - (\d+)\t:(\w+)\t:(\w+)\t([^\t]+).*", line
        ).groups()
        if kind == "invoke":
            args = () if op == "read" else tuple(map(int, value.strip("[]").split()))
            running[process] = history.call(f"process {process}", op, *args)
            continue
        call = running.pop(process)
        if op == "read" and kind == "ok":
            call.finish(None if value == "nil" else int(value))
        elif op == "cas" and kind in ("ok", "fail"):
            call.finish(kind == "ok")
        elif kind == "ok":
            call.finish()
    return history


def key_value_history(text):
    """Read a log of Porcupine's key-value test."""
    history = histories.History()
    running = {}
    form = r'\{:process (\d+), :type :(\w+), :f :(\w+), :key "(.*)", :value (?:nil|"(.*)")\}'
    for line in text.splitlines():
        client, kind, op, key, value = re.fullmatch(form, line).groups()
        if kind == "invoke":
            running[client] = history.call(client, op, key, *([] if value is None else [value]))
        else:
            running.pop(client).finish((value or None) if op == "get" else None)
    return history


def read(name):
    text = (DATA / f"{name}.log").read_text(encoding="utf-8")
    return register_history(text) if name.startswith("register") else key_value_history(text)


def model_of(name):
    return histories.register if name.startswith("register") else histories.key_value


NAMES = [path.stem for path in sorted(DATA.glob("*.log"))]


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("-good")])
def test_what_a_correct_store_has_done(name):
    assert read(name).check(model_of(name))


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("-good")])
def test_what_no_correct_store_does(name):
    with pytest.raises(AssertionError, match=r"^not linearizable.*\n  (read|get)\(.* by client"):
        read(name).check(model_of(name))


def test_there_are_histories_of_each_kind():
    assert len([name for name in NAMES if name.endswith("-good")]) == 4
    assert len(NAMES) == 7


def test_partitions_are_what_makes_many_keys_cheap():
    """With one key for all, ten clients on ten keys are one object with ten values."""
    name = "key-value-good"
    applied = []

    def counted(state, op, args, result):
        applied.append(op)
        return histories.key_value(state, op, args, result)

    assert read(name).check(counted, partition=lambda call: call.args[0])
    by_key = len(applied)
    applied.clear()
    with pytest.warns(histories.UndecidedWarning):
        read(name).check(counted, budget=20 * by_key)
