"""Compare what loops do, not how fast they are: print the table of the README's section "How it compares".

    python benchmarks/compare.py          half a minute; peers that are not installed are left out

Each loop is run as its documentation says, with its defaults, and each probe in a process of its own, which has 20
seconds; then it hangs. The columns, "-" where a loop has no seeds:

virtual time                whether `asyncio.sleep(3600)` takes no real time
seeded order                whether 20 seeds make more than one order of six tasks that sleep equally long
different runs of one seed  of 20, in one process whose memory changes in between; ten workers of a TaskGroup that is
                            aborted log that they were cancelled. 1 is right
seeds to find a late reply  of 200, until a lost update is found that needs one sleep to end 20 ms late
threads                     whether a job in `to_thread` that takes 50 ms is done under a timeout of 10 ms, and one may
                            wait for `run_coroutine_threadsafe(...).result()`; both answers, if they differ. Without a
                            seed, where a loop needs none
false alarms in 200 seeds   how many of a program that is right on asyncio fail, because `call_soon` is first in, first
                            out, and a done-callback runs before a waiter that came later
"""

import asyncio
import contextlib
import os
import platform
import random
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

from loops import STOCK, table
from virtualloop import VirtualLoop

TIME_LIMIT, FEW, MANY = 20, 20, 200
NEVER = f"not in {MANY}"
NOTES = """
¹ `VirtualLoop(seed)`; with `order="io"`: late reply {virtualloop io seeds to find a late reply}, false alarms \
{virtualloop io false alarms in 200 seeds}. Threads: `VirtualLoop()`; with a seed a result may be 50 ms late.
² `detangle.run(main, seed=seed)`; with `timer_jitter=0.05, reorder=False`: late reply \
{detangle late seeds to find a late reply}, false alarms {detangle late false alarms in 200 seeds}.
³ Its seeds vary how long messages take in its simulated network; these programs send none.
⁴ While a thread is at work, its time goes on with the real time, so the timeout is due.
⁵ Its time is the real time, so the timeout is due."""
MARKS = {"virtualloop": "¹", "detangle": "²", "looptime": "⁴", "uvloop": "⁵", STOCK: "⁵"}
MARKS |= dict.fromkeys(["simloop", "simloom", "seedloop"], "³")
LATE = {"timer_jitter": 0.05, "reorder": False}


def run(main, seed, make):
    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(main())


def simloop(main, seed):
    if report := import_module("simloop").explore(main, [seed or 0]):
        raise report.exception


# How each runs a coroutine function. A second word is a mode that a note tells of.
SEEDED = {
    "virtualloop": lambda main, seed: run(main, seed, partial(VirtualLoop, seed)),
    "virtualloop io": lambda main, seed: run(main, seed, partial(VirtualLoop, seed, order="io")),
    "detangle": lambda main, seed: import_module("detangle").run(main, seed=seed),
    "detangle late": lambda main, seed: import_module("detangle").run(main, seed=seed, **LATE),
    "simloop": simloop,
    "simloom": lambda main, seed: import_module("simloom").run(main, seed=seed or 0),
    "seedloop": lambda main, seed: import_module("seedloop").replay(lambda _world: main(), seed=seed or 0),
}
SEEDLESS = {
    "looptime": partial(run, make=lambda: import_module("looptime").new_event_loop(start=0)),
    "async-solipsism": partial(run, make=lambda: import_module("async_solipsism").EventLoop()),
    "uvloop": partial(run, make=lambda: import_module("uvloop").new_event_loop()),
    STOCK: partial(run, make=asyncio.new_event_loop),
}


async def worker(i, delay, log):
    try:
        await asyncio.sleep(delay)
    finally:
        log.append(i)


async def equal_deadlines(log):
    await asyncio.gather(*[worker(i, 0.01, log) for i in range(6)])


async def aborted_group(log):
    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for i in range(10):
                group.create_task(worker(i, 1, log))
            await asyncio.sleep(0.1)
            raise LookupError


async def two_deposits(log):
    balance = 100

    async def deposit(amount, after):
        nonlocal balance
        await asyncio.sleep(after)
        before = balance
        await asyncio.sleep(0.01)
        balance = before + amount

    await asyncio.gather(deposit(10, after=0.0), deposit(20, after=0.03))
    log.append(balance == 130)


async def protocol_and_waiter(log):
    for call in ("connection_made", "data_received", "connection_lost"):
        asyncio.get_running_loop().call_soon(log.append, call)
    await asyncio.sleep(0.1)
    task = asyncio.create_task(asyncio.sleep(0.01))
    task.add_done_callback(lambda _: log.append("callback"))
    await task
    log.append("waiter")
    await asyncio.sleep(0.1)


async def slow_job(log):
    async with asyncio.timeout(0.01):
        await asyncio.to_thread(time.sleep, 0.05)
    log.append("yes")


async def job_that_calls_back(log):
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(worker("yes", 0.01, log), loop).result())


RIGHT = ("connection_made", "data_received", "connection_lost", "callback", "waiter")
# Each one's program, its seeds, and what the logs of its runs say.
PROBES = {
    "virtual time": (partial(worker, "yes", 3600), [None], lambda logs: logs[0][0]),
    "seeded order": (equal_deadlines, range(FEW), lambda logs: "yes" if len(set(logs)) > 1 else "no"),
    "different runs of one seed": (
        aborted_group,
        [1] * FEW,
        lambda logs: len(set(logs)),
    ),
    "seeds to find a late reply": (
        two_deposits,
        range(MANY),
        lambda logs: logs.index((False,)) + 1 if (False,) in logs else NEVER,
    ),
    "threads": (slow_job, [None], lambda logs: logs[0][0]),
    "calls back": (job_that_calls_back, [None], lambda logs: logs[0][0]),
    "false alarms in 200 seeds": (protocol_and_waiter, range(MANY), lambda logs: sum(log != RIGHT for log in logs)),
}


def probe(loop, name):
    program, seeds, summary = PROBES[name]
    logs, kept, rng = [], [], random.Random(0)
    try:
        for seed in seeds:
            log = []
            (SEEDED | SEEDLESS)[loop](partial(program, log=log), seed)
            logs.append(tuple(log))
            # Some memory is taken and some given back, so that the next tasks are at other addresses.
            kept = rng.sample(kept, len(kept) // 2) + [bytes(rng.randrange(16, 600)) for _ in range(1000)]
    except Exception as exc:
        return "times out" if isinstance(exc, TimeoutError) else type(exc).__name__
    return summary(logs)


def cell(loop, name):
    """Return what a probe says, in a process of its own, which hashes strings as all others do."""
    if loop in SEEDLESS and PROBES[name][1] != [None]:
        return "-"
    command, env = [sys.executable, "-W", "ignore", __file__, loop, name], os.environ | {"PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return "no" if name == "virtual time" else "hangs"
    return done.stdout.strip().rpartition("\n")[2] or f"exit status {done.returncode}"


def main():
    found = [name for name in SEEDED | SEEDLESS if find_spec(name.partition(" ")[0].replace("-", "_"))]
    pairs = [(loop, name) for loop in found for name in PROBES]
    with ThreadPoolExecutor(8) as pool:  # those that hang leave the processors to the others
        cells = dict(zip(pairs, pool.map(cell, *zip(*pairs, strict=True)), strict=True))
    loops = [name for name in found if " " not in name]
    for loop in loops:
        cells[loop, "threads"] = " / ".join(dict.fromkeys([cells[loop, "threads"], cells[loop, "calls back"]]))
    columns = [name for name in PROBES if name != "calls back"]
    rows = [[loop + MARKS.get(loop, ""), *(cells[loop, name] for name in columns)] for loop in loops]
    print(table(["", *columns], rows))
    print(NOTES.format_map(defaultdict(lambda: "-", {" ".join(pair): text for pair, text in cells.items()})))
    versions = [f"{loop} {version(loop)}" for loop in loops if loop not in (STOCK, "virtualloop")]
    print(f"\n{platform.python_implementation()} {platform.python_version()}; {', '.join(versions)}.")


if __name__ == "__main__":
    print(probe(*sys.argv[1:])) if sys.argv[1:] else main()
