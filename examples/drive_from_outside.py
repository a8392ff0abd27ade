"""A plain unittest.TestCase that steps a rate limiter through time from outside, with no async test in sight.

Run it: python examples/drive_from_outside.py
or:     pytest examples/drive_from_outside.py
"""

import asyncio
import unittest

from virtualloop import VirtualLoop

# --- the code under test ----------------------------------------------------------------------------------------------


class TokenBucket:
    """Lets `capacity` callers pass at once, and `rate` more each second; whoever comes first passes first."""

    def __init__(self, capacity, rate):
        self.capacity = capacity
        self.rate = rate
        self.tokens = capacity
        self.filled_at = 0.0
        self.turn = asyncio.Lock()

    async def take(self):
        """Wait for a token and take it."""
        async with self.turn:
            self.fill()
            if self.tokens < 1:
                await asyncio.sleep((1 - self.tokens) / self.rate)
                self.fill()
            self.tokens -= 1

    def fill(self):
        """Put in what has accrued since the last time."""
        now = asyncio.get_running_loop().time()
        self.tokens = min(self.capacity, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now


# --- its tests --------------------------------------------------------------------------------------------------------


class TokenBucketTest(unittest.TestCase):
    """The bucket lets three callers pass at once, and two more each second."""

    def setUp(self):
        """Begin at time 0, with a full bucket."""
        self.loop = VirtualLoop()
        self.addCleanup(self.loop.close)
        self.bucket = TokenBucket(capacity=3, rate=2)
        self.passed_at = []

    def start_callers(self, count):
        """Start callers that note down when they pass."""

        async def call():
            await self.bucket.take()
            self.passed_at.append(self.loop.time())

        return [self.loop.create_task(call()) for _ in range(count)]

    def test_burst(self):
        """As many callers as the bucket holds pass at once."""
        self.start_callers(3)
        self.loop.advance(0)  # Runs what is due now; the clock stands still.
        assert self.passed_at == [0, 0, 0]

    def test_wait(self):
        """The next caller waits for a token, to the millisecond."""
        self.start_callers(4)
        self.loop.advance(0.499)
        assert self.passed_at == [0, 0, 0]
        self.loop.advance(0.001)
        assert self.passed_at == [0, 0, 0, 0.5]

    def test_rate(self):
        """A crowd passes at the rate of the bucket."""
        self.start_callers(7)
        self.loop.run_until_idle()  # Runs until nothing is left to wait for.
        assert self.passed_at == [0, 0, 0, 0.5, 1, 1.5, 2]

    def test_capacity(self):
        """A quiet hour saves up no more than the bucket holds."""
        self.loop.advance(3600)
        self.start_callers(5)
        self.loop.run_until_idle()
        assert self.passed_at == [3600, 3600, 3600, 3600.5, 3601]


if __name__ == "__main__":
    unittest.main(verbosity=2)
