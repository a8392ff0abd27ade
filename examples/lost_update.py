"""A lost update: two deposits that overlap only if a reply comes in late. A seed finds it and replays it.

Stock asyncio passes this test every time, because a fake that sleeps is never late.
Run it: python examples/lost_update.py
"""

import asyncio

from virtualloop import VirtualLoop

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
    """Stands for the database. Each reply takes 10 ms, and is noted down."""

    def __init__(self):
        self.balance = 100
        self.notes = []

    async def read(self, who):
        """Return the balance."""
        await asyncio.sleep(0.010)
        self.note(f"{who} reads {self.balance}")
        return self.balance

    async def write(self, who, balance):
        """Set the balance."""
        await asyncio.sleep(0.010)
        self.balance = balance
        self.note(f"{who} writes {balance}")

    def note(self, what):
        """Note down what happened, and when."""
        milliseconds = asyncio.get_running_loop().time() * 1000
        self.notes.append(f"  at {milliseconds:.0f} ms {what}")


async def two_deposits(account_type):
    """Ann deposits 20, which takes 20 ms. Bob comes 30 ms after her and deposits 3."""
    store = FakeStore()
    account = account_type(store)

    async def bob():
        await asyncio.sleep(0.030)
        await account.deposit("Bob", 3)

    await asyncio.gather(account.deposit("Ann", 20), bob())
    assert store.balance == 123, "\n".join([*store.notes, f"  the balance is {store.balance}, not 123"])


# --- the search -------------------------------------------------------------------------------------------------------


def run(account_type, seed):
    """Run the test with replies as late as this seed decides; return why it fails, or None."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed=seed, order="io")) as runner:
        try:
            runner.run(two_deposits(account_type))
        except AssertionError as failure:
            return str(failure)
    return None


def find_seed(account_type, seeds):
    """Return the first seed with which the test fails, or None."""
    return next((seed for seed in seeds if run(account_type, seed)), None)


if __name__ == "__main__":
    for _ in range(5):
        asyncio.run(two_deposits(Account))
    print("Account on stock asyncio: 5 runs pass.")

    failing = find_seed(Account, range(1, 20))
    print(f"Account on VirtualLoop: seed {failing} is the first that fails.")

    first, second, third = (run(Account, failing) for _ in range(3))
    assert first == second == third
    print(f"Seed {failing}, replayed three times, is the same run each time:")
    print(first)

    assert find_seed(LockedAccount, range(1, 201)) is None
    print("LockedAccount on VirtualLoop: 200 seeds pass.")

    print("To replay the failure in a test:")
    print(
        f'  with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed={failing}, order="io")) as runner: '
        "runner.run(two_deposits(Account))"
    )
