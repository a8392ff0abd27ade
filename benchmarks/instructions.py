"""Count the instructions of each program instead of timing it: a change of 1% shows, however busy the machine is.

    python benchmarks/instructions.py [--only SUBSTRING]

What `run.py --check` holds to the floors under [instructions], where valgrind is installed. Cache misses and the kernel
are not counted, so this tells whether code got longer, and not quite how fast it is: two programs that are about cache
misses are left out. The stock loop reads the real clock, so its counts vary a little where there are timers.

Two processes run all cells under callgrind, each cell twice, of which the second one counts. What counts is told by a C
function that Python itself hardly ever calls: callgrind collects within it, and writes what it has at its end.
"""

import argparse
import asyncio
import gc
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import warnings
from pathlib import Path
from statistics import geometric_mean, mean

import exploration
import programs
from loops import LOOPS, OURS, SEEDED, STOCK, table
from virtualloop import VirtualLoop
from virtualloop.schedules import Random

HERE = Path(__file__).parent
# A count does not scatter, so a part of each program is enough, and some of the seeds; for what is in no mean, one.
SIZE, SIZE_OF_PARTS = 0.05, 0.2
SEEDS = range(5)
# Loops made, and tests run, in one go; and runs of an exploration.
MADE, TESTS, RUNS = 20, 5, 40
MEASURED = "PyObject_ASCII"


class Measured:
    """What `ascii()` calls: callgrind collects until that returns."""

    def __init__(self, function):
        self.function = function

    def __repr__(self):
        self.function()
        return ""


def program(main):
    def prepared(factory):
        loop = factory()
        return lambda: loop.run_until_complete(main()), loop.close

    return prepared


def again(count, function):
    def repeated(factory):
        def run():
            for _ in range(count):
                function(factory)

        return run, int

    return repeated


async def nothing():
    """What a Runner runs."""


def run_in_runner(main):
    def run(factory):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run


CROWDS = ("switch, 1,000 tasks", "switch, 10,000 tasks")
COUNTED = {name: main for name, main in programs.PROGRAMS.items() if name not in CROWDS}
LIFE = {
    "make and close": again(MADE, lambda factory: factory().close()),
    "Runner": again(MADE, run_in_runner(nothing)),
    "a test": again(TESTS, run_in_runner(programs.unit_test)),
}
CASES = {name: program(main) for name, main in (COUNTED | programs.PARTS).items()} | LIFE


def explored(kind, explore):
    main = getattr(exploration, kind)(6)

    def prepared(_):
        return lambda: explore(main, RUNS), int

    return prepared


EXPLORED = {
    f"{kind}, 6 tasks": {"plain": explored(kind, exploration.plain), "explored": explored(kind, exploration.ours)}
    for kind in ("switch", "sleep")
}


#: What is asked most, of how many; how often; and seeds at both of whose rates tasks change places.
QUESTIONS = {"hold": 6, "release": 3, "late": 2, "task": 8, "slow": 9, "apart": 9}
ASKED, REORDERING = 1000, (0, 5)


def asked(kind, seed):
    """Ask a schedule, of a program that asks nothing else; an empty function called as often is no part of it."""

    def prepared(_):
        choose = Random(seed).choose if kind else lambda n, kind: 0
        n = QUESTIONS.get(kind, 2)
        choose(n, kind)

        def run():
            for _ in range(ASKED):
                choose(n, kind)

        return run, int

    return prepared


def cells(half, only):
    """Return what one of the two processes measures: what it is, on which loop, and what prepares it, by whom."""
    found = []
    for name, case in CASES.items():
        if only not in name:
            continue
        loops = [each for each in (SEEDED if half else LOOPS) if half or each not in SEEDED]
        for loop in loops:
            seeds = SEEDS if name in COUNTED else SEEDS[:1]
            factories = [_seeded(seed, loop) for seed in seeds] if loop in SEEDED else [LOOPS[loop]]
            found += [((name, loop), case, factory) for factory in factories]
    for name, ways in EXPLORED.items() if half else ():
        if only in name:
            found += [((name, way), prepared, None) for way, prepared in ways.items()]
    if half and only in "question":
        found += [(("question", kind), asked(kind, seed), None) for kind in ("", *QUESTIONS) for seed in REORDERING]
    return found


def _seeded(seed, order):
    return lambda: VirtualLoop(seed, order=order)


def measure_half(half, only):
    logging.disable()
    warnings.simplefilter("ignore")
    warm = set()
    for what, prepare, factory in cells(half, only):
        programs.SIZE = SIZE_OF_PARTS if what[0] in programs.PARTS else SIZE
        if what not in warm:
            warm.add(what)
            run, close = prepare(factory)
            run()
            close()
        run, close = prepare(factory)
        gc.collect()
        gc.freeze()  # what is older is nobody's here
        ascii(Measured(run))
        gc.unfreeze()
        close()
    sys.stdout.flush()
    os._exit(0)  # what is done at exit is not wanted


def counts(only=""):
    """Return millions of instructions by cell, (name, loop)."""
    with tempfile.TemporaryDirectory() as folder:
        processes = {half: _start(half, only, folder) for half in (0, 1) if cells(half, only)}
        found = {}
        for half, process in processes.items():
            _, said = process.communicate()
            profiles = sorted(Path(folder).glob(f"{half}.*"), key=lambda path: int(path.suffix[1:]))
            totals = [int(re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE)[1]) for path in profiles]
            names = [what for what, *_ in cells(half, only)]
            if process.returncode or len(totals) != len(names):
                sys.exit(f"valgrind failed, with {len(totals)} of {len(names)} counts:\n{said[-2000:]}")
            for what, total in zip(names, totals, strict=True):
                found.setdefault(what, []).append(total / 1e6)
    return {what: mean(each) for what, each in found.items()}


def _start(half, only, folder):
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/{half}", "--collect-atstart=no"]
    command += [f"--toggle-collect={MEASURED}", f"--dump-after={MEASURED}"]
    command += [sys.executable, "-s", __file__, "--only", only, "--half", str(half)]
    # The hashes of strings decide how dicts come to lie.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)  # noqa: S603  # this file


def is_possible():
    """Return whether valgrind is there."""
    return shutil.which("valgrind") is not None


def ratios(counted):
    """Return by loop how many times as many instructions the stock loop takes, by program."""
    found = {}
    for (name, loop), count in counted.items():
        if loop in OURS:
            found.setdefault(loop, {})[name] = counted[name, STOCK] / count
    return found


def average(of_loop):
    """Return the geometric mean over the programs."""
    return geometric_mean(ratio for name, ratio in of_loop.items() if name in COUNTED)


def section(counted):
    """Return the tables."""
    found = ratios(counted)
    names = [name for name in CASES if (name, STOCK) in counted]
    rows = [[name, f"{counted[name, STOCK]:.2f}", *(f"{found[loop][name]:.2f}" for loop in OURS)] for name in names]
    if set(names) >= COUNTED.keys():
        rows.append(["**geometric mean of programs**", "", *(f"{average(found[loop]):.2f}" for loop in OURS)])
    said = [table(["", f"{STOCK}, millions", *OURS], rows)] if rows else []
    if ("jump", "fifo") in counted:
        said.append(f"A sleep to which the clock jumps, fifo: {_jump(counted):,.0f} instructions.")
    runs = [
        [f"{name}, a run", *(f"{counted[name, way] / RUNS:.2f}" for way in ways), f"{_cost(counted, name):.2f}"]
        for name, ways in EXPLORED.items()
        if (name, "plain") in counted
    ]
    if runs:
        said.append(table(["exploration", "plain, millions", "explored, millions", "cost"], runs))
    if questions := _questions(counted):
        row = ["instructions", *(f"{each:.0f}" for each in questions.values())]
        said.append(table(["a question", *questions], [row]))
    return "\n\n".join(said)


def _jump(counted):
    return counted["jump", "fifo"] * 1e6 / (programs.JUMPS * SIZE_OF_PARTS)


def _cost(counted, name):
    return counted[name, "explored"] / counted[name, "plain"]


def _questions(counted):
    """Return how many instructions a question takes, by kind."""
    if ("question", "") not in counted:
        return {}
    empty = counted["question", ""]
    return {kind: (counted["question", kind] - empty) * 1e6 / ASKED for kind in QUESTIONS}


def shortfalls(counted, floors):
    """Return what is below its floor, in words."""
    short = []
    for loop, found in ratios(counted).items():
        held = dict(found)
        if found.keys() >= COUNTED.keys():
            held["mean"] = average(found)
        short += [
            f"instructions, {loop}, {name}: {held[name]:.2f}, floor {floor}"
            for name, floor in floors.get(loop, {}).items()
            if name in held and held[name] < floor
        ]
    for name, most in floors["exploration"].items():
        if (name, "plain") in counted and (cost := _cost(counted, name)) > most:
            short.append(f"instructions, exploration, {name}: {cost:.2f} times a plain run's, at most {most}")
    for kind, taken in _questions(counted).items():
        if taken > (most := floors["question"][kind]):
            short.append(f"instructions, a question {kind!r}: {taken:.0f}, at most {most}")
    return short


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="only what has this in its name")
    parser.add_argument("--check", action="store_true", help="hold the counts to floors.toml")
    parser.add_argument("--half", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.half is not None:
        measure_half(args.half, args.only)
    if not is_possible():
        print("valgrind is not installed (on Debian: apt install valgrind); run.py does without.", file=sys.stderr)
        return 2
    if not any(args.only in name for name in [*CASES, *EXPLORED, "question"]):
        parser.error(f"nothing has {args.only!r} in its name")
    counted = counts(args.only)
    print("How many times as many instructions the stock loop takes.\n")
    print(section(counted))
    short = shortfalls(counted, tomllib.loads((HERE / "floors.toml").read_text())["instructions"]) if args.check else []
    if args.check:
        print("\n".join(["\nBelow their floors:", *short]) if short else "\nNothing is below its floor.")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
