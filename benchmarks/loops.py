"""The loops that are compared, and how each is made. Peers that are not installed are left out."""

import asyncio
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from itertools import cycle

from virtualloop import Trace, VirtualLoop

STOCK = "asyncio"

# One seed says little: half of them keep the order of ready tasks, some reorder much, and how late events are, and so
# how many turns a run takes, is drawn as well. So each loop that is made has the next of these.
SEEDS = range(20)
SEED_NOTE = (
    f"fifo has no seed; timing, io and tasks have the next of {len(SEEDS)} seeds in each round, and their figures are "
    'geometric means over these. "trace" is fifo with a trace.'
)


def seeded(order):
    """Return what makes a loop of this order with the next seed."""
    seeds = cycle(SEEDS)
    return lambda: VirtualLoop(next(seeds), order=order)


SEEDED = {order: seeded(order) for order in ("timing", "io", "tasks")}
OURS = {"fifo": VirtualLoop, **SEEDED, "trace": lambda: VirtualLoop(trace=Trace())}
LOOPS = {STOCK: asyncio.new_event_loop, **OURS}

# Each one's module, and what makes a loop of it. detangle is timed in asyncio's order and in a random one; its limit
# on steps is there to find programs that hang. seedloop's loop has no seed: what it draws is the network's.
_PEERS = {
    "uvloop": ("uvloop", lambda uvloop: uvloop.new_event_loop()),
    "async-solipsism": ("async_solipsism", lambda solipsism: solipsism.EventLoop()),
    "looptime": ("looptime", lambda looptime: looptime.new_event_loop(start=0)),
    "seedloop": ("seedloop", lambda seedloop: seedloop._loop.DeterministicLoop()),
    "detangle": ("detangle", lambda detangle: detangle.SimLoop(detangle.SimConfig(max_steps=10**9))),
    "detangle, random": (
        "detangle",
        lambda detangle: detangle.SimLoop(detangle.SimConfig(max_steps=10**9), detangle.RandomWalk(1)),
    ),
    "simloop": ("simloop", lambda simloop: simloop.SimLoop(1)),
    "simloom": ("simloom", lambda simloom: simloom.SimLoop(simloom.Tape.generate(1))),
}


def package(name):
    """Return a package and its version, where that is known: a source folder may be on the path."""
    try:
        return f"{name} {installed(name)}"
    except PackageNotFoundError:
        return name


def peers():
    """Return the loops of the peers that can be imported, and their packages with versions."""
    found, packages = {}, {}
    for name, (module, make) in _PEERS.items():
        try:
            found[name] = partial(make, import_module(module))
        except ImportError:
            continue
        packages[module] = package(module)
    return found, list(packages.values())


def table(header, rows):
    """Return a Markdown table whose columns are also straight in a terminal."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for first, *rest in [header, rule, *rows]:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
