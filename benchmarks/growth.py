"""What grows: the cost of a step with many tasks and timers, memory, and a long stretch of virtual time.

The sections of `run.py --all`. What is measured by its memory runs in a process of its own, which is this file as a
script, with the name of a function, a loop and a number.
"""

import asyncio
import gc
import json
import os
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time

from loops import LOOPS, STOCK, table
from virtualloop import Network, Trace, VirtualLoop, explore, get_network

COMPARED = [STOCK, "fifo", "tasks"]

# Steps in a measurement, of which each task makes ten at least; and of so many measurements the best counts.
STEPS, LEAST, REPEATS = 100_000, 10, 3
HEARTS = 100


async def step(tasks):
    """Return the seconds of a step when so many tasks are ready."""
    rounds = max(STEPS // tasks, LEAST)
    left = tasks
    done = asyncio.get_running_loop().create_future()

    async def task():
        nonlocal left
        for _ in range(rounds):
            await asyncio.sleep(0)
        left -= 1
        if not left:
            done.set_result(None)

    kept = [asyncio.create_task(task()) for _ in range(tasks)]
    await asyncio.sleep(0)  # all have started
    start = perf_counter()
    await done
    return (perf_counter() - start) / (len(kept) * rounds)


async def sleep(timers):
    """Return the seconds of a sleep while so many timers are pending, all of them later."""
    await pending(timers)
    start = perf_counter()
    for _ in range(STEPS // LEAST):
        await asyncio.sleep(0.001)
    return (perf_counter() - start) / (STEPS // LEAST)


def per_item(what, measured, numbers, loops):
    """Return the nanoseconds of something on several loops, by how much else there is."""

    def best(name, number):
        times = []
        for _ in range(REPEATS):
            gc.collect()
            loop = LOOPS[name]()
            times.append(loop.run_until_complete(measured(number)))
            loop.close()
        return f"{min(times) * 1e9:.0f}"

    return table([what, *loops], [[f"{number:,}", *(best(name, number) for name in loops)] for number in numbers])


def a_day(hours):
    async def heart(number):
        await asyncio.sleep(number / HEARTS)
        for _ in range(hours * 3600):
            await asyncio.sleep(1)

    async def hearts():
        await asyncio.gather(*map(heart, range(HEARTS)))

    rows = []
    for name in COMPARED[1:]:
        loop = LOOPS[name]()
        start = perf_counter()
        loop.run_until_complete(hearts())
        seconds = perf_counter() - start
        loop.close()
        rows.append([name, f"{seconds:.1f}", f"{hours * 3600 / seconds:,.0f}"])
    intro = f"{hours} h of virtual time with {HEARTS} heartbeats a second: {HEARTS * hours * 3600:,} timers.\n\n"
    return intro + table(["", "real seconds", "times real time"], rows)


async def pending(number):
    """Set timers, and leave them pending."""
    loop = asyncio.get_running_loop()
    for i in range(number):
        loop.call_later(1000 + i / 1000, int)


async def timeouts(number):
    """Make timeouts and leave them long before they expire."""
    for _ in range(number):
        async with asyncio.timeout(10):
            await asyncio.sleep(0)


async def sleepers(number):
    """Have tasks sleep all at once; on the stock loop for less time than it takes to put them all to sleep."""
    delay = number * 0.5e-6 if isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop) else 3600
    for task in [asyncio.create_task(asyncio.sleep(delay)) for _ in range(number)]:
        await task


def peak_memory():
    """Return the most memory that this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage() tells it too, but there a process inherits the figure of the one that started it.
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) * 1024
    import resource  # noqa: PLC0415  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def timers_in(loop):
    """Return how many timers a loop keeps, cancelled ones included."""
    if isinstance(loop, asyncio.BaseEventLoop):
        return len(loop._scheduled)
    return sum(len(entry) if isinstance(entry, list) else 1 for entry in loop._timers.by_tick.values())


def measure(function, name, number):
    """Run one of the three above here; return its seconds, its bytes and how many timers it leaves."""
    loop = LOOPS[name]()
    before = peak_memory()
    start = perf_counter()
    loop.run_until_complete(globals()[function](number))
    return perf_counter() - start, peak_memory() - before, timers_in(loop)


def apart(function, number):
    """Run it in a process for each loop, and return what it took."""
    rows = []
    for name in COMPARED:
        command = [sys.executable, __file__, function, name, str(number)]
        seconds, size, left = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)  # noqa: S603  # this file
        each = f"{seconds / number * 1e6:.2f}", f"{size / number:,.0f}"
        rows.append([name, f"{seconds:.1f}", f"{size / 1e6:,.0f}", *each, f"{left:,}"])
    return f"{number:,} of them; memory beyond what the process had before.\n\n" + table(
        ["", "seconds", "peak MB", "µs each", "bytes each", "timers left"], rows
    )


# --- laws: what each of so many costs must not grow with their number ------------------------------------------------


async def connections(number):
    """Connections to one server, one after the other."""

    async def serve(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "localhost", 80)
    for _ in range(number):
        _, writer = await asyncio.open_connection("localhost", 80)
        writer.close()
        await writer.wait_closed()
    server.close()


async def hosts(number):
    """As many servers, each on a host of its own, and a connection to each."""
    network = get_network()

    async def serve(reader, writer):
        writer.close()

    servers = []
    for k in range(number):
        with network.host(f"host{k}"):
            servers.append(await asyncio.start_server(serve, "", 80))
    for k in range(number):
        _, writer = await asyncio.open_connection(f"host{k}", 80)
        writer.close()
        await writer.wait_closed()
    for server in servers:
        server.close()


async def naps(number):
    """Sleeps of ten tasks."""

    async def task():
        for _ in range(max(number // 10, 1)):
            await asyncio.sleep(0.01)

    await asyncio.gather(*[task() for _ in range(10)])


async def ready_tasks(number):
    """Tasks that are ready at the same time, ten steps each."""

    async def task():
        for _ in range(10):
            await asyncio.sleep(0)

    await asyncio.gather(*[task() for _ in range(number)])


async def due_timers(number):
    """Timers that are due at the same time."""
    loop = asyncio.get_running_loop()
    for _ in range(number):
        loop.call_later(1, int)
    await asyncio.sleep(2)


def on_a_loop(program, **options):
    def once(number):
        with asyncio.Runner(loop_factory=partial(VirtualLoop, **options)) as runner:
            runner.run(program(number))

    return once


def on_hosts(number):
    on_a_loop(hosts, network=Network(hosts=[f"host{k}" for k in range(number)]))(number)


def traced(number):
    trace = Trace()
    on_a_loop(naps, trace=trace)(number)
    return trace


def explored(number):
    explore(partial(naps, 50), runs=number)


async def race(number):
    """A race among many sleeps that have nothing to do with it."""
    written = []

    async def write():
        await asyncio.sleep(0.010)
        written.append(1)

    async def read():
        await asyncio.sleep(0.011)
        assert written

    async def rest():
        for _ in range(number):
            await asyncio.sleep(0.001)

    await asyncio.gather(write(), read(), rest())


def shrunk(number):
    assert explore(partial(race, number), runs=1000, check=False).failure is not None


def blocked_chain(number):
    """Report tasks that await each other, the last one something that never comes."""

    async def link(k):
        await (asyncio.Event().wait() if k == 0 else tasks[k - 1])

    loop = VirtualLoop()
    tasks = []
    tasks += [loop.create_task(link(k)) for k in range(number)]
    loop.run_until_idle()
    start = process_time()
    loop.describe_tasks()
    taken = process_time() - start
    # One by one: a chain that is dropped is unwound by recursion.
    for task in reversed(tasks):
        task.cancel()
        loop.run_until_idle()
    loop.close()
    return taken


def html(number):
    trace = traced(number)
    start = process_time()
    trace.to_html(os.devnull)
    return process_time() - start


# What there is of each at first; it is doubled so often.
LAWS = {
    "ready tasks": (on_a_loop(ready_tasks), 64),
    "ready tasks, order tasks": (on_a_loop(ready_tasks, seed=0), 64),
    "timers due together": (on_a_loop(due_timers), 256),
    "timers due together, order io": (on_a_loop(due_timers, seed=0, order="io"), 256),
    "connections": (on_a_loop(connections), 8),
    "hosts": (on_hosts, 4),
    "sleeps with a trace": (traced, 64),
    "runs of an exploration": (explored, 8),
    "sleeps of a run that is shrunk": (shrunk, 4),
    "report of a chain of blocked tasks": (blocked_chain, 8),
    "HTML of a trace, sleeps": (html, 64),
}
DOUBLED = 8


def laws(doubled):
    """Return what each of so many takes, at first and at last."""
    rows = []
    for what, (case, first) in LAWS.items():
        each = []
        for k in range(doubled + 1):
            number = first << k
            times = []
            for _ in range(REPEATS if k < doubled - 1 else 1):
                gc.collect()
                start = process_time()
                told = case(number)
                whole = process_time() - start
                times.append(told if isinstance(told, float) else whole)
            each.append(min(times) / number * 1e6)
        half = each[doubled // 2 :]
        steepest = max(later / earlier for earlier, later in pairwise(half))
        last = f"{first << doubled:,}"
        figures = (f"{microseconds:.1f}" for microseconds in (each[0], min(each), each[-1]))
        rows.append([what, f"{first:,}", last, *figures, f"{steepest:.2f}"])
    header = ["", "from", "to", "µs each", "least", "at last", "steepest"]
    return (
        f"Microseconds of a processor for each, while their number doubles {doubled} times; the steepest growth that a "
        "doubling in the second half brought. Where it stays near 1, the whole is linear.\n\n" + table(header, rows)
    )


def sections(quick):
    """Return what to call for each section; quick takes a tenth of a million and an hour of a day."""
    many = 100_000 if quick else 1_000_000
    tasks = [10, 100, 1000, 10_000, 100_000]
    return {
        "Nanoseconds of a step": partial(per_item, "ready tasks", step, tasks, COMPARED),
        "Nanoseconds of a sleep": partial(per_item, "pending timers", sleep, [0, 1000, many // 10, many], COMPARED[1:]),
        "Timers set and left pending": partial(apart, "pending", many),
        "Timeouts made and left": partial(apart, "timeouts", many),
        "Sleeping tasks": partial(apart, "sleepers", many),
        "Laws": partial(laws, DOUBLED // 2 if quick else DOUBLED),
        "A day of heartbeats": partial(a_day, 1 if quick else 24),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
