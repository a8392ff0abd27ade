"""What is outside of the loop and belongs to its world: threads, and when they are at rest.

Owns the evidence; whether the clock may move is decided on it, not on patience.
"""
