"""Measure how soon known races are found, and how often programs that are right are reported.

    python benchmarks/quality.py          some minutes; peers that are not installed are left out
    python benchmarks/quality.py --check  virtualloop only: every race within 1,000 runs, no alarm in 1,000 runs of each
                                          program that is right; the exit status says whether that holds

The races are those of tests/quality/scenarios.py; the programs that are right are their repaired versions and those of
tests/quality/contracts.py. Each loop explores as its documentation says. What counts is the run that fails first, as
each loop counts; the mean is taken over `--seeds` explorations that start from different seeds, and a race that is not
found in 1,000 runs counts 2,000.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, geometric_mean

from loops import table

from virtualloop import explore

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.quality.contracts import RIGHT, RIGHT_IN_ORDER
from tests.quality.scenarios import SCENARIOS, right, wrong

RUNS, MISS = 1000, 2000


def ours(main, seed, runs, order=None):
    exploration = explore(main, runs=runs, seed=seed, order=order, check=False, shrink=False)
    return exploration.runs if exploration.failure else None


def detangle(main, seed, runs, **options):
    module = import_module("detangle")
    try:
        module.explore(main, runs=runs, seed=seed, shrink=False, database=False, **options)
    except module.BugFound as bug:
        return bug.report.runs
    return None


def simloop(main, seed, runs):
    report = import_module("simloop").explore(main, range(seed * RUNS, seed * RUNS + runs))
    return report and report.seeds_passed + 1


def simloom(main, seed, runs):
    exploration = import_module("simloom").explore(main, runs=runs, start_seed=seed * RUNS)
    return exploration.runs if exploration.failed else None


#: How each looks for a failure: the number of the run that fails first, or None.
OURS = {
    "timing": partial(ours, order="timing"),
    "default": ours,
    "tasks": partial(ours, order="tasks"),
}
PEERS = {
    "detangle": detangle,
    "detangle, late": partial(detangle, timer_jitter=0.05),
    "simloop": simloop,
    "simloom": simloom,
}
LOOPS = OURS | PEERS
RIGHT_PROGRAMS = {scenario.__name__: right(scenario) for scenario in SCENARIOS} | {
    program.__name__: program for program in RIGHT + RIGHT_IN_ORDER
}


def measure(name, seeds, runs_of_right):
    """Return each race's mean number of runs, and the programs that are right and were reported."""
    search = LOOPS[name]
    means = {
        scenario.__name__: fmean(search(wrong(scenario), seed, RUNS) or MISS for seed in range(seeds))
        for scenario in SCENARIOS
    }
    alarms = [name for name, main in RIGHT_PROGRAMS.items() if search(main, seeds, runs_of_right)]
    return {"means": means, "alarms": alarms}


def measured(name, seeds, runs_of_right):
    """Do the same in a process of its own, which hashes strings as all others do."""
    command = [sys.executable, "-W", "ignore", __file__, "--loop", name]
    command += ["--seeds", str(seeds), "--runs-of-right", str(runs_of_right)]
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
    parser.add_argument("--loop", choices=LOOPS, help="measure one, and print it for the others to collect")
    options = parser.parse_args()
    if options.loop:
        print(json.dumps(measure(options.loop, options.seeds, options.runs_of_right)))
        return
    names = [name for name in LOOPS if name in OURS or (not options.check and find_spec(name.partition(",")[0]))]
    runs_of_right = RUNS if options.check else options.runs_of_right
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measurements = pool.map(partial(measured, seeds=options.seeds, runs_of_right=runs_of_right), names)
        results = dict(zip(names, measurements, strict=True))
    report(results)
    packages = sorted({name.partition(",")[0] for name in names} - set(OURS))
    versions = [f"{package} {version(package)}" for package in packages]
    print(f"\n{platform.python_implementation()} {platform.python_version()}; {', '.join(['virtualloop', *versions])}.")
    if options.check:
        sys.exit("\n".join(check(results)) or None)


if __name__ == "__main__":
    main()
