"""asyncio's face: the event loop class, and the functions that ask for the running one.

Owns the loop's interface and its run loop; everything it does is done by the rooms below.
"""
