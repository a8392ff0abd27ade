"""What is used of asyncio's insides, all of it: handles, tasks, transports, and private names, each with its reason.

Owns that knowledge, so that a new Python is looked after in one place.
"""
