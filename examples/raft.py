"""A leader election in the manner of Raft, on three hosts that crash: there is one leader a term, always.

Three ways to get it wrong are planted, one line each. explore() finds them, and the right version passes. What has to
hold is said once, in one line, and looked at after every step, whatever the hosts do.
Run it: python examples/raft.py
To see but some of the three, name them: python examples/raft.py GenerousNode
"""

import asyncio
import json
import sys
from functools import partial

import virtualloop

NAMES = ["n1", "n2", "n3"]
HEARTBEAT = 0.05
#: Each node has a patience of its own, unless it is chosen otherwise.
PATIENCE = {"n1": [0.15, 0.12, 0.18], "n2": [0.18, 0.12, 0.15], "n3": [0.21, 0.12, 0.15]}

# --- the code under test ----------------------------------------------------------------------------------------------


class Node(asyncio.DatagramProtocol):
    """One of three. What is on its disk survives a crash; all else does not."""

    def __init__(self, name, disk, elected):
        self.name = name
        self.disk = disk
        self.elected = elected
        self.term = disk.setdefault("term", 0)
        self.voted_for = disk.setdefault("voted for", None)
        self.leads = False
        self.heard = False
        self.votes = set()

    async def run(self):
        """Listen, and stand for election whenever no leader is heard for some time."""
        loop = asyncio.get_running_loop()
        everywhere = ("0.0.0.0", 7000)  # noqa: S104  # in memory
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=everywhere)
        try:
            while True:
                if self.leads:
                    self.tell_others("leader")
                    await asyncio.sleep(HEARTBEAT)
                else:
                    self.heard = False
                    await asyncio.sleep(virtualloop.choose(PATIENCE[self.name]))
                    if not self.heard and not self.leads:
                        self.stand()
        finally:
            self.transport.close()

    def stand(self):
        """Begin a new term and ask for votes."""
        self.new_term(self.term + 1)
        self.vote_for(self.name)
        self.votes = {self.name}
        self.tell_others("vote for me")

    def new_term(self, term):
        """Enter a term in which nobody has been voted for."""
        self.term = self.disk["term"] = term
        self.leads = False
        self.vote_for(None)

    def vote_for(self, name):
        """Remember whom this node votes for in this term."""
        self.voted_for = self.disk["voted for"] = name

    def may_vote_for(self, name):
        """Return whether this node has a vote for that one."""
        return self.voted_for in (None, name)

    def counts(self, term):
        """Return whether a vote that was given in `term` counts now."""
        return term == self.term

    def datagram_received(self, data, address):
        """Do what a message says; one from a later term begins that term here, too."""
        what, sender, term = json.loads(data)
        if term > self.term:
            self.new_term(term)
        if what == "leader" and term == self.term:
            self.heard = True
        elif what == "vote for me" and term == self.term and self.may_vote_for(sender):
            self.vote_for(sender)
            self.heard = True
            self.tell(sender, "yes")
        elif what == "yes" and self.counts(term) and not self.leads:
            self.votes.add(sender)
            if len(self.votes) * 2 > len(NAMES):
                self.leads = True
                self.elected.setdefault(self.term, set()).add(self.name)
                virtualloop.note(f"{self.name} leads term {self.term}")
                self.tell_others("leader")

    def tell(self, name, what):
        """Send a message to one of the others."""
        self.transport.sendto(json.dumps([what, self.name, self.term]).encode(), (name, 7000))

    def tell_others(self, what):
        """Send a message to all others."""
        for name in NAMES:
            if name != self.name:
                self.tell(name, what)


class ForgetfulNode(Node):
    """The first bug: whom it voted for is not on its disk, and after a crash it votes again."""

    def vote_for(self, name):
        """Remember whom this node votes for, until it crashes."""
        self.voted_for = name


class GenerousNode(Node):
    """The second bug: it votes for everyone who asks, unless it stands itself."""

    def may_vote_for(self, name):
        """Return whether this node has a vote for that one."""
        return self.voted_for != self.name


class CarelessNode(Node):
    """The third bug: a vote that comes late counts in a later term."""

    def counts(self, term):
        """Return whether a vote counts now."""
        return True


# --- its test ---------------------------------------------------------------------------------------------------------


async def election(node_type):
    """Start three nodes and crash some; in the end one of them leads."""
    network = asyncio.get_running_loop().network
    disks = {name: {} for name in NAMES}
    elected = {}
    virtualloop.always(lambda: all(len(names) == 1 for names in elected.values()), "one leader a term")

    nodes = {}

    def start(name):
        nodes[name] = node_type(name, disks[name], elected)
        with network.host(name):
            nodes[name].task = asyncio.create_task(nodes[name].run(), name=name)

    for name in NAMES:
        start(name)
    for _ in range(8):
        await asyncio.sleep(virtualloop.choose([0.1, 0.07, 0.04]))
        victim = virtualloop.choose([None, *NAMES])
        if victim is not None:
            network.host(victim).crash()
            network.host(victim).restart()
            start(victim)
    await virtualloop.until(lambda: any(node.leads for node in nodes.values()), within=10)


def network():
    """Three hosts, and messages that take 5 to 100 ms."""
    return virtualloop.Network(hosts=NAMES, latency=(0.005, 0.1))


# --- the search -------------------------------------------------------------------------------------------------------

if __name__ == "__main__":
    for name in sys.argv[1:] or ["ForgetfulNode", "GenerousNode", "CarelessNode"]:
        found = virtualloop.explore(partial(election, globals()[name]), network=network(), check=False)
        print(f"{name}: run {found.runs} fails")
        print(found.failure.exception)
        print(found.failure.report)
        print()
    print(f"Node: {virtualloop.explore(partial(election, Node), network=network(), runs=300)}")
