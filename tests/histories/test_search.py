"""The search for an order, against one that simply tries all of them."""

import random
from itertools import chain, combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import amount
from virtualloop import histories
from virtualloop.histories._call import UNKNOWN
from virtualloop.histories._search import linearize, sequence


def small_history(rnd):
    """Up to five operations of three clients on one object, with results that are right now and then; some open."""
    history = histories.History()
    model = rnd.choice([histories.register, histories.queue, histories.counter, histories.set_of_items, histories.lock])
    value = lambda: rnd.randrange(2)  # noqa: E731  # shorter than a function
    operations = {
        histories.register: [
            ("read", lambda: (), value),
            ("write", lambda: (value(),), lambda: None),
            ("cas", lambda: (value(), value()), lambda: rnd.random() < 0.5),
        ],
        histories.queue: [
            ("put", lambda: (value(),), lambda: None),
            ("get", lambda: (), lambda: rnd.choice([0, 1, None])),
        ],
        histories.counter: [
            ("add", lambda: (), lambda: rnd.choice([None, 1, 2])),
            ("read", lambda: (), lambda: rnd.randrange(4)),
        ],
        histories.set_of_items: [
            ("add", lambda: (value(),), lambda: rnd.choice([None, True, False])),
            ("remove", lambda: (value(),), lambda: None),
            ("contains", lambda: (value(),), lambda: rnd.random() < 0.5),
            ("read", lambda: (), lambda: [item for item in (0, 1) if rnd.random() < 0.5]),
        ],
        histories.lock: [
            ("acquire", lambda: (), lambda: rnd.choice([None, True, False])),
            ("release", lambda: (), lambda: None),
        ],
    }[model]
    running = {}
    calls = 0
    for _ in range(rnd.randrange(4, 16)):
        client = rnd.randrange(3)
        if client in running:
            call, result = running.pop(client)
            if rnd.random() < 0.85:
                call.finish(result())
        elif calls < 5:
            op, args, result = rnd.choice(operations)
            running[client] = history.call(client, op, *args()), result
            calls += 1
    return model, history.calls


def some_order(calls, model, initial, comes_first):
    """Try every order of the finished calls and any of the open ones."""
    finished = [call for call in calls if call.ended is not None]
    still_open = [call for call in calls if call.ended is None]
    subsets = chain.from_iterable(combinations(still_open, n) for n in range(len(still_open) + 1))
    for extra in subsets:
        for order in permutations([*finished, *extra]):
            if any(comes_first(b, a) for a, b in combinations(order, 2)):
                continue
            state = initial
            for call in order:
                state = model(state, call.op, call.args, UNKNOWN if call.ended is None else call.result)
                if state is None:
                    break
            else:
                return True
    return False


def in_time(a, b):
    return a.ended is not None and a.ended < b.began


def in_time_of_one_client(a, b):
    return a.client == b.client and in_time(a, b)


@pytest.mark.slow
@settings(max_examples=amount(20, 100), deadline=None)
@given(st.integers(0, 2**32))
def test_no_difference_to_trying_all_orders(seed):
    """Four thousand histories, at night twenty thousand: two hundred for each seed."""
    rnd = random.Random(seed)
    for _ in range(200):
        model, calls = small_history(rnd)
        for search, comes_first in [(linearize, in_time), (sequence, in_time_of_one_client)]:
            verdict = search(calls, model, initial=0, budget=100_000)

            assert verdict.holds == some_order(calls, model, 0, comes_first), (model, calls)


def test_both_verdicts_come_up():
    """What is compared is neither always right nor always wrong, in either sense."""
    rnd = random.Random(1)
    verdicts = []
    for _ in range(300):
        model, calls = small_history(rnd)
        verdicts.append(
            (
                linearize(calls, model, initial=0, budget=100_000).holds,
                sequence(calls, model, initial=0, budget=100_000).holds,
            )
        )
    assert {(True, True), (False, True), (False, False)} == set(verdicts)
    assert min(verdicts.count(verdict) for verdict in set(verdicts)) >= 5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_shown_is_enough_and_no_longer_than_that(seed):
    """No order explains what began before the return that none gets past; one explains what was known before it."""
    rnd = random.Random(seed)
    for _ in range(50):
        model, calls = small_history(rnd)
        verdict = linearize(calls, model, initial=0, budget=100_000)
        if verdict.holds:
            continue
        end = verdict.stuck[0].ended
        shown = [call for call in calls if call.began < end]
        known = [until(call, end) for call in shown]

        assert linearize(shown, model, initial=0, budget=100_000).holds is False
        assert linearize(known, model, initial=0, budget=100_000).holds is True


def until(call, moment):
    """Return the call as it was known at a moment."""
    if call.ended is None or call.ended < moment:
        return call
    known = histories.Call(call.client, call.op, call.args, lambda: (call.began, None), call.place)
    known.result = call.result
    return known


def busy_history(seed, *, operations, clients):
    """Clients of a register that are busy all the time."""
    rnd = random.Random(seed)
    history = histories.History()
    value, running, finished = 0, {}, 0
    while finished < operations:
        client = rnd.randrange(clients)
        if client not in running:
            op, n = rnd.choice([("read", 0), ("write", 1), ("cas", 2)])
            running[client] = [history.call(client, op, *[rnd.randrange(5) for _ in range(n)]), None]
            continue
        call, result = running[client]
        if result is not None:
            call.finish(result[0])
            del running[client]
            finished += 1
        elif call.op == "read":
            running[client][1] = (value,)
        elif call.op == "write":
            value = call.args[0]
            running[client][1] = (None,)
        else:
            running[client][1] = (value == call.args[0],)
            if value == call.args[0]:
                value = call.args[1]
    return history


@pytest.mark.parametrize("consistency", ["linearizable", "sequential"])
@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_operations_of_ten_clients(seed, consistency):
    """A tenth of a second on the machine that this was written on: no clock decides here, but how often is tried."""
    history = busy_history(seed, operations=1000, clients=10)

    assert history.check(histories.register, initial=0, consistency=consistency, budget=200_000)


def test_the_same_history_has_the_same_cost():
    applied = []

    def model(*args):
        applied.append(args)
        return histories.register(*args)

    for _ in range(2):
        assert busy_history(4, operations=200, clients=5).check(model, initial=0)
    assert applied[: len(applied) // 2] == applied[len(applied) // 2 :]
