"""How many runs an exploration makes in a second: virtualloop's explore() beside detangle's, and beside plain runs.

A section of `run.py`, and what its `--check` holds to the floors under [exploration]. All explore the same program in
the same process, round by round; it is right, so that each makes all its runs. detangle explores as it does by default,
without its database.
"""

import asyncio
import gc
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from time import perf_counter

import virtualloop
from loops import table

# Runs in a measurement: a tenth of a second or so of ours.
RUNS = {6: 300, 200: 20}
STEPS = 10
ROUNDS = 9


def switch(tasks):
    """Tasks that yield to each other, and then sleep: what is ready is never less than all of them."""

    async def main():
        async def task():
            for _ in range(STEPS - 1):
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)

        await asyncio.gather(*[task() for _ in range(tasks)])

    return main


def sleep(tasks):
    """Tasks that sleep, never for long: every wake-up may be late, and late ones meet."""

    async def main():
        async def task(k):
            for i in range(STEPS):
                await asyncio.sleep(0.001 * (k % 7 + i))

        await asyncio.gather(*map(task, range(tasks)))

    return main


def plain(main, runs):
    for _ in range(runs):
        with asyncio.Runner(loop_factory=virtualloop.VirtualLoop) as runner:
            runner.run(main())


def ours(main, runs):
    virtualloop.explore(main, runs=runs)


def detangle(main, runs):
    import_module("detangle").explore(main, runs=runs, database=False)


def measure():
    """Return, by program and number of tasks, seconds a run of each."""
    explorers = {"plain": plain, "virtualloop": ours} | ({"detangle": detangle} if find_spec("detangle") else {})
    found = {}
    for program in (switch, sleep):
        for tasks, runs in RUNS.items():
            main = program(tasks)
            taken = {name: [] for name in explorers}
            for round_ in range(ROUNDS + 1):
                for name, explore in explorers.items():
                    # A loop that takes a hundred times as long need not be run as often.
                    count = max(runs // 10, 2) if name == "detangle" else runs
                    gc.collect()
                    start = perf_counter()
                    explore(main, count)
                    if round_:  # the first one warms up
                        taken[name].append((perf_counter() - start) / count)
            found[program.__name__, tasks] = taken
    return found


def ratio(taken, name, to):
    """Return how many times the seconds of `to` are those of `name`, round by round."""
    return median(one / other for one, other in zip(taken[to], taken[name], strict=True))


def section():
    """Return the table."""
    rows = []
    for (program, tasks), taken in measure().items():
        row = [f"{program}, {tasks} tasks, {tasks * STEPS} steps", f"{1 / median(taken['virtualloop']):,.0f}"]
        row.append(f"{1 / ratio(taken, 'virtualloop', 'plain'):.2f}")
        peer = "detangle" in taken
        row.append(f"{1 / median(taken['detangle']):,.1f}" if peer else "-")
        row.append(f"{ratio(taken, 'virtualloop', 'detangle'):.1f}" if peer else "-")
        rows.append(row)
    header = ["runs a second", "virtualloop", "cost, plain runs = 1", "detangle", "times as many"]
    return table(header, rows)


def shortfalls(floors):
    """Return what is below its floor, in words."""
    short = []
    for (program, tasks), taken in measure().items():
        cost = 1 / ratio(taken, "virtualloop", "plain")
        most = floors[f"{program}, cost"]
        if cost > most:
            short.append(f"exploration, {program}, {tasks} tasks: cost {cost:.2f}, at most {most}")
        floor = floors[f"{program}, {tasks} tasks"]
        if "detangle" in taken and (got := ratio(taken, "virtualloop", "detangle")) < floor:
            short.append(f"exploration, {program}, {tasks} tasks: {got:.1f} times detangle's runs, floor {floor}")
    return short


if __name__ == "__main__":
    print(section())
