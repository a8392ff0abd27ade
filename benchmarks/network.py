"""Time the network in memory beside stock asyncio over the real loopback, uvloop and async-solipsism.

    python benchmarks/network.py            a minute or two; prints a table in Markdown

Each round runs every loop once, and the next one starts with the next loop. A figure is the median of the rounds'
ratios to the stock loop in the same round. The connections of a program are all made through asyncio's streams, over
127.0.0.1.
"""

import asyncio
import gc
import sys
import tracemalloc
from statistics import median
from time import perf_counter

from loops import OURS, STOCK, peers, table
from virtualloop import Network, VirtualLoop

ROUNDS = 7
MEGABYTE = 1024 * 1024


async def serve(handler):
    server = await asyncio.start_server(handler, "127.0.0.1", 8888, backlog=2000)
    return server, ("127.0.0.1", 8888)


async def echo_lines(reader, writer):
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def transfer():
    """50 MB over one connection, in writes of 64 KiB."""
    total = 50 * MEGABYTE
    done = asyncio.get_running_loop().create_future()

    async def sink(reader, writer):
        left = total
        while data := await reader.read(65536):
            left -= len(data)
        writer.close()
        done.set_result(left)

    server, address = await serve(sink)
    _, writer = await asyncio.open_connection(*address)
    chunk = bytes(65536)
    for _ in range(total // len(chunk)):
        writer.write(chunk)
        await writer.drain()
    writer.close()
    assert await done == 0
    server.close()


async def round_trips():
    """5,000 times a line there and back, over one connection."""
    server, address = await serve(echo_lines)
    reader, writer = await asyncio.open_connection(*address)
    for _ in range(5_000):
        writer.write(b"a line\n")
        await reader.readline()
    writer.close()
    await writer.wait_closed()
    server.close()


async def concurrent():
    """1,000 connections at the same time, ten round trips on each."""
    server, address = await serve(echo_lines)

    async def client():
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(10):
            writer.write(b"a line\n")
            await reader.readline()
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*[client() for _ in range(1_000)])
    server.close()


async def made_and_closed():
    """10,000 connections made and closed, one after the other, with one round trip each."""
    server, address = await serve(echo_lines)
    for _ in range(10_000):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"a line\n")
        await reader.readline()
        writer.close()
        await writer.wait_closed()
    server.close()


PROGRAMS = [transfer, round_trips, concurrent, made_and_closed]


def timed(program, factory):
    gc.collect()
    with asyncio.Runner(loop_factory=factory) as runner:
        start = perf_counter()
        runner.run(program())
        return perf_counter() - start


def peak(factory):
    """Return the most memory that a transfer takes, in MB, beside what was there before."""
    gc.collect()
    tracemalloc.start()
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(transfer())
        return tracemalloc.get_traced_memory()[1] / MEGABYTE
    finally:
        tracemalloc.stop()


def main():
    found, packages = peers()
    loops = {
        STOCK: asyncio.SelectorEventLoop,
        "fifo": OURS["fifo"],
        "io": OURS["io"],
        "tasks": OURS["tasks"],
        "with latency": lambda: VirtualLoop(1, order="fifo", network=Network(latency=(0.001, 0.01))),
        **{name: found[name] for name in ("uvloop", "async-solipsism") if name in found},
    }
    names = list(loops)
    rows = []
    for program in PROGRAMS:
        times = {name: [] for name in names}
        for round_ in range(ROUNDS + 1):
            start = round_ % len(names)
            for name in names[start:] + names[:start]:
                seconds = timed(program, loops[name])
                if round_:  # the first one warms up
                    times[name].append(seconds)
        ratios = {name: median(s / t for s, t in zip(times[STOCK], times[name], strict=True)) for name in names[1:]}
        rows.append(
            [
                program.__doc__.rstrip("."),
                f"{median(times[STOCK]) * 1000:.0f}",
                *(f"{ratios[n]:.2f}" for n in names[1:]),
            ]
        )
        print(*rows[-1], sep="  ", file=sys.stderr)
    rows.append(["*most memory of the first, MB*", *(f"{peak(loops[name]):.1f}" for name in names)])
    print(table(["", f"{STOCK}, ms", *names[1:]], rows))
    print(f"\nCPython {sys.version.split()[0]}; {', '.join(p for p in packages if p.startswith(('uv', 'async')))}.")


if __name__ == "__main__":
    main()
