"""Count the instructions of each program instead of timing it: a change of 2% shows, however busy the machine is.

    python benchmarks/instructions.py [--only SUBSTRING]

Each program runs under valgrind in a process of its own, and what a process takes that only makes and closes a loop is
subtracted. Cache misses and the kernel are not counted, so this tells whether code got longer, not how fast it is. The
stock loop reads the real clock, so its counts vary a little where there are timers.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
from statistics import geometric_mean

import programs
from loops import LOOPS, STOCK, table

COUNTED = [STOCK, "fifo", "tasks"]

# A tenth of what is timed: under valgrind everything takes 50 times as long, and a count does not scatter.
SWITCHES = 4000

NOTHING = "nothing"


def run(program, loop):
    """Run one program on one loop: what is counted."""
    programs.SWITCHES = SWITCHES
    loop = LOOPS[loop]()
    loop.run_until_complete({NOTHING: lambda: asyncio.sleep(0), **programs.PROGRAMS}[program]())
    loop.close()


def count(program, loop):
    """Return the instructions of a process that does it."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command += [sys.executable, __file__, "--run", program, loop]
    # The hashes of strings decide how dicts come to lie.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, env=environment)  # noqa: S603  # this file
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"{program} on {loop} failed under valgrind:\n{done.stderr}")
    return int(found[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="only programs with this in their names")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        run(*args.run)
        return 0
    if shutil.which("valgrind") is None:
        print("valgrind is not installed (on Debian: apt install valgrind); run.py does without.", file=sys.stderr)
        return 2

    empty = {loop: count(NOTHING, loop) for loop in COUNTED}
    rows, ratios = [], []
    for program in programs.PROGRAMS:
        if args.only in program:
            stock, *ours = (count(program, loop) - empty[loop] for loop in COUNTED)
            ratios.append([stock / each for each in ours])
            rows.append([program, *(f"{n / 1e6:.2f}" for n in [stock, *ours]), *(f"{each:.3f}" for each in ratios[-1])])
    if not rows:
        parser.error(f"no program has {args.only!r} in its name")
    means = (f"{geometric_mean(column):.3f}" for column in zip(*ratios, strict=True))
    rows.append(["geometric mean", "", "", "", *means])
    print("Millions of instructions, and how many times as many the stock loop takes.\n")
    print(table(["", *COUNTED, "fifo, ratio", "tasks, ratio"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
