"""Compare what loops do, not how fast they are: print the table of the README's section "How it compares".

    python benchmarks/compare.py          half a minute; peers that are not installed are left out

Each loop is run as its documentation says, with its defaults. The columns, "-" where a loop has no seeds:

virtual time           whether `asyncio.sleep(3600)` takes no real time
seeded order           whether 20 seeds make more than one order of six tasks that sleep equally long
same run for one seed  how many different runs there are in 20 of one seed, in one process whose memory changes in
                       between; ten workers of a TaskGroup that is aborted each log that they were cancelled. 1 is right
late timer             how many seeds it takes, of 200, to find a lost update that needs one sleep to end 20 ms late
threads                whether a job in `to_thread` that takes 50 ms is done under a timeout of 10 ms of the loop's time
                       / whether a job that waits for `run_coroutine_threadsafe(...).result()` gets its answer
false alarms           in how many of 200 seeds a program fails that is right on asyncio, because `call_soon` is first
                       in, first out, and a done-callback runs before a waiter that came later

A probe runs in a process of its own; one that takes 20 seconds hangs.
"""

import asyncio
import contextlib
import os
import platform
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

from loops import STOCK, table

from virtualloop import VirtualLoop

TIME_LIMIT = 20
FEW, MANY = 20, 200


# --- how each loop is run: the result of a coroutine function, with a seed ---------------------------------------------


def runner(factory, main, _seed):
    with asyncio.Runner(loop_factory=factory) as each:
        return each.run(main())


def virtualloop(main, seed, **options):
    return runner(partial(VirtualLoop, seed, **options), main, seed)


def detangle(main, seed, **options):
    return import_module("detangle").run(main, seed=seed, **options)


def simloop(main, seed):
    results = []

    async def workload():
        results.append(await main())

    if report := import_module("simloop").explore(workload, [seed]):
        raise report.exception
    return results[0]


def simloom(main, seed):
    return import_module("simloom").run(main, seed=seed).value


def seedloop(main, seed):
    results = []

    async def scenario(_world):
        results.append(await main())

    import_module("seedloop").replay(scenario, seed=seed)
    return results[0]


def made_by(module, name, **options):
    """Return how to run a loop that has no seed."""
    return lambda main, seed: runner(partial(getattr(import_module(module), name), **options), main, seed)


SEEDED = {
    "virtualloop": virtualloop,
    "detangle": detangle,
    "simloop": simloop,
    "simloom": simloom,
    "seedloop": seedloop,
}
SEEDLESS = {
    "looptime": made_by("looptime", "new_event_loop", start=0),
    "async-solipsism": made_by("async_solipsism", "EventLoop"),
    "uvloop": made_by("uvloop", "new_event_loop"),
    STOCK: made_by("asyncio", "new_event_loop"),
}
# Other modes, of which the notes say what they find.
MODES = {
    "virtualloop io": partial(virtualloop, order="io"),
    "detangle late": partial(detangle, timer_jitter=0.05, reorder=False),
}
MARKS = {
    "virtualloop": "¹",
    "detangle": "²",
    "simloop": "³",
    "simloom": "³",
    "seedloop": "³",
    "looptime": "⁴",
    "uvloop": "⁵",
    STOCK: "⁵",
}
NOTES = """\
¹ `VirtualLoop(seed)`. With `order="io"`: late timer {virtualloop io, late timer}, \
false alarms {virtualloop io, false alarms}.  
² `detangle.run(main, seed=seed)`. With `timer_jitter=0.05, reorder=False`: late timer {detangle late, late timer}, \
false alarms {detangle late, false alarms}.  
³ Replies are late in its simulated network, which this program does not use.  
⁴ While a thread is at work, its time goes on with the real time, so the timeout is due.  
⁵ Its time is the real time, so the timeout is due."""


# --- the programs -----------------------------------------------------------------------------------------------------


async def equal_deadlines():
    log = []

    async def work(i):
        for _ in range(2):
            await asyncio.sleep(0.01)
            log.append(i)

    await asyncio.gather(*map(work, range(6)))
    return tuple(log)


async def aborted_group():
    log = []

    async def worker(i):
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            log.append(i)
            raise

    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for i in range(10):
                group.create_task(worker(i))
            await asyncio.sleep(0.01)
            raise LookupError
    return tuple(log)


async def two_deposits():
    balance = 100

    async def deposit(amount, after):
        nonlocal balance
        await asyncio.sleep(after)
        before = balance
        await asyncio.sleep(0.01)
        balance = before + amount

    await asyncio.gather(deposit(10, after=0.0), deposit(20, after=0.03))
    return balance


async def slow_job():
    async with asyncio.timeout(0.01):
        await asyncio.to_thread(time.sleep, 0.05)


async def job_that_calls_back():
    loop = asyncio.get_running_loop()

    async def answer():
        await asyncio.sleep(0.01)

    await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(answer(), loop).result())


async def protocol_and_waiter():
    """Return whether a protocol saw its calls in order, and a task's done-callback ran before who awaited it later."""
    calls, ends = [], []
    expected = ["connection_made", "data_received", "data_received", "connection_lost"]
    for call in expected:
        asyncio.get_running_loop().call_soon(calls.append, call)
    task = asyncio.create_task(asyncio.sleep(0.01))
    task.add_done_callback(lambda _: ends.append("callback"))
    await task
    ends.append("waiter")
    await asyncio.sleep(0.01)
    return calls == expected and ends == ["callback", "waiter"]


# --- the probes: each returns what its cell says ----------------------------------------------------------------------


def virtual_time(run):
    run(partial(asyncio.sleep, 3600), 0)
    return "yes"


def seeded_order(run):
    return "yes" if len({run(equal_deadlines, seed) for seed in range(FEW)}) > 1 else "no"


def same_run(run):
    found, kept, rng = set(), [], random.Random(0)
    for _ in range(FEW):
        found.add(run(aborted_group, 1))
        # Some memory is taken, some is given back, so that the next tasks are at other addresses in another order.
        kept += [bytes(rng.randrange(16, 600)) for _ in range(2000)]
        kept = rng.sample(kept, len(kept) // 2)
    return "1" if len(found) == 1 else f"{len(found)} of {FEW}"


def late_timer(run):
    needed = next((seed + 1 for seed in range(MANY) if run(two_deposits, seed) != 130), None)
    return str(needed or f"not in {MANY}")


def threads(run, program):
    for seed in range(5):
        run(program, seed)
    return "yes"


def false_alarms(run):
    return str(sum(not run(protocol_and_waiter, seed) for seed in range(MANY)))


# Of each, whether a loop without seeds is probed, too.
PROBES = {
    "virtual time": (virtual_time, True),
    "seeded order": (seeded_order, False),
    "same run for one seed": (same_run, False),
    "late timer": (late_timer, False),
    "slow job": (partial(threads, program=slow_job), True),
    "calls back": (partial(threads, program=job_that_calls_back), True),
    "false alarms": (false_alarms, False),
}


def probe(loop, name):
    try:
        return PROBES[name][0]((SEEDED | SEEDLESS | MODES)[loop])
    except TimeoutError:
        return "times out"
    except Exception as exc:
        return type(exc).__name__


def cell(loop, name):
    """Return what a probe says, in a process whose hashes of strings are always the same."""
    if loop in SEEDLESS and not PROBES[name][1]:
        return "-"
    command = [sys.executable, "-W", "ignore", __file__, loop, name]
    env = os.environ | {"PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIME_LIMIT, check=True)  # noqa: S603
    except subprocess.TimeoutExpired:
        return "no" if name == "virtual time" else "hangs"
    except subprocess.CalledProcessError as exc:
        return f"exit status {exc.returncode}"
    return done.stdout.split("\n")[-2]


def main():
    loops = [name for name in SEEDED | SEEDLESS if find_spec(name.replace("-", "_"))]
    modes = [name for name in MODES if name.partition(" ")[0] in loops]
    pairs = [(loop, name) for loop in loops + modes for name in PROBES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        cells = dict(zip(pairs, pool.map(lambda pair: cell(*pair), pairs), strict=True))
    for loop in loops:
        both = [cells[loop, "slow job"], cells[loop, "calls back"]]
        cells[loop, "threads"] = " / ".join(dict.fromkeys(both))
    columns = ["virtual time", "seeded order", "same run for one seed", "late timer", "threads", "false alarms"]
    print(table(["", *columns], [[loop + MARKS.get(loop, ""), *(cells[loop, name] for name in columns)] for loop in loops]))
    print()
    print(NOTES)
    print(f"\n{platform.python_implementation()} {platform.python_version()}; ")


if __name__ == "__main__":
    print(probe(*sys.argv[1:])) if sys.argv[1:] else main()
