"""A small shop, seeded: its visitors, its books, and the traffic that tells of them.

What happens is a pure function of the seed. Endless, only the times of sending are those of now;
as a history, it is dated, and the shop's own books say what every figure has to be.
"""

from loadtests.simulator.send import Refused, simulate
from loadtests.simulator.visits import Happening

__all__ = ["Happening", "Refused", "simulate"]
