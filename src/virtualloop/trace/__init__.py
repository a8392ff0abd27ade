"""A record of a run, for people to read: as text, as a timeline, or for Perfetto.

Owns the forms; the record itself is kept by the core's recorder.
"""

from virtualloop.trace._trace import Deviation as Deviation
from virtualloop.trace._trace import Trace as Trace

__all__ = ["Deviation", "Trace"]
