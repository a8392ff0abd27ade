"""Time VirtualLoop against the stock loop, uvloop and other loops with virtual time; write RESULTS.md.

    python benchmarks/run.py              the programs, making a loop, importing the package: two or three minutes
    python benchmarks/run.py --all        also what grows: tasks, timers, memory, a day of virtual time
    python benchmarks/run.py --check      VirtualLoop alone, against floors.toml; exit status 1 when it falls short

Where valgrind is installed it is counts of instructions that `--check` holds to their floors, see instructions.py, and
times are printed beside; elsewhere times are held.

All loops run in one process, round by round: each round runs each loop once, and the next one starts with the next
loop, so that a busy moment of the machine meets all of them. A figure is the median of the rounds' ratios: the runs of
a round are close in time, so they meet the machine at the same speed, and the median leaves out what was disturbed.
Where each round has another seed it is the geometric mean, since seeds differ by more than a machine disturbs. On one
with other work, medians of 15 rounds repeated within 1 to 4%, ratios of the minima within 1 to 5%.
"""

import argparse
import asyncio
import gc
import logging
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tomllib
import warnings
from contextlib import contextmanager
from pathlib import Path
from statistics import geometric_mean, median
from time import perf_counter

import exploration
import growth
import instructions
import virtualloop
from loops import LOOPS, OURS, SEED_NOTE, SEEDED, SEEDS, STOCK, package, peers, table
from programs import PARTS, PROGRAMS, unit_test

HERE = Path(__file__).parent

# One for each seed; medians repeat within a few percent with fewer, on a machine that does other work as well.
ROUNDS = len(SEEDS)
# A loop this many times slower than the stock one is run in a few rounds only: nobody reads the second digit of 0.1.
SLOW, SLOW_ROUNDS = 5, 2
# One that takes this many times as long is stopped.
TOO_SLOW = 50
# Loops made in one go, which takes as long as a short program.
MADE = 500
# What a suite of tests is: so many on each loop, with sleeps as long as those of real ones. In real time few are run.
SUITE, SUITE_PAUSE, SUITE_SAMPLE = 1000, 0.02, 10
# Processes that import, for each of two modules: a few seconds in all.
IMPORTS = 15


class TooSlowError(KeyboardInterrupt):
    """A loop took too long. A task lets nothing but KeyboardInterrupt and SystemExit out at once."""


@contextmanager
def time_limit(seconds):
    """Interrupt what takes longer; without a limit where there are no timer signals, as on Windows."""

    def interrupt(*_):
        raise TooSlowError

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, interrupt)
        # Again every second, because an exception that is raised while an object is deleted goes nowhere.
        signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        yield
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def program(main):
    """Return what times one program on a new loop, without the making of the loop."""

    def timed(factory):
        loop = factory()
        try:
            start = perf_counter()
            loop.run_until_complete(main())
            return perf_counter() - start
        finally:
            loop.close()

    return timed


def make_and_close(factory):
    start = perf_counter()
    for _ in range(MADE):
        factory().close()
    return perf_counter() - start


def runner(factory):
    async def nothing():
        pass

    start = perf_counter()
    for _ in range(MADE):
        with asyncio.Runner(loop_factory=factory) as each:
            each.run(nothing())
    return perf_counter() - start


def tests(count, pause):
    """Return what times so many tests, each with a loop of its own."""

    def timed(factory):
        start = perf_counter()
        for _ in range(count):
            with asyncio.Runner(loop_factory=factory) as each:
                each.run(unit_test(pause))
        return perf_counter() - start

    return timed


CASES = {name: program(main) for name, main in (PROGRAMS | PARTS).items()} | {
    "make and close": make_and_close,
    "Runner": runner,
    "a test": tests(100, 0.0001),
}


def compare(case, loops, rounds):
    """Return the stock loop's median time, and of each loop how many times as fast it is or why there is no telling."""
    found = {name: [] for name in loops}
    names, warm = list(loops), {}
    # Round 0 warms up, begins with the stock loop and so tells which loops are slow. It does not count.
    for round_ in range(rounds + 1):
        times = {}
        start = round_ % len(names)
        for name in names[start:] + names[:start]:
            slow = name in warm and warm[name] > SLOW * warm[STOCK]
            if isinstance(found[name], str) or (slow and round_ > SLOW_ROUNDS):
                continue
            gc.collect()
            try:
                # A second at least: a short program may be disturbed for longer than it takes.
                with time_limit(max(TOO_SLOW * warm.get(STOCK, times.get(STOCK, 1)), 1)):
                    times[name] = case(loops[name])
            except TooSlowError:
                found[name] = f"stopped after {TOO_SLOW} times asyncio's time"
            except Exception as exc:
                found[name] = f"{type(exc).__name__}: {str(exc).partition(chr(10))[0]}"
        warm = warm or times
        for name, seconds in times.items() if round_ else ():
            found[name].append(seconds if name == STOCK else times[STOCK] / seconds)
    average = {name: geometric_mean if name in SEEDED else median for name in found}
    return {name: each if isinstance(each, str) else average[name](each) for name, each in found.items()}


def mean(results, loop):
    """Return the geometric mean over the programs; without the slowest it would flatter, so then there is none."""
    ratios = [each[loop] for name, each in results.items() if name in PROGRAMS]
    return geometric_mean(ratios) if all(isinstance(each, float) for each in ratios) else "not all programs ran"


def ratios_table(results, loops):
    """Return the ratios of some loops as a table in Markdown, with footnotes where there is none."""
    notes = []

    def cell(value):
        if isinstance(value, float):
            return f"{value:.2f}"
        if value not in notes:
            notes.append(value)
        return f"- [{notes.index(value) + 1}]"

    def row(name):
        return [name, f"{results[name][STOCK] * 1000:.1f}", *(cell(results[name][loop]) for loop in loops)]

    rows = [row(name) for name in results if name in PROGRAMS]
    if rows:
        rows.append(["**geometric mean**", "", *(cell(mean(results, loop)) for loop in loops)])
    rows += [row(name) for name in results if name not in PROGRAMS]
    footnotes = [f"[{i}] {note}  " for i, note in enumerate(notes, 1)]
    return "\n".join([table(["", f"{STOCK}, ms", *loops], rows), *([""] if notes else []), *footnotes])


def shortfalls(results, floors):
    """Return what is below its floor, in words; a reason in place of a ratio is below all of them."""
    held = [
        (f"fifo, {name}", results[name]["fifo"], floor) for name, floor in floors["loop"].items() if name in results
    ]
    held += [
        (f"trace, as part of fifo, {name}", each["trace"] / each["fifo"], floors["trace"]["part of fifo"])
        for name, each in results.items()
        if name in PROGRAMS and isinstance(each["trace"], float)
    ]
    for loop in OURS:
        own = floors[loop]
        if "program" in own:
            held += [
                (f"{loop}, {name}", each[loop], own["program"]) for name, each in results.items() if name in PROGRAMS
            ]
        held += [(f"{loop}, {name}", results[name][loop], floor) for name, floor in own.items() if name in results]
        if results.keys() >= PROGRAMS.keys():
            held.append((f"{loop}, geometric mean", mean(results, loop), own["mean"]))
    short = [each for each in held if isinstance(each[1], str) or each[1] < each[2]]
    return [
        f"{what}: {got if isinstance(got, str) else format(got, '.2f')}, floor {floor}" for what, got, floor in short
    ]


def suite():
    """Compare a suite of tests on the loops whose time is virtual with those where it is real."""
    rows, taken = [], {}
    for name, factory in (LOOPS | peers()[0]).items():
        real = name in (STOCK, "uvloop")
        count = SUITE_SAMPLE if real else SUITE
        try:
            with time_limit(60):
                seconds = tests(count, SUITE_PAUSE)(factory) / count * SUITE
        except Exception as exc:
            rows.append([name, type(exc).__name__, "-"])
        except TooSlowError:
            rows.append([name, "more than 60", "-"])
        else:
            taken[name] = seconds
            rows.append([name, f"{seconds:.2f}", f"{taken[STOCK] / seconds:.0f}"])
    return (
        f"{SUITE:,} tests of three tasks and ten sleeps of {SUITE_PAUSE * 1000:.0f} ms, each with a loop of its own; "
        f"where time is real, from {SUITE_SAMPLE} of them.\n\n" + table(["", "seconds", "times asyncio's"], rows)
    )


def import_times():
    """Compare the import of VirtualLoop with the `import asyncio` that is part of it, each in new processes."""
    source = str(Path(virtualloop.__file__).parents[1])
    taken = {"asyncio": [], "virtualloop": []}
    for round_ in range(IMPORTS + 1):
        for module, times in taken.items():
            statement = "import asyncio" if module == "asyncio" else "from virtualloop import VirtualLoop"
            code = f"import sys, time; sys.path.insert(0, {source!r}); start = time.perf_counter(); {statement}"
            # Without site-packages: what they run at start-up may import what is to be timed.
            command = [sys.executable, "-I", "-S", "-c", f"{code}; print(time.perf_counter() - start)"]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603  # this Python
            if round_:  # the first one writes the bytecode
                times.append(float(done.stdout) * 1000)
    # Medians, because processes differ from each other in both directions, by where their memory comes to lie.
    stock, ours = map(median, taken.values())
    return (
        f"`import VirtualLoop`: {ours:.1f} ms, {ours / stock:.2f} times the {stock:.1f} ms of `import asyncio` alone."
    )


def build():
    """Return how this Python was built, as far as it knows: the ratios differ with that."""
    optimized = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return f"{platform.python_compiler()}, {'with' if optimized else 'without'} --enable-optimizations"


def machine():
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="also the sections on growth, which take minutes")
    parser.add_argument("--quick", action="store_true", help="these with an hour for a day, and a tenth of a million")
    parser.add_argument("--check", action="store_true", help="hold VirtualLoop to floors.toml; writes no file")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds that count (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="what has this in its name; writes no file")
    parser.add_argument("--build", default=build(), help="how this Python was built, where it does not know itself")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    # What a peer leaves behind that was stopped is said in a footnote, not task by task.
    logging.disable()
    warnings.simplefilter("ignore")

    said = []

    def say(text):
        print(text + "\n", flush=True)
        said.append(text)

    others, packages = ({}, []) if args.check else peers()
    packages.insert(0, package("virtualloop"))
    say("# Benchmarks")
    say(f"Made by `{' '.join(['python benchmarks/run.py', *sys.argv[1:]])}`; rounds: {args.rounds}. {machine()}.")
    say(f"{platform.python_implementation()} {platform.python_version()} ({args.build}); {', '.join(packages)}.")
    results = {name: compare(case, LOOPS | others, args.rounds) for name, case in CASES.items() if args.only in name}
    if results:
        say("## VirtualLoop")
        say(f"How many times as fast as the stock loop. {SEED_NOTE}")
        say(ratios_table(results, OURS))
    if results and others:
        say("## Other loops")
        say(f"In the same rounds. A loop that takes more than {SLOW} times as long ran in {SLOW_ROUNDS} of them only.")
        say(ratios_table(results, others))
    if args.check:
        floors = tomllib.loads((HERE / "floors.toml").read_text())
        if not platform.python_version().startswith(floors["python"] + "."):
            print(f"The floors were set on Python {floors['python']}.")
        short = shortfalls(results, floors)
        if args.only in "Exploration":
            short += exploration.shortfalls(floors["exploration"])
        if instructions.is_possible():
            if short:
                print(
                    "\n".join(["Times below their floors, as other work of the machine may bring about:", *short, ""])
                )
            counted = instructions.counts(args.only)
            say("## Instructions")
            say(instructions.section(counted))
            short = instructions.shortfalls(counted, floors["instructions"])
        print("\n".join(["Below their floors:", *short]) if short else "Nothing is below its floor.")
        return 1 if short else 0
    sections = {"1,000 tests": suite, "Exploration": exploration.section, "Import": import_times}
    if instructions.is_possible():
        sections["Instructions"] = lambda: instructions.section(instructions.counts())
    for title, section in (sections | (growth.sections(args.quick) if args.all else {})).items():
        if args.only in title:
            say(f"## {title}")
            say(section())
    if not args.only:
        (HERE / "RESULTS.md").write_text("\n\n".join(said) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
