"""The simulation itself: what time it is, what is pending, what is ready and in which order it runs. No asyncio.

Owns whatever can be said about a run without a loop, and is tested without one.
"""
