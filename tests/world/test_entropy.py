"""What is random in a run follows from its number, and from nothing else."""

import contextlib
import os
import pickle
import random
import secrets
import sys
import tempfile
import threading
import uuid

import pytest

from virtualloop._core.clock import LateClock
from virtualloop._world import patches, shares
from virtualloop._world.clocks import LoopReader
from virtualloop._world.entropy import Dice, Uuids
from virtualloop._world.shares import Share


@contextlib.contextmanager
def run(number):
    """Make this thread that of a run with dice and a clock of its own; with a clock only where there is no number."""
    dice = None if number is None else Dice(number)
    uuids = Uuids()
    reader = LoopReader(LateClock(), 1_800_000_000_000_000, None, lambda: None)
    with patches.in_place():
        before = shares.enter(Share(reader, dice))
        uuids.exchange()
        try:
            yield dice
        finally:
            uuids.exchange()
            shares.leave(before)


def everything():
    drawn = {
        "uuid4": [uuid.uuid4() for _ in range(3)],
        "uuid1": [uuid.uuid1() for _ in range(3)],
        "node": uuid.getnode(),
        "urandom": os.urandom(20),
        "bytes": secrets.token_bytes(7),
        "hex": secrets.token_hex(),
        "url": secrets.token_urlsafe(),
        "below": secrets.randbelow(10**9),
        "bits": secrets.randbits(33),
        "choice": secrets.choice(range(10**9)),
        "system": random.SystemRandom().random(),
        "shuffled": random.SystemRandom().sample(range(100), 20),
        "generator": random.Random().random(),
    }
    random.seed()
    drawn["seeded"] = random.random()
    if hasattr(os, "getrandom"):
        drawn["getrandom"] = os.getrandom(5)
    for name in ("uuid6", "uuid7"):
        if hasattr(uuid, name):
            drawn[name] = [getattr(uuid, name)() for _ in range(3)]
    return drawn


@pytest.fixture(autouse=True)
def _seeded():
    state = random.getstate()
    random.seed(0)
    yield
    random.setstate(state)


def drawn_in(number):
    random.seed(0)
    with run(number):
        return everything()


def test_the_same_number_is_the_same_run():
    first = drawn_in(7)

    assert drawn_in(7) == first
    other = drawn_in(8)
    assert [name for name in first if first[name] == other[name]] == []


def test_no_two_draws_are_the_same():
    drawn = drawn_in(7)

    assert len({*drawn["uuid4"], *drawn["uuid1"]}) == 6
    assert all(each.version == 1 for each in drawn["uuid1"]) and all(each.version == 4 for each in drawn["uuid4"])


def test_a_uuid_has_the_time_of_the_run():
    with run(1):
        first = uuid.uuid1()
        assert (first.time - 0x01B21DD213814000) // 10 == 1_800_000_000_000_000
        assert uuid.uuid1(node=5, clock_seq=6).fields[3:] == (0x80, 6, 5)
        assert first.node == uuid.getnode() and first.node >> 40 & 1
        if hasattr(uuid, "uuid7"):
            assert uuid.uuid7().time == 1_800_000_000_000


def test_a_uuid_has_the_time_of_the_run_where_only_the_clock_is_its_own():
    known = {name: vars(uuid).get(name) for name in ("_last_timestamp", "_last_timestamp_v6", "_last_timestamp_v7")}
    with run(None):
        first, second = uuid.uuid1(), uuid.uuid1()
        assert (first.time - 0x01B21DD213814000) // 10 == 1_800_000_000_000_000
        assert first.node == uuid.getnode()
        assert first != second
        if hasattr(uuid, "uuid7"):
            assert uuid.uuid7().time == 1_800_000_000_000
        assert uuid.uuid1(node=5, clock_seq=6).fields[3:] == (0x80, 6, 5)
        assert uuid.uuid1(node=5).node == 5

    assert {name: vars(uuid).get(name) for name in known} == known


def test_a_generator_may_be_seeded_again_and_by_a_class_of_its_own():
    class Own(random.Random):
        def __init__(self):
            self.seed()

    def drawn():
        generator = random.Random(1)
        generator.seed()
        return generator.random(), Own().random()

    with run(7):
        first = drawn()
    with run(7):
        assert drawn() == first
    assert drawn() != first


def test_a_uuid_of_nobodys_thread_is_a_real_one():
    made, begun = [], threading.Event()
    thread = threading.Thread(target=lambda: (begun.wait(), made.append(uuid.uuid1())))
    thread.start()
    with run(7):
        here = uuid.uuid1()
        begun.set()
        thread.join()

    assert made[0].time != here.time
    assert made[0].node != here.node


def test_given_back():
    uuid.uuid1(node=1)
    state = {name: vars(uuid).get(name) for name in ("_last_timestamp", "_last_timestamp_v7", "_last_counter_v7")}
    functions = os.urandom, uuid.uuid1, uuid.getnode, random.seed, random.Random.seed, random._urandom
    with run(7):
        everything()
    after = os.urandom, uuid.uuid1, uuid.getnode, random.seed, random.Random.seed, random._urandom
    assert all(map(lambda one, other: one is other, functions, after))
    assert {name: vars(uuid).get(name) for name in state} == state
    assert uuid.uuid4() != uuid.uuid4()
    assert os.urandom(16) != drawn_in(7)["urandom"][:16]


def test_everyone_else_has_real_entropy():
    seen = []
    with run(7):
        drawn = os.urandom(16)
    with run(7):
        shares_of_this = shares.share_here()
        thread = threading.Thread(target=lambda: seen.append((shares.share_here(), os.urandom(16))))
        thread.start()
        thread.join()
        before = shares.enter(Share(None, None))
        real = os.urandom(16)
        shares.leave(before)

    assert real != drawn
    share, of_the_thread = seen[0]
    assert share is not shares_of_this and share.dice.number == 7
    assert of_the_thread not in (real, drawn)


def test_threads_of_a_run_have_streams_of_their_own():
    def draw():
        drawn = {}

        def job(name):
            drawn[name] = os.urandom(8)
            inner = threading.Thread(target=lambda: drawn.__setitem__(name + "'s", os.urandom(8)))
            inner.start()
            inner.join()

        with run(7):
            threads = [threading.Thread(target=job, args=(name,)) for name in "abc"]
            for thread in reversed(threads):
                thread.start()
            for thread in threads:
                thread.join()
        return drawn

    first = draw()
    assert len(set(first.values())) == 6
    assert all(draw() == first for _ in range(20))


def test_tempfile_is_left_alone():
    def names():
        with run(7), tempfile.TemporaryDirectory() as folder:
            return folder

    names_before = tempfile._name_sequence
    try:
        seen = set()
        for _ in range(2):
            tempfile._name_sequence = None  # as in a new process
            seen.add(names())
    finally:
        tempfile._name_sequence = names_before

    assert len(seen) == 2


@pytest.mark.parametrize("name", ["urandom", "getrandom"])
@pytest.mark.parametrize("wrong", [-1, "1", None])
def test_errors_are_those_of_the_functions(wrong, name):
    with pytest.raises((TypeError, ValueError, OSError)) as plain:
        getattr(os, name)(wrong)
    with run(7), pytest.raises(type(plain.value)) as raised:
        getattr(os, name)(wrong)
    assert str(raised.value) == str(plain.value)


def test_random_has_a_state_of_its_own():
    random.seed(5)
    state = random.getstate()
    dice = Dice(3)
    dice.exchange_random(3)
    first = random.random()
    dice.exchange_random(3)
    assert random.getstate() == state
    dice.exchange_random(3)
    second = random.random()
    dice.exchange_random(3)
    generator = random.Random(3)
    assert [first, second] == [generator.random(), generator.random()]


def test_the_functions_are_pickled_by_name():
    with run(7):
        pickled = pickle.dumps([os.urandom, uuid.getnode, random.seed])
    assert pickle.loads(pickled) == [os.urandom, uuid.getnode, random.seed]
    assert "virtualloop" not in repr(sys.modules["random"]._urandom)
