"""An hour of retries with exponential backoff, in virtual time: each attempt is checked to the second.

Run it: python examples/retry_backoff.py
"""

import asyncio
import time

from virtualloop import VirtualLoop

# --- the code under test ----------------------------------------------------------------------------------------------


async def fetch_with_retries(service):
    """Ask until there is an answer: wait 20 seconds, then twice as long each time, but never more than 5 minutes."""
    delay = 20
    while True:
        try:
            return await service.fetch()
        except ConnectionError:
            await asyncio.sleep(delay)
            delay = min(2 * delay, 300)


# --- its test ---------------------------------------------------------------------------------------------------------


class FakeService:
    """A service that is down for an hour."""

    def __init__(self):
        self.attempts = []

    async def fetch(self):
        """Answer, or refuse the connection."""
        now = asyncio.get_running_loop().time()
        self.attempts.append(now)
        if now < 3600:
            raise ConnectionRefusedError("down for maintenance")
        return "welcome back"


async def check_retries():
    service = FakeService()
    answer = await fetch_with_retries(service)
    assert answer == "welcome back"
    # The clock moves only when the loop waits, and exactly as far as the program asked: no tolerance is needed.
    assert service.attempts == [0, 20, 60, 140, *range(300, 3601, 300)]
    assert asyncio.get_running_loop().time() == 3600
    return service.attempts


if __name__ == "__main__":
    start = time.perf_counter()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        attempts = runner.run(check_retries())
    assert time.perf_counter() - start < 1

    for number, moment in enumerate(attempts, start=1):
        print(f"attempt {number:2} at {moment:4.0f} s")
    print(f"{len(attempts)} attempts in {attempts[-1]:.0f} s of virtual time took less than a second of real time.")
