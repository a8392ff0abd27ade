"""A trace: what happened in a run, step by step, and where it left stock asyncio's order.

The bug: anything may happen between the read and the write. This seed makes it happen, and the trace shows how.
Run it: python examples/trace.py
To see it drawn: python examples/trace.py run.html, and open that in a browser.
"""

import asyncio
import sys

import virtualloop
from virtualloop import Trace, VirtualLoop


async def main():
    balance = 100

    async def deposit(amount, after):
        nonlocal balance
        await asyncio.sleep(after)
        before = balance
        virtualloop.note(f"reads {before}")
        await asyncio.sleep(0.01)
        balance = before + amount
        virtualloop.note(f"writes {balance}")

    ann = asyncio.create_task(deposit(10, after=0.02), name="Ann")
    bob = asyncio.create_task(deposit(20, after=0.04), name="Bob")
    await asyncio.gather(ann, bob)
    virtualloop.note(f"the balance is {balance}, not 130")


if __name__ == "__main__":
    trace = Trace()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed=10, order="io", trace=trace)) as runner:
        runner.run(main())
    print(trace)
    if len(sys.argv) > 1:
        trace.to_html(sys.argv[1])
