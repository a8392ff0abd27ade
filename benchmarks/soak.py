"""Long runs: what a loop holds on to, however many steps, loops or runs of an exploration it makes, does not grow.

    python benchmarks/soak.py --minutes 2

Each kind of work is done for its share of the time, in rounds; after each round it is seen how much memory the process
has, how many files it has open, how many threads run, and how many objects the collector knows. All of these have to
stay where they were after the first rounds, which fill caches. Prints what was done and what was seen; exits with 1 if
something has grown.
"""

import argparse
import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from virtualloop import Network, VirtualLoop, explore

#: Rounds that a kind of work is divided into, and how many of them may fill caches.
ROUNDS, WARM_UP = 10, 3
#: What may be added after that, in all further rounds together: pages that the allocator has kept, objects in caches.
MOST_BYTES, MOST_OBJECTS = 4_000_000, 2_000
PAGE = os.sysconf("SC_PAGE_SIZE")


class Seen(NamedTuple):
    """What the process has."""

    bytes: int
    files: int
    threads: int
    objects: int

    @classmethod
    def now(cls) -> "Seen":
        """Return what it has after a collection."""
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE
        files = len([*Path("/proc/self/fd").iterdir()])
        return cls(resident, files, threading.active_count(), len(gc.get_objects()))


# --- the kinds of work ------------------------------------------------------------------------------------------------
# Each works until the deadline, in real seconds, and returns how much it has done.


class Steps:
    """One loop that is never closed: tasks, timers, queues, timeouts, cancellations, jobs in threads, connections."""

    def __init__(self, seed: int | None) -> None:
        self.loop = VirtualLoop(seed, network=Network(latency=0.001))

    def __call__(self, deadline: float) -> int:
        """Work on the one loop."""
        return self.loop.run_until_complete(self._work(deadline))

    async def _work(self, deadline: float) -> int:
        steps = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                writer.write(data)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(serve, port=80):
            while time.monotonic() < deadline:
                queue: asyncio.Queue[int] = asyncio.Queue(10)
                async with asyncio.TaskGroup() as group:
                    for i in range(20):
                        group.create_task(queue.put(i))
                        group.create_task(self._get(queue))
                    group.create_task(self._late())
                    group.create_task(asyncio.to_thread(int))
                reader, writer = await asyncio.open_connection("localhost", 80)
                for _ in range(10):
                    writer.write(b"ping")
                    await reader.readexactly(4)
                writer.close()
                await writer.wait_closed()
                for _ in range(5_000):
                    await asyncio.sleep(0)
                # Some hundred steps of the group and the connection are not counted.
                steps += 5_000
        return steps

    async def _get(self, queue: asyncio.Queue[int]) -> int:
        await asyncio.sleep(0.001)
        return await queue.get()

    async def _late(self) -> None:
        try:
            async with asyncio.timeout(0.5):
                await asyncio.sleep(3600)
        except TimeoutError:
            pass


def loops(deadline: float) -> int:
    """Loops that are made, run and closed."""
    made = 0
    while time.monotonic() < deadline:
        for seed in (None, made):
            with asyncio.Runner(loop_factory=lambda seed=seed: VirtualLoop(seed)) as runner:
                runner.run(asyncio.sleep(60))
            made += 1
    return made


def runs(deadline: float) -> int:
    """Runs of explorations, some of which fail and are made small."""

    async def program() -> None:
        balance = 100

        async def deposit(amount: int, after: float) -> None:
            nonlocal balance
            await asyncio.sleep(after)
            before = balance
            await asyncio.sleep(0.01)
            balance = before + amount

        await asyncio.gather(deposit(10, 0.0), deposit(20, 0.03))
        await asyncio.gather(*[asyncio.sleep(0.001 * i) for i in range(6)])
        assert balance in allowed

    made = seed = 0
    while time.monotonic() < deadline:
        seed += 1
        allowed = {130} if seed % 10 == 0 else {110, 120, 130}
        made += explore(program, runs=200, seed=seed, check=False).runs
    return made


KINDS: dict[str, Callable[[], Callable[[float], int]]] = {
    "steps": lambda: Steps(None),
    "steps, seeded": lambda: Steps(7),
    "loops": lambda: loops,
    "runs": lambda: runs,
}


def soak(name: str, work: Callable[[float], int], seconds: float) -> bool:
    """Do one kind of work; print what was seen, and return whether nothing has grown."""
    done, seen = 0, []
    for _ in range(ROUNDS):
        done += work(time.monotonic() + seconds / ROUNDS)
        seen.append(Seen.now())
    before, after = seen[WARM_UP - 1], seen[-1]
    grown = {
        "bytes": after.bytes - before.bytes > MOST_BYTES,
        "files": after.files > before.files,
        "threads": after.threads > before.threads,
        "objects": after.objects - before.objects > MOST_OBJECTS,
    }
    changes = ", ".join(f"{key} {getattr(before, key):,} to {getattr(after, key):,}" for key in grown)
    verdict = "".join(f", {key} HAVE GROWN" for key, has in grown.items() if has)
    print(f"{name}: {done:,} in {seconds:.0f} s; {changes}{verdict}", flush=True)
    return not verdict


def main() -> None:
    """Do all kinds of work, or those that are named, for so many minutes in all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "kinds", nargs="*", choices=[[], *KINDS], default=[], help="which kinds of work; all by default"
    )
    parser.add_argument("--minutes", type=float, default=2.0)
    options = parser.parse_args()
    kinds = options.kinds or list(KINDS)
    good = [soak(name, KINDS[name](), 60 * options.minutes / len(kinds)) for name in kinds]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
