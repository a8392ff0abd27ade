"""Generators of random numbers that were made before an exploration: each run finds them in the same state."""

import asyncio
import gc
import random
import tempfile

from virtualloop import explore
from virtualloop._exploration import generators
from virtualloop._exploration.generators import Generators

#: As libraries have one for their jitter, or for names and addresses of test data.
dice = random.Random()


class Faker(random.Random):
    """One of a class of its own."""

    def name(self):
        return self.choice(["Ann", "Bob", "Eve"])


class Dry(random.Random):
    """One that has a state of another kind, as hypothesis has."""

    def getstate(self):
        return "dry"

    def setstate(self, state):
        raise AssertionError("that is no state of it")


async def late_or_not():
    """Something to vary."""
    await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))


def test_each_run_draws_the_same_and_nobody_else_notices():
    faker, seen = Faker(), []
    before = dice.getstate(), faker.getstate()

    async def main():
        await late_or_not()
        seen.append((dice.random(), faker.name(), random.random()))

    explore(main, runs=5, check=False)
    assert len(seen) > 1
    assert len(set(seen)) == 1
    assert (dice.getstate(), faker.getstate()) == before
    seen.clear()
    explore(main, runs=5, check=False)
    assert len(set(seen)) == 1
    assert (dice.getstate(), faker.getstate()) == before


def test_each_keeps_what_its_seed_means():
    """A service has a generator of its own, with a seed of its own, and its numbers are not another one's."""
    one, other = random.Random(1), random.Random(2)
    first = random.Random(1).random()

    async def main():
        await late_or_not()
        assert one.random() == first
        assert one.getrandbits(64) != other.getrandbits(64) != random.getrandbits(64)

    assert explore(main, runs=20).failure is None


def test_what_depends_on_them_is_found_and_replayed():
    async def main():
        stock, sold = 1, []

        async def buy(after):
            nonlocal stock
            await asyncio.sleep(after)
            await asyncio.sleep(dice.random() / 1000)
            if stock:
                await asyncio.sleep(0.005)
                stock -= 1
                sold.append(after)

        await asyncio.gather(buy(0), buy(0.03))
        assert len(sold) == 1, f"sold twice, {dice.random()}"

    failure = explore(main, check=False).failure
    again = explore(main, replay=failure.token, check=False).failure
    assert str(failure.exception).startswith("sold twice, 0.")
    assert str(again.exception) == str(failure.exception)


def test_which_are_found():
    faker, dry = Faker(), Dry()
    found = [each for each, _ in Generators()._before]

    assert sum(each is dice for each in found) == sum(each is faker for each in found) == 1
    assert not any(each is dry or isinstance(each, random.SystemRandom) for each in found)
    assert not any(each is vars(random)["seed"].__self__ for each in found)


def test_names_of_temporary_files_stay_new():
    names = []

    async def main():
        await late_or_not()
        with tempfile.TemporaryDirectory() as folder:
            names.append(folder)

    with tempfile.TemporaryDirectory():  # now there is what draws them
        explore(main, runs=5, check=False)
    assert len(names) > 1
    assert len(set(names)) == len(names)


def test_it_is_searched_for_them_where_there_may_be_others(monkeypatch):
    searches = []
    search = gc.get_referrers
    monkeypatch.setattr(generators.gc, "get_referrers", lambda *args: searches.append(1) or search(*args))
    Generators()
    searches.clear()
    Generators().restore()
    assert not searches
    another = random.Random()
    assert any(each is another for each, _ in Generators()._before)
    assert len(searches) == 1
    del another
    gc.collect()
    Generators()
    monkeypatch.setattr(generators, "_COUNTS", False)
    searches.clear()
    Generators()
    assert len(searches) == 1
