"""Sets that asyncio makes are gone through in one order, and are sets in all else."""

import asyncio
import copy
import importlib
import os
import random
import subprocess
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import LEVELS, opened, run
from virtualloop import VirtualLoop
from virtualloop._stock.sets import ANYIO, KeptOrder, OrderedSet
from virtualloop._stock.tasks import is_default_name


class Thing:
    """As much of a task as an ordered set looks at."""

    def __init__(self, number, size):
        self._virtualloop_number = number
        self._hash = hash((number, size))

    def __hash__(self):
        return self._hash

    def __repr__(self):
        return f"thing {self._virtualloop_number}"


THINGS = [Thing(number, "salt") for number in range(12)]
some = st.lists(st.sampled_from(THINGS), max_size=12)
OPERATIONS = {
    "or": lambda a, b: a | b,
    "and": lambda a, b: a & b,
    "sub": lambda a, b: a - b,
    "xor": lambda a, b: a ^ b,
    "from the right": lambda a, b: set(b) - a,
    "union": lambda a, b: a.union(b, b),
    "intersection": lambda a, b: a.intersection(b),
    "difference": lambda a, b: a.difference(b),
    "symmetric_difference": lambda a, b: a.symmetric_difference(b),
    "copy": lambda a, b: a.copy(),
    "copy.copy": lambda a, b: OrderedSet(copy.copy(a)),
}
CHANGES = {
    "add": lambda a, b: [a.add(thing) for thing in b],
    "discard": lambda a, b: [a.discard(thing) for thing in b],
    "update": lambda a, b: a.update(b),
    "difference_update": lambda a, b: a.difference_update(b),
    "intersection_update": lambda a, b: a.intersection_update(b),
    "symmetric_difference_update": lambda a, b: a.symmetric_difference_update(set(b)),
    "clear": lambda a, b: a.clear(),
}


@given(some, some, st.sampled_from(sorted(OPERATIONS)))
def test_what_is_made_of_sets_is_equal_and_in_order(mine, others, operation):
    made = OPERATIONS[operation](OrderedSet(mine), OrderedSet(others))

    assert made == OPERATIONS[operation](set(mine), set(others))
    assert isinstance(made, set)
    assert list(made) == [thing for thing in THINGS if thing in made]


@given(some, some, st.sampled_from(sorted(CHANGES)))
def test_a_changed_set_is_equal_and_in_order(mine, others, change):
    ordered, plain = OrderedSet(mine), set(mine)
    assert CHANGES[change](ordered, others) == CHANGES[change](plain, others)

    assert ordered == plain
    assert list(ordered) == [thing for thing in THINGS if thing in plain]
    assert [ordered.pop() for _ in plain] == [thing for thing in THINGS if thing in plain]
    with pytest.raises(KeyError, match="pop from an empty set"):
        ordered.pop()


def test_pop_finds_what_was_added_meanwhile():
    ordered = OrderedSet(THINGS[:3])

    assert ordered.pop() is THINGS[0]
    ordered.discard(THINGS[1])
    ordered.add(THINGS[9])
    assert [ordered.pop(), ordered.pop()] == [THINGS[2], THINGS[9]]


def test_it_reads_as_a_set():
    assert repr(OrderedSet()) == "set()"
    assert repr(OrderedSet(THINGS[:2])) == "{thing 0, thing 1}"
    assert type(OrderedSet()).__name__ == "set"
    assert OrderedSet(THINGS) == set(THINGS) == OrderedSet(THINGS[::-1])
    with pytest.raises(TypeError, match="unhashable"):
        OrderedSet([[]])
    with pytest.raises(TypeError):
        hash(OrderedSet())


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("kind", [set, OrderedSet])
def test_a_set_that_changes_while_it_is_gone_through(kind, size):
    things = kind(THINGS[:size])
    members = iter(things)
    things.discard(next(members))

    with pytest.raises(RuntimeError, match="Set changed size during iteration"):
        next(members)


def test_what_takes_no_number_comes_as_it_was_given():
    given_items = ["b", THINGS[3], "a", THINGS[1], "c"]

    assert list(OrderedSet(given_items)) == [THINGS[1], THINGS[3], "b", "a", "c"]


# --- the order of asyncio's own sets ----------------------------------------------------------------------------------


async def futures_of_a_list():
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(12)]
    for n, future in enumerate(futures):
        loop.call_later(0.1 * (n % 3), future.set_result, n)  # further apart than anything is late
    done, pending = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    if pending:
        await asyncio.wait(pending)
    return [future.result() for future in done], [futures.index(future) for future in pending - done]


async def jobs():
    loop = asyncio.get_running_loop()
    done, _ = await asyncio.wait({loop.run_in_executor(None, int, n) for n in range(12)})
    return [future.result() for future in done]


async def futures_as_completed():
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(12)]
    for n, future in enumerate(futures):
        loop.call_later(0.001, future.set_result, n)
    return [await each for each in asyncio.as_completed(futures)]


async def coroutines_as_completed():
    async def work(n):
        await asyncio.sleep(0.001)
        return n, asyncio.current_task().get_name()

    return [await each for each in asyncio.as_completed([work(n) for n in range(12)])]


async def steps_of_generators():
    async def numbers(n):
        await asyncio.sleep(0.001)
        yield n

    tasks = [asyncio.ensure_future(anext(numbers(n))) for n in range(12)]
    done, _ = await asyncio.wait(tasks)
    return [task.result() for task in done]


async def group_that_aborts():
    log = []

    async def worker(n):
        try:
            await asyncio.sleep(60)
        finally:
            log.append(n)

    async def fail():
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            for n in range(12):
                group.create_task(worker(n), name="worker" if n % 2 else None)
            await asyncio.sleep(1)
            group.create_task(fail())
    except* LookupError:
        pass
    return log


PROGRAMS = [
    futures_of_a_list,
    jobs,
    futures_as_completed,
    coroutines_as_completed,
    steps_of_generators,
    group_that_aborts,
]


def own_factory(loop, coro, **kwargs):
    return asyncio.Task(coro, loop=loop, **kwargs)


FACTORIES = {"no factory": None, "a factory": own_factory}
if sys.version_info >= (3, 12):
    FACTORIES["eager"] = asyncio.eager_task_factory


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
@pytest.mark.parametrize("strict", [False, True], ids=["plain", "strict"])
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("program", PROGRAMS)
def test_there_is_one_order(program, seed, strict, factory):
    async def main():
        asyncio.get_running_loop().set_task_factory(factory)
        return await program()

    garbage, seen = [], set()
    for _ in range(20):
        garbage.append([object() for _ in range(random.randrange(500))])
        seen.add(str(run(main, seed, strict=strict)))

    assert len(seen) == 1


@pytest.mark.parametrize("order", [None, *LEVELS])
def test_tasks_that_a_program_makes_itself_have_their_place_at_tear_down(order):
    """Three at once, beside others, of which one has a name of its own; Runner asks when its loop has stopped."""

    def torn_down():
        log, kept = [], []

        async def worker(name):
            try:
                await asyncio.sleep(60)
            finally:
                log.append(name)

        async def main():
            loop = asyncio.get_running_loop()
            for n in range(12):
                if n % 4 == 3:
                    kept.append(asyncio.Task(worker(n), loop=loop, name="mine" if n == 7 else None))
                else:
                    kept.append(asyncio.create_task(worker(n)))
            await asyncio.sleep(1)
            names = [task.get_name() for task in kept]
            assert len(set(names)) == 12 or order is None
            assert all(is_default_name(name) for name in names if name != "mine")

        run(main, None if order is None else 1, order=order)
        return tuple(log)

    garbage, seen = [], set()
    for _ in range(20):
        garbage.append([bytes(random.randrange(600)) for _ in range(50)])
        seen.add(torn_down())

    assert len(seen) == 1
    assert order is None or seen.pop() == tuple(range(12))


@pytest.mark.slow
def test_processes_with_other_hash_seeds_agree():
    program = f"""
import sys
sys.path[:] = {[str(Path(__file__).parent), *sys.path]!r}
from test_sets import PROGRAMS, run
for program in PROGRAMS:
    for seed in (None, 3):
        print(run(program, seed))
"""

    def output(hash_seed):
        env = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
        return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, check=True, text=True)

    assert len({output(hash_seed).stdout for hash_seed in range(4)}) == 1


# --- nothing is left changed ------------------------------------------------------------------------------------------


def test_a_stock_loop_in_another_thread_gets_plain_sets():
    async def on_stock():
        done, pending = await asyncio.wait([asyncio.create_task(asyncio.sleep(0.001))])
        return type(done), type(pending), type(asyncio.all_tasks())

    async def main():
        return await asyncio.to_thread(asyncio.run, on_stock())

    assert run(main) == (set, set, set)


def test_on_this_loop_they_are_ordered_ones():
    async def main():
        done, pending = await asyncio.wait([asyncio.create_task(asyncio.sleep(0.001))])
        return [isinstance(each, OrderedSet) for each in (done, pending, asyncio.all_tasks())]

    assert run(main) == [True] * 3


def test_all_tasks_of_a_stopped_loop_are_in_order_until_it_is_closed():
    stock = asyncio.all_tasks
    with opened() as loop:
        tasks = [loop.create_task(asyncio.sleep(n)) for n in (1, 2, 3)]
        loop.run_until_complete(tasks[0])
        left = asyncio.all_tasks(loop)

        assert isinstance(left, OrderedSet)
        assert list(left) == tasks[1:]
        loop.run_until_complete(asyncio.gather(*tasks))
        assert asyncio.all_tasks(loop) == set()
    assert asyncio.all_tasks is stock


def test_what_somebody_has_replaced_stays(monkeypatch):
    def mine(loop=None):
        return set()

    monkeypatch.setattr(asyncio, "all_tasks", mine)

    async def main():
        return asyncio.all_tasks is mine

    assert run(main)
    assert asyncio.all_tasks is mine


def test_many_loops_in_many_threads():
    barrier = threading.Barrier(4)

    def many(_):
        barrier.wait()
        for _ in range(50):
            with opened() as loop:

                async def main():
                    done, _ = await asyncio.wait([asyncio.create_task(asyncio.sleep(1))])
                    return isinstance(done, OrderedSet)

                assert loop.run_until_complete(main())

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(many, range(4)))

    assert "set" not in vars(asyncio.tasks)


def test_an_unclosed_loop_with_tasks_lets_go():
    stock = asyncio.all_tasks
    loop = VirtualLoop()
    coros = [asyncio.sleep(9) for _ in range(2)]
    tasks = [loop.create_task(coro) for coro in coros]
    loop.run_until_complete(asyncio.sleep(1))
    assert asyncio.all_tasks is not stock
    for task in tasks:
        task.cancel()
    loop.run_until_idle()
    del task, tasks, coros
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop

    assert asyncio.all_tasks is stock


# --- anyio's ----------------------------------------------------------------------------------------------------------


@given(some, st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), some), max_size=4))
def test_a_set_that_keeps_its_order_is_a_set(members, changes):
    kept, plain, order = KeptOrder(members), set(members), list(dict.fromkeys(members))
    for name, others in changes:
        CHANGES[name](kept, others)
        CHANGES[name](plain, others)
        new = [thing for thing in dict.fromkeys(others) if thing not in order]
        order = [thing for thing in [*order, *new] if thing in plain]
        assert kept == plain
        assert len(kept) == len(plain)
        assert all(thing in kept for thing in plain)
        if name == "symmetric_difference_update":  # that was given a set
            order = list(kept)
        assert list(kept) == order
    assert type(copy.copy(KeptOrder([1, 2]))) is set
    taken = [kept.pop() for _ in order]
    assert taken == order
    assert not kept
    with pytest.raises(KeyError):
        kept.pop()
    with pytest.raises(KeyError):
        kept.remove("nothing")


@pytest.mark.parametrize("is_loaded", [True, False])
def test_what_anyio_makes_keeps_its_order_while_a_loop_runs(monkeypatch, is_loaded):
    """It may also be loaded, and not have loaded its part for asyncio yet."""
    module = types.ModuleType(ANYIO)
    module.make = types.FunctionType((lambda: set()).__code__, module.__dict__)
    monkeypatch.setitem(sys.modules, "anyio", types.ModuleType("anyio"))
    if is_loaded:
        monkeypatch.setitem(sys.modules, ANYIO, module)
    else:
        monkeypatch.delitem(sys.modules, ANYIO, raising=False)
        monkeypatch.setattr(importlib, "import_module", {ANYIO: module}.__getitem__)

    async def main():
        return type(module.make())

    assert run(main) is KeptOrder
    assert type(module.make()) is set
    assert "set" not in vars(module)
    with asyncio.Runner() as runner:
        assert runner.run(main()) is set


def test_what_another_anyio_may_do_with_the_name_of_its_sets(monkeypatch):
    module = types.ModuleType(ANYIO)
    monkeypatch.setitem(sys.modules, "anyio", types.ModuleType("anyio"))
    monkeypatch.setitem(sys.modules, ANYIO, module)

    async def main():
        made = module.set([2, 1])
        return isinstance(made, module.set), isinstance({1}, module.set), isinstance([1], module.set), module.set[int]

    assert run(main) == (True, True, False, set[int])


def test_an_anyio_that_has_no_such_part(monkeypatch):
    monkeypatch.setitem(sys.modules, "anyio", types.ModuleType("anyio"))
    monkeypatch.delitem(sys.modules, ANYIO, raising=False)

    async def main():
        return True

    assert run(main)


def test_a_set_that_keeps_its_order_reads_as_a_set():
    assert repr(KeptOrder()) == "set()"
    assert repr(KeptOrder(["b", "a"])) == "{'b', 'a'}"
