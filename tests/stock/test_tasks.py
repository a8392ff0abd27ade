"""Tasks are named and ordered by their creation, under any task factory; those of the loop's own hash by it."""

import asyncio
import functools
import gc
import random
import sys
from asyncio import Task as ImportedTask

import pytest

from helpers import LEVELS, opened, run
from virtualloop._stock.tasks import STOCK_TASK, is_default_name, is_step, step_type


async def nothing():
    pass


class Own(asyncio.Task):
    """A user's task class, as somebody would write it."""


class OwnHash(asyncio.Task):
    def __hash__(self):
        return 1


def plain(loop, coro, **kwargs):
    return asyncio.Task(coro, loop=loop, **kwargs)


def in_module(loop, coro, **kwargs):
    return asyncio.tasks.Task(coro, loop=loop, **kwargs)


def imported(loop, coro, **kwargs):
    return ImportedTask(coro, loop=loop, **kwargs)


def own(loop, coro, **kwargs):
    return Own(coro, loop=loop, **kwargs)


class Callable:
    def __call__(self, loop, coro, **kwargs):
        return ImportedTask(coro, loop=loop, **kwargs)

    def method(self, loop, coro, **kwargs):
        return ImportedTask(coro, loop=loop, **kwargs)


FACTORIES = {
    "none": None,
    "asyncio.Task": plain,
    "asyncio.tasks.Task": in_module,
    "imported": imported,
    "own class": own,
    "callable object": Callable(),
    "method": Callable().method,
    "partial": functools.partial(imported),
}
if sys.version_info >= (3, 12):
    FACTORIES["eager"] = asyncio.eager_task_factory
    FACTORIES["eager, own class"] = asyncio.create_eager_task_factory(Own)


async def wait():
    await asyncio.sleep(1)


def seen_in_twenty_runs(main, make=opened):
    """Return what `main()` returned in twenty runs, with garbage in between, so that addresses differ."""
    seen, garbage = set(), []
    for i in range(20):
        garbage.append([bytes(random.randrange(600)) for _ in range(i * 37)])
        with make() as loop:
            seen.add(loop.run_until_complete(main(loop)))
        garbage = garbage[-3:]
    return seen


@pytest.mark.parametrize("order", LEVELS)
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_asyncio_goes_through_tasks_in_the_order_of_creation(factory, order):
    """Whatever asyncio.wait() is given, and also with tasks that are made without the loop."""

    async def main(loop):
        loop.set_task_factory(factory)
        tasks = [asyncio.create_task(wait()) for _ in range(6)]
        tasks.append(asyncio.Task(wait(), loop=loop))
        tasks.append(asyncio.create_task(wait()))
        _, pending = await asyncio.wait(set(tasks), timeout=0.5)
        found = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        done, _ = await asyncio.wait(pending)
        return str([[tasks.index(task) for task in some] for some in (pending, found, done)])

    in_order = list(range(8))

    assert seen_in_twenty_runs(main, lambda: opened(3, order=order)) == {str([in_order] * 3)}


@pytest.mark.parametrize("make", [lambda: opened(1), lambda: opened(1, strict=True)], ids=["seeded", "strict"])
def test_sets_of_a_programs_own_iterate_in_the_order_of_creation(make):
    """As far as a loop with a seed makes the tasks: nobody's class is changed, so others hash as they do."""

    async def main(loop):
        tasks = [asyncio.create_task(wait()) for _ in range(7)]
        order = [tasks.index(task) for task in set(tasks)]
        await asyncio.wait(tasks)
        return str(order)

    assert len(seen_in_twenty_runs(main, make)) == 1


def test_names_count_per_loop():
    async def main():
        return [asyncio.create_task(nothing()).get_name() for _ in range(3)]

    assert run(main) == run(main) == ["Task-2", "Task-3", "Task-4"]


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_given_names_and_contexts_reach_the_task(factory):
    import contextvars

    variable = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    context.run(variable.set, "given")

    async def read():
        return variable.get()

    with opened() as loop:
        loop.set_task_factory(factory)

        async def main():
            task = asyncio.create_task(read(), name="mine", context=context)
            return task.get_name(), await task

        assert loop.run_until_complete(main()) == ("mine", "given")


def test_names_that_a_factory_gives_stay():
    def factory(loop, coro, **kwargs):
        task = asyncio.Task(coro, loop=loop)
        task.set_name("the factory's")
        return task

    with opened() as loop:
        loop.set_task_factory(factory)
        task = loop.create_task(nothing())

        assert task.get_name() == "the factory's"
        assert loop.get_task_factory() is factory
        loop.run_until_complete(task)


def test_default_names_of_a_factorys_tasks_count_per_loop():
    names = set()
    for _ in range(2):
        with opened() as loop:
            loop.set_task_factory(own)
            task = loop.create_task(nothing())
            names.add(task.get_name())
            assert isinstance(task, Own)
            loop.run_until_complete(task)

    assert names == {"Task-1"}


def test_a_class_with_a_hash_of_its_own_keeps_it():
    with opened() as loop:
        loop.set_task_factory(lambda loop, coro, **kwargs: OwnHash(coro, loop=loop, **kwargs))
        task = loop.create_task(nothing())

        assert hash(task) == 1
        loop.run_until_complete(task)


def test_a_users_class_stays_as_it_is():
    before = dict(vars(Own))
    with opened() as loop:
        loop.set_task_factory(own)
        task = loop.create_task(nothing())
        loop.run_until_complete(task)

        assert hash(task) == object.__hash__(task)
    assert dict(vars(Own)) == before


def test_tasks_that_a_program_makes_itself_are_named_by_the_loop():
    """There are no two of one name, and the names are the same in each run."""

    async def main():
        loop = asyncio.get_running_loop()
        tasks = [
            asyncio.create_task(nothing()),
            asyncio.Task(nothing(), loop=loop),
            Own(nothing(), loop=loop),
            asyncio.Task(nothing(), loop=loop, name="mine"),
            asyncio.create_task(nothing()),
        ]
        await asyncio.wait(tasks)
        return [task.get_name() for task in tasks]

    assert run(main, 1) == run(main, 1) == ["Task-2", "Task-3", "Task-4", "mine", "Task-6"]
    assert len(set(run(main))) == 5


def test_a_factory_that_keeps_its_tasks_in_a_set_finds_them_again():
    kept = set()

    def factory(loop, coro, **kwargs):
        task = Own(coro, loop=loop, **kwargs)
        kept.add(task)
        task.add_done_callback(kept.discard)
        return task

    with opened() as loop:
        loop.set_task_factory(factory)
        loop.run_until_complete(asyncio.sleep(1))
        loop.run_until_idle()

    assert not kept


def test_asyncio_task_is_itself_while_a_factory_runs():
    def failing(loop, coro, **kwargs):
        assert asyncio.Task is asyncio.tasks.Task is ImportedTask is STOCK_TASK
        raise LookupError

    with opened() as loop:
        loop.set_task_factory(failing)
        coro = nothing()
        with pytest.raises(LookupError):
            loop.create_task(coro)
        coro.close()


if sys.version_info >= (3, 12):

    @pytest.mark.parametrize("order", LEVELS)
    def test_an_eager_first_step_sees_asyncio_as_it_is(order):
        async def child(parent):
            return isinstance(parent, asyncio.Task) and asyncio.Task is asyncio.tasks.Task is ImportedTask

        async def main():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            task = asyncio.create_task(child(asyncio.current_task()))
            return task.done() and task.result()

        assert run(main, 1, order=order)


@pytest.mark.parametrize("bad", [1, "factory"])
def test_set_task_factory_refuses_what_cannot_be_called(bad):
    with opened() as loop:
        with pytest.raises(TypeError, match="task factory must be a callable or None"):
            loop.set_task_factory(bad)

        assert loop.get_task_factory() is None


def test_a_factory_need_not_return_a_task():
    class Wrapper:
        def __init__(self, loop, coro, **kwargs):
            self.coro = coro

    with opened() as loop:
        loop.set_task_factory(Wrapper)
        made = loop.create_task(nothing())

        assert isinstance(made, Wrapper)
        made.coro.close()


def test_somebody_elses_replacement_of_asyncio_task_is_used(monkeypatch):
    monkeypatch.setattr(asyncio.tasks, "Task", Own)
    with opened() as loop:
        task = loop.create_task(nothing())

        assert type(task) is Own
        loop.run_until_complete(task)


def test_a_factory_that_is_given_an_unknown_keyword():
    with opened() as loop:
        loop.set_task_factory(plain)
        coro = nothing()
        with pytest.raises(TypeError):
            loop.create_task(coro, colour="red")
        coro.close()


def test_create_task_refuses_what_is_no_coroutine():
    with opened() as loop:
        with pytest.raises(TypeError, match="a coroutine was expected"):
            loop.create_task(42)
        coro = nothing()
        with pytest.raises(TypeError):
            loop.create_task(coro, colour="red")
        coro.close()
        loop.run_until_idle()
        gc.collect()


def test_the_callbacks_of_a_task_are_recognized():
    """If this fails on a new Python, everything still works, but each task step costs a handle."""
    seen = []

    async def main():
        await asyncio.sleep(0)
        await asyncio.sleep(1)

    with opened() as loop:
        append = loop._ready.append

        class Spy:
            def __getattr__(self, name):
                return getattr(ready, name)

        ready = loop._ready
        assert append
        loop.create_task(main())
        seen.append(ready[0])
        loop.call_soon(lambda: seen.append(ready[-1]))
        loop.call_later(1, lambda: None)
        loop.run_until_idle()

    assert [type(entry) for entry in seen] == [tuple, tuple]
    assert all(type(entry[1]) is step_type and is_step(entry[1]) for entry in seen)
    assert not is_step([].append)
    assert not is_step(print)


def test_other_methods_of_a_task_are_plain_callbacks():
    import contextvars

    with opened(7) as loop:
        task = loop.create_task(asyncio.sleep(100))
        handle = loop.call_soon(task.cancel, context=contextvars.copy_context())
        handle.cancel()
        loop.call_soon(task.set_name, "mine", context=contextvars.copy_context())
        loop.advance(1)

        assert task.get_name() == "mine"
        assert not task.done()
        assert not is_step(task.cancel)
        task.cancel()
        loop.run_until_idle()


def test_a_wakeup_is_queued_without_a_handle():
    with opened() as loop:
        future = loop.create_future()

        async def main():
            await future

        task = loop.create_task(main())
        loop.run_until_idle()
        future.set_result(None)
        (entry,) = loop._ready

        assert type(entry) is tuple
        assert is_step(entry[1])
        loop.run_until_complete(task)


def test_default_names():
    assert is_default_name("Task-12")
    assert not is_default_name("Task-")
    assert not is_default_name("Task-x")
    assert not is_default_name("worker")


def test_a_factory_is_not_given_the_context_none():
    """Before Python 3.14, which hands over whatever create_task() was given."""
    given = []

    def factory(loop, coro, **kwargs):
        given.append(kwargs.get("context"))
        return asyncio.Task(coro, loop=loop, **kwargs)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        await loop.create_task(asyncio.sleep(0), context=None)

    run(main)
    assert given == [None]


@pytest.mark.parametrize("seed", [None, 3])
def test_a_replacement_is_given_a_name(monkeypatch, seed):
    async def main():
        monkeypatch.setattr(asyncio.tasks, "Task", asyncio.tasks._PyTask)
        task = asyncio.get_running_loop().create_task(asyncio.sleep(0, 5), name="it")
        assert await task == 5
        return type(task), task.get_name()

    assert run(main, seed) == (asyncio.tasks._PyTask, "it")


@pytest.mark.parametrize("seed", [None, 3])
def test_tasks_of_a_class_that_takes_no_attributes(seed):
    class Closed(asyncio.Task):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    async def main():
        tasks = [Closed(asyncio.sleep(0, number), loop=asyncio.get_running_loop()) for number in range(3)]
        await asyncio.wait(tasks)
        return [task.result() for task in tasks]

    assert run(main, seed) == [0, 1, 2]
