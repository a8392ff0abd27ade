"""A deadlock: two transfers lock two accounts in opposite order. Instead of hanging, the loop says who waits where.

Run it: python examples/deadlock.py
"""

import asyncio
from pathlib import Path

from virtualloop import DeadlockError, VirtualLoop


class Account:
    """A balance, and the lock that guards it."""

    def __init__(self, balance):
        self.balance = balance
        self.lock = asyncio.Lock()


async def transfer(source, target, amount):
    """Move money. The bug: the order in which the locks are taken depends on who pays whom."""
    async with source.lock:
        await asyncio.sleep(0.010)  # Check the limits of the source.
        async with target.lock:
            source.balance -= amount
            target.balance += amount


async def main():
    ann, bob = Account(100), Account(100)
    there = asyncio.create_task(transfer(ann, bob, 20), name="from Ann to Bob")
    back = asyncio.create_task(transfer(bob, ann, 3), name="from Bob to Ann")
    await there
    await back


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        try:
            runner.run(main())
        except DeadlockError as error:
            # The report names this file by its full path; by its name alone it reads the same everywhere.
            print(str(error).replace(__file__, Path(__file__).name))
