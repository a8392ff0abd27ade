"""Whatever a network does, some things hold: hosts, faults and connections at random, as a state machine."""

import asyncio
import contextlib
import gc
import sys

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from helpers import amount
from virtualloop import Network, VirtualLoop

HOSTS = ["one", "two", "three"]
METHODS = ["close", "abort", "write_eof", "pause_reading", "resume_reading"]
hosts = st.sampled_from(HOSTS)
faults = st.fixed_dictionaries(
    {},
    optional={
        "latency": st.sampled_from([0.0, 0.01, (0.0, 0.1)]),
        "bandwidth": st.sampled_from([1e3, 1e6]),
        "loss": st.sampled_from([0.0, 0.5]),
        "fragmentation": st.sampled_from([0.0, 0.5, 1.0]),
        "coalescing": st.sampled_from([0.0, 0.5]),
        "resets": st.sampled_from([0.0, 0.05]),
    },
)


class End(asyncio.Protocol):
    """One end of a connection: what it has sent and received, and that it is lost once."""

    def __init__(self, machine, host):
        self.machine = machine
        self.host = host
        self.generation = machine.generations[host]
        self.sent = bytearray()
        self.received = bytearray()
        self.lost = 0
        self.has_ended = False
        self.transport = None
        machine.ends.append(self)

    def _check_is_up(self):
        if self.generation != self.machine.generations[self.host]:
            self.machine.broken.append(f"something ran on {self.host} after its power was cut")

    def connection_made(self, transport):
        self._check_is_up()
        self.transport = transport

    def data_received(self, data):
        self._check_is_up()
        if self.lost:
            self.machine.broken.append("data after the connection was lost")
        self.received += data

    def eof_received(self):
        self._check_is_up()
        return True

    def connection_lost(self, exc):
        self._check_is_up()
        self.lost += 1

    @property
    def is_open(self):
        return (
            self.generation == self.machine.generations[self.host]
            and self.transport is not None
            and not self.transport.is_closing()
            and not self.lost
        )


class Faults(RuleBasedStateMachine):
    """Servers and connections on three hosts; whatever is done to them, the invariants hold."""

    @initialize(
        seed=st.integers(0, 2**16),
        order=st.sampled_from(["fifo", "io", "tasks"]),
        conditions=faults,
        are_left_open=st.booleans(),
    )
    def begin(self, seed, order, conditions, are_left_open):
        self.are_left_open = are_left_open
        # What cannot be raised, because whoever caused it is being collected.
        self.unraisable = []
        self.hook = sys.unraisablehook
        sys.unraisablehook = lambda seen: self.unraisable.append(f"{seen.exc_value!r} in {seen.object!r}")
        self.network = Network(hosts=HOSTS, **conditions)
        self.loop = VirtualLoop(seed, order=order, network=self.network)
        self.errors = []
        self.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        self.generations = dict.fromkeys(HOSTS, 0)
        self.ends = []
        self.servers = {}
        self.broken = []
        self.up = set(HOSTS)
        self.closed = False
        for host in HOSTS:
            self.serve(host)

    def serve(self, host):
        async def start():
            with self.network.host(host):
                self.servers[host] = await self.loop.create_server(lambda: End(self, host), port=80)

        self.loop.run_until_complete(start())

    @rule(source=hosts, other=hosts)
    def connect(self, source, other):
        async def start():
            with self.network.host(source):
                self.loop.create_task(self.dial(source, other))

        if source in self.up:
            self.loop.run_until_complete(start())

    async def dial(self, source, other):
        try:
            await self.loop.create_connection(lambda: End(self, source), other, 80)
        except OSError:
            return  # As it is with networks.

    @rule(number=st.integers(0, 20), size=st.sampled_from([1, 100, 100_000]))
    def write(self, number, size):
        ends = [end for end in self.ends if end.is_open]
        if ends:
            end = ends[number % len(ends)]
            # Each end's bytes are its own, so that they can be told.
            data = bytes([self.ends.index(end) % 251]) * size
            if not end.has_ended:
                end.sent += data
                with self.network.host(end.host):
                    end.transport.write(data)

    @rule(
        number=st.integers(0, 20),
        how=st.sampled_from(["close", "abort", "write_eof", "pause_reading", "resume_reading"]),
    )
    def act(self, number, how):
        ends = [end for end in self.ends if end.is_open]
        if ends:
            end = ends[number % len(ends)]
            end.has_ended = end.has_ended or how == "write_eof"
            with self.network.host(end.host), contextlib.suppress(OSError):  # reset, and not noticed yet
                getattr(end.transport, how)()

    @rule(number=st.integers(0, 20))
    def forget(self, number):
        ends = [end for end in self.ends if end.is_open]
        if ends:
            # It is collected, unclosed, where nothing else knows it: where it is paused, or its host crashes.
            ends[number % len(ends)].transport = None

    @rule(host=hosts)
    def close_server(self, host):
        if host in self.up:
            with self.network.host(host):
                self.servers[host].close()

    @rule(seconds=st.sampled_from([0, 0.01, 1, 100, 2000]))
    def advance(self, seconds):
        self.loop.advance(seconds)

    @rule(source=hosts, other=hosts, conditions=faults)
    def change(self, source, other, conditions):
        self.network.link(source, other, **conditions)

    @rule(source=hosts, other=hosts, one_way=st.booleans())
    def partition(self, source, other, one_way):
        self.network.partition(source, other, one_way=one_way)

    @rule(source=hosts, other=hosts)
    def heal(self, source, other):
        self.network.heal(source, other)

    @rule(source=hosts, other=hosts)
    def reset(self, source, other):
        self.network.reset(source, other)

    @rule(host=hosts)
    def crash(self, host):
        if host in self.up:
            self.up.discard(host)
            self.generations[host] += 1
            self.network.host(host).crash()

    @rule(host=hosts)
    def restart(self, host):
        if host not in self.up:
            self.up.add(host)
            self.network.host(host).restart()
            self.serve(host)

    @invariant()
    def holds(self):
        if not hasattr(self, "ends"):
            return
        assert self.broken == []
        assert self.unraisable == []
        assert [context for context in self.errors if not isinstance(context.get("exception"), OSError)] == []
        for end in self.ends:
            assert end.lost <= 1
            # What arrives is a prefix of what one other end has sent.
            if end.received:
                sender = self.ends[end.received[0]] if end.received[0] < len(self.ends) else None
                assert sender is not None
                assert sender is not end
                assert sender.sent.startswith(end.received)

    def teardown(self):
        if not hasattr(self, "loop"):
            return
        try:
            try:
                self.end()
            finally:
                self.loop.close()
            # What is left open is collected, all of it at once; servers may be known for longer.
            del self.loop, self.network, self.ends
            gc.collect()
            assert self.unraisable == []
        finally:
            sys.unraisablehook = self.hook

    def end(self):
        for host in HOSTS:
            for other in HOSTS:
                self.network.heal(host, other)
        self.loop.advance(200)  # so that all connections are made, or given up
        if self.are_left_open:
            for host in HOSTS:
                self.close_server(host)
            self.holds()
            return
        for end in self.ends:
            if end.is_open:
                with self.network.host(end.host):
                    end.transport.abort()
        self.loop.advance(5000)
        open_ends = [end for end in self.ends if end.generation == self.generations[end.host] and end.transport]
        assert [end.lost for end in open_ends] == [1] * len(open_ends)
        self.holds()


Faults.TestCase.settings = settings(
    max_examples=amount(30, 300), stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
# What is left open is collected at any time.
TestFaults = pytest.mark.slow(pytest.mark.filterwarnings("ignore::ResourceWarning")(Faults.TestCase))
