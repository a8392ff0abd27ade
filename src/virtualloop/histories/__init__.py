"""What clients asked of an object and what it answered, checked against what a correct one could have answered.

Owns the record of operations, the search for an order that explains them, and ready made models.
"""

from virtualloop.histories._call import UNKNOWN as UNKNOWN
from virtualloop.histories._call import Call as Call
from virtualloop.histories._call import Model as Model
from virtualloop.histories._history import History as History
from virtualloop.histories._history import UndecidedWarning as UndecidedWarning
from virtualloop.histories._models import counter as counter
from virtualloop.histories._models import key_value as key_value
from virtualloop.histories._models import lock as lock
from virtualloop.histories._models import queue as queue
from virtualloop.histories._models import register as register
from virtualloop.histories._models import set_of_items as set_of_items

__all__ = [
    "UNKNOWN",
    "Call",
    "History",
    "Model",
    "UndecidedWarning",
    "counter",
    "key_value",
    "lock",
    "queue",
    "register",
    "set_of_items",
]
