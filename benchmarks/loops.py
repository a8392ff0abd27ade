"""The loops that are compared, and how each is made. Peers that are not installed are left out."""

import asyncio
from functools import partial
from importlib import import_module
from importlib.metadata import version

from virtualloop import Trace, VirtualLoop
from virtualloop.schedules import Random

STOCK = "asyncio"

# Half of the seeds keep the order of ready tasks, and of the rest some reorder more than others, so one seed at order
# "tasks" says little. Two are timed: the first of those that reorder most, and the first that keeps the order.
SEEDS = range(100)
REORDERS = max(SEEDS, key=lambda seed: Random(seed)._task_rate)
KEEPS = next(seed for seed in SEEDS if Random(seed).keeps_task_order)
SEED_NOTE = (
    f"fifo has no seed. The others have seed {REORDERS}, the first that reorders tasks at the highest rate there is; "
    f'"tasks, kept" is order "tasks" with seed {KEEPS}, the first that keeps their order, as half of the seeds do. '
    '"trace" is fifo with a trace.'
)

OURS = {
    "fifo": VirtualLoop,
    "timing": partial(VirtualLoop, REORDERS, order="timing"),
    "io": partial(VirtualLoop, REORDERS, order="io"),
    "tasks": partial(VirtualLoop, REORDERS, order="tasks"),
    "tasks, kept": partial(VirtualLoop, KEEPS, order="tasks"),
    "trace": lambda: VirtualLoop(trace=Trace()),
}
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


def peers():
    """Return the loops of the peers that can be imported, and their packages with versions."""
    found, packages = {}, {}
    for name, (module, make) in _PEERS.items():
        try:
            found[name] = partial(make, import_module(module))
        except ImportError:
            continue
        packages[module] = f"{module} {version(module)}"
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
