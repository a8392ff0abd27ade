"""By which attribute an explored test is known.

Owns that name, so that it can be asked for without importing what explores.
"""

__all__ = ["EXPLORED"]

EXPLORED = "__virtualloop_explored__"
