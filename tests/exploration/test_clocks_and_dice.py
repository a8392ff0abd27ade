"""The runs of an exploration have clocks and dice of their own, and a token keeps what they begin with."""

import asyncio
import concurrent.futures
import datetime as dt
import functools
import multiprocessing
import os
import random
import re
import subprocess
import sys
import threading
import time
import unittest
import uuid
from pathlib import Path
from types import ModuleType

import pytest

import virtualloop
from helpers import run, session_environment
from virtualloop import explore, explored, ladder
from virtualloop.__main__ import main as command
from virtualloop.schedules import Recording, Replay, _token

MOMENT = dt.datetime(2028, 2, 29, 23, 59, 59, 7, tzinfo=dt.UTC)
#: A token of version 0.2: two deposits, with the real clock.
OLD = "v1.eNrLzFcwNQACBbMkQ2MFYz0gkZGfk2JlZGVoZQgAZ8YG-A"

is_lost = functools.partial(virtualloop.choose, [False, True])


async def receipt():
    """Fail once something varies, with what it knows of time and chance."""
    await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
    if is_lost():
        raise LookupError(told())


async def dated():
    """Fail on one day in four years, and only where something varies."""
    await asyncio.sleep(0.01)
    today = dt.datetime.now(dt.UTC)
    assert not (is_lost() and (today.month, today.day) == (2, 29))


async def unlucky():
    """Fail for some keys, whatever the schedule is."""
    await asyncio.gather(*[asyncio.sleep(0.01 * (1 + i)) for i in range(20)])
    key = uuid.uuid4()
    if key.int % 7 == 3:
        raise LookupError(str(key))


def told():
    zone = dt.UTC
    return f"{dt.datetime.now(zone)} {time.time()} {time.monotonic()} {uuid.uuid4()} {random.random()}"


def failure_of(main, **options):
    failure = explore(main, check=False, **options).failure
    assert failure is not None
    return failure


# --- what runs see ----------------------------------------------------------------------------------------------------


def test_one_moment_for_all_runs():
    seen = set()

    async def main():
        seen.add((time.time(), dt.datetime.now(dt.UTC), time.monotonic()))
        await asyncio.gather(asyncio.sleep(0.001), asyncio.sleep(0.002))

    before = int(time.time())
    explore(main, runs=20)
    ((now, moment, steady),) = seen
    assert before <= now <= time.time()
    assert now == int(now) == moment.timestamp()
    assert steady == 0

    seen.clear()
    explore(main, runs=20, epoch=MOMENT)
    assert seen == {(MOMENT.timestamp(), MOMENT, 0)}


def test_they_can_be_switched_off():
    seen = []

    async def main():
        seen.append((time.monotonic(), uuid.uuid4()))
        await asyncio.gather(asyncio.sleep(0.001), asyncio.sleep(0.002))

    explore(main, runs=3, patch_time=False)
    assert all(now > 0 for now, _ in seen)
    assert seen[0][1] == seen[1][1]
    seen.clear()
    explore(main, runs=3, patch_random=False)
    assert all(now == 0 for now, _ in seen)
    assert seen[0][1] != seen[1][1]
    code = (
        "import asyncio, sys, virtualloop\n"
        "virtualloop.explore(lambda: asyncio.sleep(1), runs=3, patch_time=False, patch_random=False)\n"
        "print('virtualloop._world.patches' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert printed.split() == ["False"]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"epoch": 0, "patch_time": False}, ValueError, "epoch is where the calendar starts"),
        ({"epoch": "today"}, TypeError, "epoch must be a datetime or seconds since 1970, not 'today'"),
        ({"epoch": 1e20}, ValueError, "epoch must be a moment that datetime knows"),
    ],
)
def test_wrong_arguments(options, error, text):
    with pytest.raises(error, match=text):
        explore(dated, **options)


def test_random_runs_have_dice_of_their_own_and_their_neighbours_those_of_the_plain_run():
    def keys(seed):
        found = []

        async def main():
            await asyncio.gather(*[asyncio.sleep(0.001 * i) for i in range(1, 12)])
            found.append(uuid.uuid4())

        explore(main, runs=60, seed=seed, order="io", epoch=0)
        return found

    one = keys(0)
    assert one[0] == one[1]  # which is the plain run, made again
    assert 20 < len(set(one)) < 50
    assert keys(0) == one
    assert not set(one) & set(keys(1))


def test_what_is_set_up_and_torn_down_is_part_of_the_run():
    seen = []

    def main():
        seen.append((time.time(), uuid.uuid4()))

        async def leaves_a_task():
            async def waits():
                try:
                    await asyncio.sleep(3600)
                finally:
                    seen.append((time.time(), uuid.uuid4()))

            task = asyncio.create_task(waits())
            await asyncio.sleep(1)
            seen.append((time.time(), uuid.uuid4()))
            del task

        return leaves_a_task()

    explore(main, runs=1, epoch=5)
    assert [now for now, _ in seen] == [5, 6.000001, 6.000001] * 2
    assert len(set(seen)) == 3


def test_before_the_loop_runs_waits_are_real_and_a_stock_loop_has_real_time():
    ready = []

    def main():
        began = time.monotonic()
        asyncio.run(asyncio.sleep(0.001))
        time.sleep(0.002)
        event = threading.Event()

        def serve():
            time.sleep(0.001)
            event.set()

        thread = threading.Thread(target=serve)
        thread.start()
        ready.append(event.wait(60))
        thread.join()
        ready.append(threading.Event().wait(0.001))
        ready.append(time.monotonic() - began >= 0.003)
        return asyncio.sleep(1)

    real = time.monotonic()
    explore(main, runs=1, order="fifo")
    assert ready == [True, False, True] * 2
    assert time.monotonic() - real >= 0.008


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [None, 0, MOMENT, 1_800_000_000.25])
def test_a_token_brings_the_run_back(epoch):
    failure = failure_of(receipt, epoch=epoch)
    again = failure_of(receipt, replay=failure.token)

    assert (str(again.exception), again.token) == (str(failure.exception), failure.token)
    assert len(failure.token) < 100
    with pytest.raises(LookupError) as caught:
        run(receipt, schedule=Replay(failure.token))
    assert str(caught.value) == str(failure.exception)
    recording = Recording(Replay(failure.token))
    with pytest.raises(LookupError, match=re.escape(str(failure.exception))):
        run(receipt, schedule=recording)


def test_an_epoch_pins_a_replay_on_a_plain_loop():
    failure = failure_of(receipt, epoch=MOMENT)
    with pytest.raises(LookupError, match=r"^1970-01-01"):
        run(receipt, schedule=Replay(failure.token), epoch=0)


def test_a_run_that_fails_by_its_keys_is_made_again():
    failure = failure_of(unlucky, seed=4, order="io")
    assert _token.decode(failure.token).number % 1_000_000
    assert failure.level == "fifo"
    assert str(failure_of(unlucky, replay=failure.token).exception) == str(failure.exception)


def test_a_token_without_terms_is_a_run_with_the_real_ones():
    token = _token.decode(OLD)
    assert (token.epoch, token.number) == (None, None)

    async def main():
        return time.time(), uuid.uuid4()

    before = time.time()
    (one, key), (_, other) = (run(main, schedule=Replay(OLD)) for _ in range(2))
    assert one > before
    assert key != other


@pytest.mark.slow
def test_another_process_on_another_day(tmp_path, monkeypatch, capsys):
    """By its token, by the command line, in pytest, in unittest: the same run."""
    program = """
import asyncio, unittest, virtualloop
from {module} import receipt

@virtualloop.explored(epoch=5)
async def test_receipt():
    await receipt()

class Receipts(unittest.TestCase):
    @virtualloop.explored
    async def test_receipt(self):
        await receipt()
"""
    (tmp_path / "test_receipts.py").write_text(program.format(module=Path(__file__).stem))
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent), *sys.path])
    environment = session_environment(PYTHONPATH=path, PYTHONHASHSEED="7", VIRTUALLOOP_KEEP="")

    def output(*arguments, **variables):
        made = [sys.executable, "-m", *arguments]
        done = subprocess.run(
            made, cwd=tmp_path, env=environment | variables, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    named = f"{Path(__file__).stem}:receipt"
    assert command(["explore", named, "--runs", "50"]) == 1
    printed = capsys.readouterr().err
    found = re.search(r"LookupError: (.*)", printed)[1]
    token = re.search(r"python -m virtualloop replay (v1\.[\w-]+) ", printed)[1]
    assert f"LookupError: {found}" in output("virtualloop", "replay", token, named)

    for framework in (("pytest", "-q", "-p", "no:cacheprovider", "test_receipts.py"), ("unittest", "test_receipts")):
        text = output(*framework)
        (*_, (token, _)) = found = re.findall(r"VIRTUALLOOP_REPLAY=(v1\.[\w-]+) (and|.*python)", text)
        errors = re.findall(r"LookupError: (\d{4}-.*)", text)
        assert found
        assert errors
        again = output(*framework, VIRTUALLOOP_REPLAY=token)
        assert set(re.findall(r"LookupError: (\d{4}-.*)", again)) & set(errors), again


def test_kept_runs_are_made_on_the_day_that_they_are_of(monkeypatch, tmp_path):
    monkeypatch.setenv("VIRTUALLOOP_KEEP", str(tmp_path))
    with pytest.raises(AssertionError):
        explored(epoch=MOMENT)(dated)()
    with pytest.raises(AssertionError) as caught:
        explored(runs=1)(dated)()
    assert "was kept" in "".join(caught.value.__notes__)
    with pytest.raises(AssertionError):
        explored(runs=1, replay=[_kept(tmp_path)])(dated)()


def _kept(folder):
    return re.search(r"^v1\.\S+", next(folder.glob("*.txt")).read_text(), re.MULTILINE)[0]


@pytest.mark.slow
def test_processes_make_the_same_runs():
    serial = [failure_of(main, epoch=MOMENT, seed=4) for main in (receipt, unlucky)]
    context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        same = [failure_of(main, epoch=MOMENT, seed=4, executor=executor) for main in (receipt, unlucky)]
    assert [(str(each.exception), each.token) for each in same] == [
        (str(each.exception), each.token) for each in serial
    ]


def test_a_ladder_takes_them_as_a_loop_does():
    async def main():
        await asyncio.sleep(1)
        return told()

    for rung in list(ladder(seeds=1, patch_time=True, patch_random=True, epoch=MOMENT).values())[:3]:
        one, other = (_on(rung, main) for _ in range(2))
        assert one == other
        assert one.startswith("2028-03-01 00:00:0")


def _on(factory, main):
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


class Explored(unittest.TestCase):
    @explored(runs=5, epoch=MOMENT)
    async def test_a_method(self):
        assert time.time() == MOMENT.timestamp()
        await asyncio.sleep(1)


# --- nothing is left --------------------------------------------------------------------------------------------------


def everywhere():
    """Return what could be another's of each module: functions and classes, and what those have."""
    found = {}
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType):
            continue
        for key, value in list(vars(module).items()):
            if callable(value):
                found[name, key] = value
            if isinstance(value, type):
                found |= {(name, key, member): each for member, each in vars(value).items() if callable(each)}
            elif hasattr(value, "__defaults__"):
                found[name, key, "defaults"] = (value.__defaults__, value.__kwdefaults__)
    return found


async def ends_well():
    await asyncio.gather(asyncio.sleep(0.001), asyncio.to_thread(time.sleep, 0.5))


async def fails():
    await ends_well()
    raise LookupError


async def is_interrupted():
    await ends_well()
    raise KeyboardInterrupt


async def nests():
    await asyncio.to_thread(run, ends_well, patch_time=True, patch_random=True)


@pytest.mark.parametrize("main", [ends_well, fails, is_interrupted, nests, lambda: 1 / 0])
def test_every_module_of_the_process_is_as_before(main):
    explore(ends_well, runs=2)  # what is imported once
    before, state = everywhere(), (random.getstate(), uuid.__name__, threading.excepthook)
    try:
        explore(main, runs=5)
    except (LookupError, KeyboardInterrupt, ZeroDivisionError):
        assert main not in (ends_well, nests)
    after = everywhere()
    assert {key for key in before if after.get(key) is not before[key] and after.get(key) != before[key]} == set()
    assert {key for key in before if after.get(key) is not before[key] and key[-1] != "defaults"} == set()
    assert (random.getstate(), uuid.__name__, threading.excepthook) == state
    assert time.time() > 1e9
    assert uuid.uuid4() != uuid.uuid4()
