"""Measure how soon known races are found, and how often programs that are right are reported.

    python benchmarks/quality.py          half an hour; peers that are not installed are left out
    python benchmarks/quality.py --check  virtualloop only: every race within 1,000 runs, no alarm in 1,000 runs of each
                                          program that is right; the exit status says whether that holds

The races are those of tests/quality/races.py; the programs that are right are their repaired versions and those of
tests/quality/contracts.py. Each loop explores as its documentation says; detangle, whose defaults let no timer be late,
in three ways: with these defaults; "late", with late timers and asyncio's order; and with both.

What counts is the run that fails first, as each loop counts; the mean is taken over `--seeds` explorations that start
from different seeds. A race that is not found in 1,000 runs counts 2,000. A peer that is not through with them after
`--patience` seconds has not found it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, geometric_mean

from loops import table
from virtualloop import explore

# This folder has a `quality` as well, and has given what there is here.
sys.path.remove(str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from quality.contracts import RIGHT, RIGHT_IN_ORDER
from quality.races import SCENARIOS, right, wrong

RUNS, MISS = 1000, 2000


def ours(main, seed, runs, patience, order=None):
    exploration = explore(main, runs=runs, seed=seed, order=order, check=False, shrink=False)
    return exploration.runs if exploration.failure else None


def detangle(main, seed, runs, patience, **options):
    module = import_module("detangle")
    try:
        module.explore(main, runs=runs, seed=seed, shrink=False, database=False, max_duration=patience, **options)
    except module.BugFound as bug:
        return bug.report.runs
    return None


def seeds_in_time(seed, runs, patience):
    """Give seeds, one a run, until there is no time left."""
    end = time.monotonic() + patience
    for number in range(runs):
        yield seed * RUNS + number
        if time.monotonic() > end:
            return


def simloop(main, seed, runs, patience):
    report = import_module("simloop").explore(main, seeds_in_time(seed, runs, patience))
    return report and report.seeds_passed + 1


def simloom(main, seed, runs, patience):
    run = import_module("simloom").run
    for number, each in enumerate(seeds_in_time(seed, runs, patience), 1):
        if run(main, seed=each, raise_on_error=False).outcome == "error":
            return number
    return None


#: How each looks for a failure: the number of the run that fails first, or None.
OURS = {
    "timing": partial(ours, order="timing"),
    "default": ours,
    "tasks": partial(ours, order="tasks"),
}
PEERS = {
    "detangle": detangle,
    "detangle, late": partial(detangle, timer_jitter=0.05, reorder=False),
    "detangle, both": partial(detangle, timer_jitter=0.05),
    "simloop": simloop,
    "simloom": simloom,
}
LOOPS = OURS | PEERS
RIGHT_PROGRAMS = {scenario.__name__: right(scenario) for scenario in SCENARIOS} | {
    program.__name__: program for program in RIGHT + RIGHT_IN_ORDER
}


def mean_runs(search, main, seeds, patience):
    """Return how many runs it takes on average. What takes longer than our patience once is not tried again."""
    taken = []
    for seed in range(seeds):
        start = time.monotonic()
        taken.append(search(main, seed, RUNS, patience) or MISS)
        if taken[-1] == MISS and time.monotonic() - start > patience:
            break
    return fmean(taken)


def measure(name, seeds, runs_of_right, patience):
    """Return each race's mean number of runs, and the programs that are right and were reported."""
    search = LOOPS[name]
    means = {scenario.__name__: mean_runs(search, wrong(scenario), seeds, patience) for scenario in SCENARIOS}
    alarms = [name for name, main in RIGHT_PROGRAMS.items() if search(main, seeds, runs_of_right, patience)]
    return {"means": means, "alarms": alarms}


def measured(name, options):
    """Do the same in a process of its own, which hashes strings as all others do."""
    command = [sys.executable, "-W", "ignore", __file__, "--loop", name]
    for option, value in options.items():
        command += [f"--{option}", str(value)]
    env = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)  # noqa: S603
    return json.loads(done.stdout.splitlines()[-1])


def report(results):
    """Print the table, and what was reported wrongly."""
    rows = []
    for scenario in SCENARIOS:
        means = [result["means"][scenario.__name__] for result in results.values()]
        rows.append([scenario.__name__, scenario.level, *(f"{mean:.1f}" if mean < MISS else "-" for mean in means)])
    found = [[mean for mean in result["means"].values() if mean < MISS] for result in results.values()]
    rows.append(["found, at least once", "", *(f"{len(means)} of {len(SCENARIOS)}" for means in found)])
    gmeans = [geometric_mean(result["means"].values()) for result in results.values()]
    rows.append(["**geometric mean**", "", *(f"**{mean:.1f}**" for mean in gmeans)])
    alarms = [result["alarms"] for result in results.values()]
    rows.append(["right, but reported", "", *(f"{len(names)} of {len(RIGHT_PROGRAMS)}" for names in alarms)])
    print(table(["", "level", *results], rows))


#: The levels of the races that each of ours has to find.
FINDS = {"timing": {"timing"}, "default": {"timing", "io"}, "tasks": {"timing", "io", "tasks"}}


def check(results):
    """Return what does not hold of our own loop, in words."""
    for name, result in results.items():
        for scenario in SCENARIOS:
            if scenario.level in FINDS[name] and result["means"][scenario.__name__] > RUNS:
                yield f"{name}: {scenario.__name__} is not always found"
        by_design = {program.__name__ for program in RIGHT_IN_ORDER} if name == "tasks" else set()
        for alarm in set(result["alarms"]) - by_design:
            yield f"{name}: {alarm} is right and was reported"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="virtualloop only, and fail if something does not hold")
    parser.add_argument("--seeds", type=int, default=3, help="explorations of each race")
    parser.add_argument("--runs-of-right", type=int, default=200, help="runs of each program that is right")
    parser.add_argument("--patience", type=float, default=20, help="seconds that a peer has for each exploration")
    parser.add_argument("--loop", choices=LOOPS, help="measure one, and print it for the others to collect")
    options = parser.parse_args()
    if options.loop:
        print(json.dumps(measure(options.loop, options.seeds, options.runs_of_right, options.patience)))
        return
    names = [name for name in LOOPS if name in OURS or (not options.check and find_spec(name.partition(",")[0]))]
    passed_on = {
        "seeds": options.seeds,
        "runs-of-right": RUNS if options.check else options.runs_of_right,
        "patience": options.patience,
    }
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(names, pool.map(partial(measured, options=passed_on), names), strict=True))
    report(results)
    packages = sorted({name.partition(",")[0] for name in names} - set(OURS))
    versions = [f"{package} {version(package)}" for package in packages]
    print(f"\n{platform.python_implementation()} {platform.python_version()}; {', '.join(['virtualloop', *versions])}.")
    if options.check:
        sys.exit("\n".join(check(results)) or None)


if __name__ == "__main__":
    main()
