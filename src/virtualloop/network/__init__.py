"""The network in memory: hosts, links between them, and every fault that a network can have.

Owns how the network is to be, and what a test does to it while it runs.
"""

from virtualloop.network._fabric import Fault as Fault
from virtualloop.network._hosts import Host as Host
from virtualloop.network._network import Network as Network

__all__ = ["Fault", "Host", "Network"]
