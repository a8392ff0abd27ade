"""What day it is: `datetime` as a world has it.

Owns what stands in for the class methods of `datetime.datetime` and `datetime.date` that read the clock. They are put
into the classes themselves, see `aliases`, so that whoever has one of the classes, or one derived from it, has them: no
class is replaced by another one, and what they return is of the class that they are called on, as ever.
"""

from __future__ import annotations

import datetime as dt
import sys
import warnings
from typing import Any

from virtualloop._core.clock import TICKS_PER_SECOND
from virtualloop._world.clocks import moment

__all__ = ["members"]

#: In the words of Python, which has warned of it since 3.12.
UTCNOW_DEPRECATED = (
    "datetime.datetime.utcnow() is deprecated and scheduled for removal in a future version. Use timezone-aware "
    "objects to represent datetimes in UTC: datetime.datetime.now(datetime.UTC)."
)

# What `vars()` has of a class is what others derive from it, too, so nobody looks for it here.
_now, _fromtimestamp = vars(dt.datetime)["now"], vars(dt.datetime)["fromtimestamp"]
_today = vars(dt.date)["today"]


def now(cls: Any, tz: dt.tzinfo | None = None) -> Any:
    """Return the present moment in a time zone; without one, in the machine's and naive."""
    ticks = moment()
    if ticks is None:
        return _now.__get__(None, cls)(tz)
    return _fromtimestamp.__get__(None, cls)(ticks / TICKS_PER_SECOND, tz)


def utcnow(cls: Any) -> Any:
    """Return the present moment in UTC, and naive."""
    if sys.version_info >= (3, 12):
        warnings.warn(UTCNOW_DEPRECATED, DeprecationWarning, stacklevel=2)
    ticks = moment()
    if ticks is None:
        return _now.__get__(None, cls)(dt.UTC).replace(tzinfo=None)
    return _fromtimestamp.__get__(None, cls)(ticks / TICKS_PER_SECOND, dt.UTC).replace(tzinfo=None)


def today(cls: Any) -> Any:
    """Return the present day; on a datetime, the present moment."""
    ticks = moment()
    if ticks is None:
        return _today.__get__(None, cls)()
    # As it stands in the class: a class derived from these may make something else of it.
    return cls.fromtimestamp(ticks / TICKS_PER_SECOND)


def members() -> list[tuple[type, str, object]]:
    """Return the class, the name and the stand-in of each."""
    return [
        (dt.datetime, "now", classmethod(now)),
        (dt.datetime, "utcnow", classmethod(utcnow)),
        (dt.date, "today", classmethod(today)),
    ]
