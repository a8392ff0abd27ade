"""An exploration in other processes, or on other machines: the result is that of a serial one.

    python examples/beyond_one_machine.py

makes the runs in two processes of this machine; with `--dask` on a local Dask cluster (pip install distributed), and
with `--dask ADDRESS` on the cluster of that scheduler.

Runs are independent of each other, so an executor may make them anywhere. What it needs is that `main` can be found
there by its name: a function at the top level of a module. Dask is sent this file. A failing run is made again here,
for its story.
"""

import argparse
import asyncio
import concurrent.futures
import contextlib
import sys
from pathlib import Path

import virtualloop


async def transfer():
    """Two transfers, and a bug that needs two of three replies to be late."""
    accounts = {"Ann": 100, "Bob": 100}

    async def move(amount, source, target, after):
        await asyncio.sleep(after)
        balance = accounts[source]
        await asyncio.sleep(0.01)  # the bank answers
        accounts[source] = balance - amount
        await asyncio.sleep(0.01)
        accounts[target] += amount

    await asyncio.gather(
        move(10, "Ann", "Bob", after=0.0), move(20, "Ann", "Bob", after=0.03), move(5, "Bob", "Ann", after=0.06)
    )
    assert sum(accounts.values()) == 200, f"money is made or lost: {accounts}"


@contextlib.contextmanager
def dask(address):
    """Return an executor of a Dask cluster."""
    from distributed import Client  # noqa: PLC0415  # only who asks for it has it

    with Client(address, n_workers=2, threads_per_worker=1) if address is None else Client(address) as client:
        client.upload_file(str(Path(__file__).resolve()))
        yield client.get_executor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dask", nargs="?", const="", metavar="ADDRESS", help="on a Dask cluster")
    options = parser.parse_args()
    # By its module's name, as other processes find it, also where this file is run as a program.
    program = sys.modules[__name__].transfer if __name__ != "__main__" else __import__(Path(__file__).stem).transfer

    makes = concurrent.futures.ProcessPoolExecutor(2) if options.dask is None else dask(options.dask or None)
    with makes as executor:
        elsewhere = virtualloop.explore(program, epoch=0, check=False, executor=executor)
    here = virtualloop.explore(program, epoch=0, check=False)
    print("elsewhere:", elsewhere)
    print("here:     ", here)
    print("the same failure:", elsewhere.failure.token == here.failure.token and elsewhere.runs == here.runs)


if __name__ == "__main__":
    main()
