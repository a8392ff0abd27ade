"""A lost update: two deposits that overlap only if something takes longer than usual. explore() finds it.

Stock asyncio passes this test every time, because a fake that sleeps is never late.
Run it: python examples/lost_update.py
"""

import asyncio
from functools import partial

import virtualloop

# --- the code under test ----------------------------------------------------------------------------------------------


class Account:
    """A balance in a store. The bug: anything may happen between the read and the write."""

    def __init__(self, store):
        self.store = store

    async def deposit(self, who, amount):
        """Add the amount to the balance."""
        balance = await self.store.read(who)
        await self.store.write(who, balance + amount)


class LockedAccount(Account):
    """The same account, repaired: one deposit at a time."""

    def __init__(self, store):
        super().__init__(store)
        self.lock = asyncio.Lock()

    async def deposit(self, who, amount):
        """Add the amount to the balance, after whoever came before."""
        async with self.lock:
            await super().deposit(who, amount)


# --- its test ---------------------------------------------------------------------------------------------------------


class FakeStore:
    """Stands for the database. Each reply takes 10 ms."""

    def __init__(self):
        self.balance = 100

    async def read(self, who):
        """Return the balance."""
        await asyncio.sleep(0.010)
        virtualloop.note(f"{who} reads {self.balance}")
        return self.balance

    async def write(self, who, balance):
        """Set the balance."""
        await asyncio.sleep(0.010)
        self.balance = balance
        virtualloop.note(f"{who} writes {balance}")


async def two_deposits(account_type):
    """Ann deposits 20, which takes 20 ms. Bob comes 30 ms after her and deposits 3."""
    store = FakeStore()
    account = account_type(store)

    async def bob():
        await asyncio.sleep(0.030)
        await account.deposit("Bob", 3)

    async with asyncio.TaskGroup() as group:
        group.create_task(account.deposit("Ann", 20), name="Ann")
        group.create_task(bob(), name="Bob")
    assert store.balance == 123, f"the balance is {store.balance}, not 123"


# --- the search -------------------------------------------------------------------------------------------------------

if __name__ == "__main__":
    for _ in range(5):
        asyncio.run(two_deposits(Account))
    print("Account on stock asyncio: 5 runs pass.")

    found = virtualloop.explore(partial(two_deposits, Account), check=False)
    print(f"Account, explored: {found}")
    print(found.failure.report)

    again = virtualloop.explore(partial(two_deposits, Account), replay=found.failure.token, check=False)
    assert again.failure.report == found.failure.report
    print("Replayed, it is the same run.")

    print(f"LockedAccount, explored: {virtualloop.explore(partial(two_deposits, LockedAccount))}")
