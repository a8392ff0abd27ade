"""Programs that are not the same in each run: those that do the same in another order go on, all others are refused."""

import asyncio
import itertools
import warnings

import pytest

import virtualloop
from virtualloop import VirtualLoopError, explore


def hashes():
    """Return a class whose objects are in another order in each set, as those of most classes by their addresses."""
    # No generator of random numbers: each run finds those in the same state.
    numbers = itertools.accumulate(itertools.repeat(48_271), lambda number, by: number * by % (2**31 - 1), initial=3)

    class Connection:
        def __init__(self, name):
            self.name = name
            self.sent = asyncio.Queue()
            self.got = []
            self.hash = next(numbers)

        def __hash__(self):
            return self.hash

        async def run(self, connections):
            connections.add(self)
            try:
                while (message := await self.sent.get()) is not None:
                    await asyncio.sleep(0.01)
                    self.got.append(message)
            finally:
                connections.remove(self)

    return Connection


async def broadcast(connections, message):
    for connection in connections:
        await asyncio.sleep(0.001)
        connection.sent.put_nowait(message)


def service(kind, *, snapshot):
    async def main():
        connections = set()
        all_of_them = [kind(number) for number in range(4)]
        tasks = [asyncio.create_task(each.run(connections), name=f"client {each.name}") for each in all_of_them]
        await asyncio.sleep(0.01)
        one_goes = asyncio.create_task(asyncio.sleep(0.02))
        one_goes.add_done_callback(lambda _: all_of_them[1].sent.put_nowait(None))
        await broadcast(list(connections) if snapshot else connections, "hello")
        for each in all_of_them:
            each.sent.put_nowait(None)
        await asyncio.gather(*tasks)

    return main


@pytest.mark.parametrize("order", ["timing", "io", "tasks"])
def test_a_race_in_a_set_of_objects_is_found(order):
    main = service(hashes(), snapshot=False)

    exploration = explore(main, order=order, check=False)

    failure = exploration.failure
    assert str(failure.exception).startswith("Set changed size during iteration")
    told = " ".join(failure.report.split())
    assert "The program is not the same in each run: where they part, its runs do the same in another order" in told
    assert "Of 12 runs of this one, " in told
    assert "failed like this: a replay may pass, or not fit. Make it several times, or keep" in told
    assert failure.token
    assert "broadcast" in told or "main" in told


def test_its_replay_is_made_several_times_to_see_it():
    main = service(hashes(), snapshot=False)
    token = explore(main, check=False).failure.token

    def fails():
        try:
            return explore(main, replay=token, check=False).failure is not None
        except ValueError:
            return False

    assert any(fails() for _ in range(24))


def test_a_right_program_with_a_set_of_objects_passes_with_a_warning():
    main = service(hashes(), snapshot=True)

    with pytest.warns(
        UserWarning, match="is not the same in each run: where they part, its runs do the same"
    ) as warned:
        exploration = explore(main, runs=150)

    assert exploration.failure is None
    assert not exploration.exhausted
    assert str(exploration).splitlines()[-1].startswith("not the same in each run: ")
    assert exploration.unsteady in str(exploration)
    assert "Keep the objects in a dict or a list" in str(warned[0].message)


def test_a_set_of_one_order_is_no_matter():
    class Connection(hashes()):
        def __hash__(self):
            return self.name

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exploration = explore(service(Connection, snapshot=True), runs=50)

    assert exploration.unsteady == ""


def test_what_the_order_of_a_set_brings_about_by_itself_is_a_failure():
    kind = hashes()

    async def main():
        first, *_ = {kind(number) for number in range(3)}
        await asyncio.create_task(asyncio.sleep(0.01), name=f"client {first.name}")
        await asyncio.gather(*[asyncio.create_task(asyncio.sleep(0.02), name=f"client {n}") for n in range(3)])
        assert first.name, "the first one is not the first client"

    exploration = explore(main, check=False)

    told = " ".join(exploration.failure.report.split())
    assert str(exploration.failure.exception).startswith("the first one is not")
    assert "The program is not the same in each run" in told


def test_what_does_something_else_is_refused():
    runs = itertools.count()

    async def even():
        await asyncio.sleep(0.01)

    async def odd():
        await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)

    async def main():
        await asyncio.create_task(even() if next(runs) % 2 else odd(), name="one")
        await asyncio.sleep(0.01)

    with pytest.raises(VirtualLoopError, match="the first run, made again, is another one: it depends on something"):
        explore(main)


def test_another_order_that_shows_after_some_runs_does_not_end_it():
    kind = hashes()
    runs = itertools.count()

    async def main():
        order = [*range(5)] if next(runs) < 9 else [each.name for each in {kind(number) for number in range(5)}]

        async def one(number):
            await asyncio.sleep(0.01)
            await asyncio.sleep(0.01 * number)

        for number in order:
            asyncio.create_task(one(number), name=f"client {number}")
        await asyncio.sleep(0.005)
        virtualloop.choose(range(2 + order[0]))
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    with pytest.warns(UserWarning, match="is not the same in each run"):
        assert explore(main, runs=100).runs == 100


def test_a_kept_run_of_a_set_of_objects_does_not_say_that_the_program_was_edited(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALLOOP_KEEP", str(tmp_path))
    test = virtualloop.explored(service(hashes(), snapshot=False))

    for _ in range(6):
        with pytest.raises(RuntimeError, match="Set changed size") as caught:
            test()
        notes = " ".join(caught.value.__notes__)
        assert "has changed since" not in notes
        assert ("it is another run now" in notes) <= ("differs from run to run" in notes)
