"""All races: those of `scenarios`, and the two classes that have modules of their own."""

from quality.hand_overs import HandOver
from quality.late_replies import LateReply
from quality.scenarios import SCENARIOS, right, wrong

__all__ = ["SCENARIOS", "HandOver", "LateReply", "right", "wrong"]
