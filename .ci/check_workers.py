"""Explore a suite over xdist where a worker crashes: what it had reported by then is in the summary, which says so.

Needs the optional group "nightly": pytest-xdist.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = """
import asyncio
import os
import pytest
import virtualloop

LADDER = virtualloop.ladder(seeds=1)

@pytest.mark.parametrize("number", range(20))
@virtualloop.explored(runs=10)
async def test_explored(number):
    await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))

@pytest.mark.parametrize("rung", LADDER)
def test_on_a_ladder(rung):
    with asyncio.Runner(loop_factory=LADDER[rung]) as runner:
        runner.run(asyncio.sleep(1))

def test_crashes():
    os._exit(1)

@pytest.mark.parametrize("number", range(20))
@virtualloop.explored(runs=10)
async def test_after(number):
    await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
"""
EXPECTED = (
    "40 explorations, 400 runs",
    "1 test on a ladder of loops, none fails that passes on the plain one",
    "1 worker of xdist crashed: what is told here is without the test that it was running",
)

with tempfile.TemporaryDirectory() as folder:
    Path(folder, "test_it.py").write_text(SUITE, encoding="utf-8")
    text = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "2",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:asyncio",
            "-p",
            "no:anyio",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
missing = [line for line in EXPECTED if line not in text]
if missing:
    print(text, "MISSING:", *missing, sep="\n")
    sys.exit(1)
