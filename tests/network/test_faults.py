"""The network as a test wants it: latency, bandwidth, loss and all that, drawn from the schedule."""

import asyncio
import math
import os
import pickle
import socket
import subprocess
import sys
from collections import Counter

import pytest

import helpers
import virtualloop
from helpers import Always
from test_scenarios import client_context, server_context
from virtualloop import Network, VirtualLoop, explore
from virtualloop.schedules import Random, Recording, Replay


def run(main, *args, **kwargs):
    """Run `main()` on a VirtualLoop, until all that it began has ended."""

    async def ending():
        result = await main()
        await settled()
        return result

    return helpers.run(ending, *args, **kwargs)


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def round_trip(host="localhost", port=80, data=b"x"):
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    answer = await reader.readexactly(len(data))
    writer.close()
    return answer


def now():
    return asyncio.get_running_loop().time()


def network():
    return asyncio.get_running_loop().network


async def settled(seconds=1000):
    await asyncio.sleep(seconds)


class Mailbox(asyncio.DatagramProtocol):
    def __init__(self):
        self.got = []

    def datagram_received(self, data, addr):
        self.got.append((now(), data))


async def mailboxes():
    """Return two datagram endpoints: (transport, protocol) each, the second connected to the first."""
    loop = asyncio.get_running_loop()
    server, there = await loop.create_datagram_endpoint(Mailbox, local_addr=("127.0.0.1", 53))
    client, here = await loop.create_datagram_endpoint(Mailbox, remote_addr=("127.0.0.1", 53))
    return server, there, client, here


async def send_and_close(count):
    server, there, client, _ = await mailboxes()
    for i in range(count):
        client.sendto(b"%d" % i)
    await settled()
    client.close()
    server.close()
    await settled()
    return there.got


# --- latency and bandwidth --------------------------------------------------------------------------------------------


def test_a_perfect_network_takes_no_time_and_asks_nothing():
    schedule = Always(0)

    async def main():
        server = await asyncio.start_server(echo, port=80)
        assert await round_trip() == b"x"
        server.close()
        return now()

    assert run(main, schedule=schedule, order="fifo") == 0.0
    assert schedule.asked == []


def test_latency_there_and_back():
    async def main():
        server = await asyncio.start_server(echo, port=80)
        reader, writer = await asyncio.open_connection("localhost", 80)
        connected = now()
        writer.write(b"x")
        await reader.read(1)
        answered = now()
        writer.close()
        server.close()
        await settled()
        return connected, answered

    assert run(main, network=Network(latency=0.1)) == (0.2, 0.4)


def test_a_refusal_takes_a_round_trip():
    async def main():
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("localhost", 80)
        return now()

    assert run(main, network=Network(latency=0.25)) == 0.5


def test_latency_is_drawn_from_its_range_and_zero_is_the_shortest():
    async def main():
        return [when for when, _ in await send_and_close(3)]

    shortest = run(main, schedule=Always(0), order="fifo", network=Network(latency=(0.01, 0.04)))
    longest = run(main, schedule=Always(10**6), order="fifo", network=Network(latency=(0.01, 0.04)))
    drawn = {
        when for seed in range(20) for when in run(main, seed, order="fifo", network=Network(latency=(0.01, 0.04)))
    }

    assert shortest == [0.01] * 3
    assert longest == [0.04] * 3
    assert len(drawn) > 10
    assert all(0.01 <= when <= 0.04 for when in drawn)


def test_what_was_sent_first_comes_in_first_on_a_connection():
    async def main():
        got = []

        async def keep(reader, writer):
            while data := await reader.read(100):
                got.append(data)
            writer.close()

        server = await asyncio.start_server(keep, port=80)
        _, writer = await asyncio.open_connection("localhost", 80)
        for i in range(10):
            writer.write(b"%d" % i)
        writer.close()
        await settled()
        server.close()
        return b"".join(got)

    for seed in range(30):
        for order in ("fifo", "tasks"):
            assert run(main, seed, order=order, network=Network(latency=(0, 0.1))) == b"0123456789"


def test_datagrams_overtake_each_other_where_latency_varies():
    async def main():
        return [data for _, data in await send_and_close(3)]

    seen = {tuple(run(main, seed, order="fifo", network=Network(latency=(0, 1)))) for seed in range(30)}

    assert len(seen) == 6


def test_bandwidth_is_shared_by_the_connections_of_a_link():
    async def main(connections):
        async def sink(reader, writer):
            while await reader.read(65536):
                pass
            writer.close()

        server = await asyncio.start_server(sink, port=80)

        async def client():
            _, writer = await asyncio.open_connection("localhost", 80)
            writer.write(bytes(100_000))
            writer.close()

        await asyncio.gather(*[client() for _ in range(connections)])
        await virtualloop.run_until_idle()
        server.close()
        return now()

    for connections in (1, 2):
        assert run(lambda n=connections: main(n), network=Network(bandwidth=10_000)) == 10.0 * connections


def test_flow_control_holds_whatever_the_latency():
    async def main():
        async def never(reader, writer):
            await asyncio.sleep(1000)
            writer.close()

        server = await asyncio.start_server(never, port=80, limit=1)
        _, writer = await asyncio.open_connection("localhost", 80)
        writer.write(bytes(10_000_000))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 100)
        left = writer.transport.get_write_buffer_size()
        writer.transport.abort()
        await settled(2000)
        server.close()
        return left

    assert run(main, network=Network(latency=0.1)) > 9_000_000


# --- datagrams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"loss": 1.0}, []),
        ({"duplication": 1.0}, [b"0", b"0", b"1", b"1"]),
        ({}, [b"0", b"1"]),
    ],
)
def test_what_is_certain_is_not_asked(conditions, expected):
    schedule = Always(0)
    network = Network(**conditions)

    assert [data for _, data in run(lambda: send_and_close(2), schedule=schedule, order="fifo", network=network)] == (
        expected
    )
    assert schedule.asked == []


def test_a_datagram_that_is_overtaken():
    class Second:
        def choose(self, n, kind):
            return 1 if kind == "reorder" and self.asked() == 1 else 0

        def __init__(self):
            self.count = 0

        def asked(self):
            self.count += 1
            return self.count

    got = run(lambda: send_and_close(3), schedule=Second(), order="fifo", network=Network(reordering=0.5))

    assert [data for _, data in got] == [b"1", b"2", b"0"]


@pytest.mark.parametrize("probability", [0.5, 0.1, 0.25, 1 / 3, 0.9])
def test_probabilities_are_exact(probability):
    class Count:
        def __init__(self):
            self.asked = []

        def choose(self, n, kind):
            self.asked.append((n, kind))
            return len(self.asked) % n

    schedule = Count()
    got = run(lambda: send_and_close(240), schedule=schedule, order="fifo", network=Network(loss=probability))
    lost = 240 - len(got)

    assert {kind for _, kind in schedule.asked} == {"loss"}
    assert math.isclose(lost / 240, probability)


def test_each_fault_of_datagrams_happens_under_a_seed_and_is_told():
    network = Network(loss=0.2, duplication=0.2, reordering=0.2, latency=(0, 0.02))
    counts, texts = Counter(), []

    async def main():
        got = await send_and_close(20)
        counts[len(got)] += 1
        texts.extend(asyncio.get_running_loop().network.faults)

    for seed in range(10):
        run(main, seed, order="fifo", network=network)

    assert len(counts) > 3
    assert {fault.kind for fault in texts} == {"latency", "loss", "duplicate", "reorder"}
    assert any(fault.text.startswith("datagram localhost:") and fault.text.endswith(": lost") for fault in texts)


# --- streams ----------------------------------------------------------------------------------------------------------


async def pieces(data, writes=1):
    """Send data in equal writes, and return the pieces in which it comes in."""
    got = []

    class Keep(asyncio.Protocol):
        def data_received(self, data):
            got.append(data)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Keep, port=80)
    _, writer = await asyncio.open_connection("localhost", 80)
    size = len(data) // writes
    for i in range(writes):
        writer.write(data[i * size : (i + 1) * size])
        await asyncio.sleep(0.001)
    await settled()
    writer.close()
    server.close()
    await settled()
    return got


def test_fragmentation_cuts_and_loses_nothing():
    seen = set()
    for seed in range(30):
        got = run(lambda: pieces(b"0123456789"), seed, order="fifo", network=Network(fragmentation=0.5))

        assert b"".join(got) == b"0123456789"
        seen.add(tuple(map(len, got)))

    assert (10,) in seen
    assert len(seen) > 5


def test_certain_fragmentation_gives_single_bytes_at_the_end():
    got = run(lambda: pieces(b"0123"), schedule=Always(0), order="fifo", network=Network(fragmentation=1.0))

    assert got == [b"012", b"3"]


def test_coalescing_joins_writes():
    got = run(lambda: pieces(b"0123456789", writes=5), network=Network(coalescing=1.0))

    assert got == [b"01", b"23", b"45", b"67", b"89"]  # each as late as the one before
    seen = {
        tuple(run(lambda: pieces(b"0123456789", writes=5), seed, order="fifo", network=Network(coalescing=0.3)))
        for seed in range(10)
    }

    assert all(b"".join(each) == b"0123456789" for each in seen)
    assert any(len(piece) > 2 for each in seen for piece in each)


def test_resets_reach_both_ends():
    async def main():
        errors = []

        async def handler(reader, writer):
            try:
                await reader.read()
            except ConnectionError as exc:
                errors.append(type(exc))
            writer.close()

        server = await asyncio.start_server(handler, port=80)
        reader, writer = await asyncio.open_connection("localhost", 80)
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await settled()
        writer.close()
        server.close()
        return errors, [fault.text.partition(": ")[2] for fault in network().faults]

    assert run(main, network=Network(resets=1.0)) == ([ConnectionResetError], ["reset"])


def test_a_reset_on_demand():
    async def main():
        errors = []

        async def handler(reader, writer):
            try:
                await reader.read()
            except ConnectionError as exc:
                errors.append(type(exc))
            writer.close()

        with network().host("server"):
            server = await asyncio.start_server(handler, port=80)
        reader, writer = await asyncio.open_connection("server", 80)
        await settled()
        network().reset("localhost", "server")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await settled()
        writer.close()
        server.close()
        return errors

    assert run(main, network=Network(hosts=["server"])) == [ConnectionResetError]


# --- partitions -------------------------------------------------------------------------------------------------------


def test_a_connection_survives_a_partition():
    async def main():
        with network().host("server"):
            server = await asyncio.start_server(echo, port=80)
        reader, writer = await asyncio.open_connection("server", 80)
        network().partition("localhost", "server")
        writer.write(b"are you there?")
        answer = asyncio.ensure_future(reader.readexactly(14))
        await settled(60)
        silent = not answer.done()
        network().heal("localhost", "server")
        await answer
        writer.close()
        server.close()
        return silent, now()

    assert run(main, network=Network(hosts=["server"])) == (True, 60.0)


def test_what_waited_behind_a_partition_still_takes_the_latency():
    async def main():
        arrived = []

        async def serve(reader, writer):
            arrived.extend([await reader.readexactly(4), now()])
            writer.close()

        with network().host("server"):
            server = await asyncio.start_server(serve, port=80)
        _, writer = await asyncio.open_connection("server", 80)
        network().partition("localhost", "server")
        writer.write(b"late")
        await asyncio.sleep(60)
        network().heal("localhost", "server")
        healed = now()
        await asyncio.sleep(10)
        writer.close()
        server.close()
        return arrived[0], arrived[1] - healed

    assert run(main, network=Network(hosts=["server"], latency=0.25)) == (b"late", 0.25)


def test_a_one_way_partition_lets_the_other_way_through():
    async def main():
        got = []

        async def handler(reader, writer):
            got.append(await reader.read(10))
            writer.write(b"answer")
            await reader.read()
            writer.close()

        with network().host("server"):
            server = await asyncio.start_server(handler, port=80)
        reader, writer = await asyncio.open_connection("server", 80)
        network().partition("server", "localhost", one_way=True)
        writer.write(b"question")
        answer = asyncio.ensure_future(reader.readexactly(6))
        await settled(10)
        heard = list(got), answer.done()
        network().heal("server", "localhost", one_way=True)
        await answer
        writer.close()
        await settled()
        server.close()
        return heard

    assert run(main, network=Network(hosts=["server"])) == ([b"question"], False)


def test_a_sender_gives_up_in_a_long_partition():
    async def main():
        async def patient(reader, writer):
            # Nobody tells it that its peer has given up.
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 1500)
            writer.close()

        with network().host("server"):
            server = await asyncio.start_server(patient, port=80)
        reader, writer = await asyncio.open_connection("server", 80)
        network().partition("localhost", "server")
        writer.write(b"are you there?")
        with pytest.raises(TimeoutError):
            await reader.read()
        gave_up = now()
        writer.close()
        server.close()
        await settled()
        return gave_up

    assert run(main, network=Network(hosts=["server"])) == 924.6


def test_connecting_in_a_partition():
    async def main():
        with network().host("server"):
            server = await asyncio.start_server(echo, port=80)
        network().partition("localhost", "server")
        with pytest.raises(TimeoutError):
            await asyncio.open_connection("server", 80)
        timed_out = now()
        asyncio.get_running_loop().call_later(5, network().heal, "localhost", "server")
        _, writer = await asyncio.open_connection("server", 80)
        connected = now()
        writer.close()
        server.close()
        await settled()
        return timed_out, connected

    assert run(main, network=Network(hosts=["server"])) == (127.0, 132.0)


def test_datagrams_are_lost_in_a_partition():
    async def main():
        network().partition("localhost", "localhost")
        got = await send_and_close(2)
        return got, [fault[1:] for fault in network().faults]

    got, faults = run(main)

    assert got == []
    assert faults == [("partition", "datagram localhost:49152->localhost:53: lost")] * 2


# --- links and hosts --------------------------------------------------------------------------------------------------


def test_a_link_has_conditions_of_its_own():
    async def main():
        servers = []
        for name in ("near", "far"):
            with network().host(name):
                servers.append(await asyncio.start_server(echo, port=80))
        network().link("localhost", "far", latency=1.0)
        times = []
        for name in ("near", "far", "near"):
            start = now()
            await round_trip(name)
            times.append(round(now() - start, 6))
        network().link("localhost", "far", latency=0.0, one_way=True)
        start = now()
        await round_trip("far")
        times.append(round(now() - start, 6))
        await settled()
        for server in servers:
            server.close()
        return times

    assert run(main, network=Network(hosts=["near", "far"], latency=0.01)) == [0.04, 4.0, 0.04, 2.0]


def test_hosts_have_names_addresses_and_ports_of_their_own():
    async def main():
        names = []

        async def who(reader, writer):
            writer.write(network_name().encode())
            names.append(writer.get_extra_info("peername")[0])
            writer.close()

        def network_name():
            return asyncio.current_task().get_name() + " on " + socket_name()

        def socket_name():
            return next(host.name for host in hosts if host.address == here())

        def here():
            return asyncio.get_running_loop()._stack.fabric.here.addresses[socket.AF_INET]

        hosts = [network().host(name) for name in ("localhost", "a", "b")]
        servers = []
        for host in hosts[1:]:
            with host:
                servers.append(await asyncio.start_server(who, port=80))
        answers = []
        for name in ("a", "b", network().host("b").address):
            with hosts[1]:
                reader, writer = await asyncio.open_connection(name, 80)
            answers.append((await reader.read()).decode().rpartition(" ")[2])
            writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("localhost", 80)
        with hosts[2]:
            _, writer = await asyncio.open_connection("localhost", 80)
            writer.close()
        with pytest.raises(socket.gaierror, match="Name or service not known"):
            await asyncio.open_connection("c", 80)
        with pytest.raises(OSError, match="Network is unreachable"):
            await asyncio.open_connection("198.51.100.1", 80)
        await settled()
        for server in servers:
            server.close()
        return answers, [host.address for host in hosts], names

    answers, addresses, names = run(main, network=Network(hosts={"a": "192.0.2.7", "b": "192.0.2.8"}))

    assert answers == ["a", "b", "b"]
    assert addresses == ["10.0.0.1", "192.0.2.7", "192.0.2.8"]
    assert names[:3] == ["127.0.0.1", "192.0.2.7", "192.0.2.7"]


def test_a_set_of_hosts_is_taken_in_the_order_of_names():
    made = Network(hosts={"c", "a", "b"})

    assert repr(made) == "<Network localhost, a, b, c>"
    assert made.host("c").address == "10.0.0.4"


def test_a_task_inherits_its_host():
    async def main():
        async def start():
            return await asyncio.create_task(asyncio.start_server(echo, port=80))

        with network().add_host("server") as host:
            task = asyncio.create_task(start())
        assert host.name == "server"
        server = await task
        assert await round_trip("server") == b"x"
        server.close()
        await settled()

    run(main)


def test_names_and_addresses_are_looked_up():
    async def main():
        loop = asyncio.get_running_loop()
        info = await loop.getaddrinfo("db.internal", 5432, type=socket.SOCK_STREAM)
        back = await loop.getnameinfo(("192.0.2.1", 80), 0)
        unknown = await loop.getnameinfo(("198.51.100.1", 81), 0)
        assert await loop.getnameinfo(("127.0.0.1", 80), 0) == ("localhost", "http")
        return [entry[4][0] for entry in info], back, unknown

    assert run(main, network=Network(hosts={"db.internal": "192.0.2.1"})) == (
        ["192.0.2.1"],
        ("db.internal", "http"),
        ("198.51.100.1", "81"),
    )


# --- crash and restart ------------------------------------------------------------------------------------------------


def test_a_power_cut_stops_everything_where_it_is():
    async def main():
        seen = []

        async def worker():
            try:
                while True:
                    seen.append(now())
                    await asyncio.sleep(1)
            finally:
                seen.append("cleaned up")

        async def other():
            while True:
                await asyncio.sleep(0.1)

        loop = asyncio.get_running_loop()
        with network().add_host("node") as node:
            tasks = [asyncio.create_task(worker()), asyncio.create_task(other())]
            loop.call_later(5, seen.append, "timer")
        await asyncio.sleep(1.5)
        loop.call_soon(seen.append, "of another host")
        with node:
            loop.call_soon(seen.append, "of this host")
        node.crash()
        node.crash()
        await asyncio.sleep(100)
        cancelled = [task.cancelled() for task in tasks]
        return list(seen), cancelled, node.is_up

    assert run(main) == ([0.0, 1.0, "of another host"], [True, True], False)
    for order in ("io", "tasks"):
        for seed in range(5):
            seen, cancelled, _ = run(main, seed, order=order)

            assert "cleaned up" not in seen
            assert "timer" not in seen
            assert "of this host" not in seen
            assert cancelled == [True, True]


def test_who_waits_for_the_same_as_a_task_of_a_crashed_host_goes_on():
    async def main():
        loop = asyncio.get_running_loop()
        gate, seen = loop.create_future(), []

        async def wait(name):
            seen.append((name, await gate))

        first = asyncio.create_task(wait("first"))
        await asyncio.sleep(0)
        with network().add_host("node") as node:
            asyncio.create_task(wait("on the host"))
        last = asyncio.create_task(wait("last"))
        await asyncio.sleep(1)
        node.crash()
        gate.set_result("open")
        await asyncio.gather(first, last)
        return seen

    assert run(main) == [("first", "open"), ("last", "open")]


def test_a_connection_with_tls_is_gone_without_a_word_in_a_power_cut():
    async def main():
        lost = []

        class Talks(asyncio.Protocol):
            def connection_made(self, transport):
                transport.write(b"hello")

            def connection_lost(self, exc):
                lost.append(exc)

        loop = asyncio.get_running_loop()
        server_host = network().host("localhost2")
        with server_host:
            server = await loop.create_server(Talks, port=443, ssl=server_context())
        reader, writer = await asyncio.open_connection(
            "localhost2", 443, ssl=client_context(), server_hostname="localhost"
        )
        assert await reader.readexactly(5) == b"hello"
        server_host.crash()
        del server
        await asyncio.sleep(100)
        heard = not reader.at_eof()
        writer.transport.abort()
        return lost, heard

    assert run(main, network=Network(hosts=["localhost2"])) == ([], True)


def test_who_awaits_a_task_of_a_crashed_host_sees_it_cancelled():
    async def main():
        with network().add_host("node") as node:
            task = asyncio.create_task(asyncio.sleep(100))
        asyncio.get_running_loop().call_later(1, node.crash)
        with pytest.raises(asyncio.CancelledError):
            await task
        return now()

    assert run(main) == 1.0


def test_peers_of_a_crashed_host_hear_nothing_until_it_is_up_again():
    async def main():
        server_host = network().host("server")
        with server_host:
            await asyncio.start_server(echo, port=80)
        reader, writer = await asyncio.open_connection("server", 80)
        server_host.crash()
        reading = asyncio.ensure_future(reader.read())
        writer.write(b"hello?")
        await asyncio.sleep(100)
        silent = not reading.done()
        server_host.restart()
        with pytest.raises(ConnectionResetError):
            await reading
        reset = now()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("server", 80)
        with server_host:
            server = await asyncio.start_server(echo, port=80)
        assert await round_trip("server") == b"x"
        writer.close()
        server.close()
        await settled()
        return silent, reset

    assert run(main, network=Network(hosts=["server"])) == (True, 100.0)


def test_connecting_to_a_crashed_host_times_out_and_datagrams_are_lost():
    async def main():
        host = network().host("server")
        host.crash()
        with pytest.raises(TimeoutError):
            await asyncio.open_connection(host.address, 80)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(host.address, 53)
        )
        transport.sendto(b"x")
        transport.close()
        return now(), [fault.kind for fault in network().faults]

    assert run(main, network=Network(hosts=["server"])) == (127.0, ["crash", "crash"])


def test_what_was_sent_before_the_crash_still_comes_in():
    async def main():
        with network().host("server") as server_host:
            await asyncio.start_server(echo, port=80)
        reader, writer = await asyncio.open_connection("server", 80)
        writer.write(b"x")
        await asyncio.sleep(1.5)  # the answer is on its way
        server_host.crash()
        answer = await reader.readexactly(1)
        writer.transport.abort()
        return answer, now()

    assert run(main, network=Network(hosts=["server"], latency=1.0)) == (b"x", 4.0)


def test_a_host_that_is_down_runs_nothing():
    async def main():
        node = network().add_host("node")
        with node, pytest.raises(RuntimeError, match="host 'node' cannot be crashed by code that runs on it"):
            node.crash()
        node.crash()
        with pytest.raises(RuntimeError, match="host 'node' is down: restart"), node:
            pass
        node.restart()
        with node:
            await asyncio.sleep(0)

    run(main)


# --- one network and its loops ----------------------------------------------------------------------------------------


def test_a_network_starts_anew_with_each_loop():
    shared = Network(hosts=["a"], latency=(0, 0.1))
    shared.link("a", "localhost", loss=1.0)

    async def main():
        faults = len(network().faults)
        with network().host("a"):
            transport, there = await asyncio.get_running_loop().create_datagram_endpoint(
                Mailbox, local_addr=("0.0.0.0", 53)
            )
        client, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Mailbox, remote_addr=(network().host("a").address, 53)
        )
        client.sendto(b"x")
        await settled()
        lost = there.got == []
        network().link("a", "localhost", loss=0.0)
        network().add_host("b")
        network().partition("a", "b")
        client.close()
        transport.close()
        network().host("a").crash()
        return faults, lost, network() is shared

    for _ in range(3):
        assert run(main, network=shared) == (0, True, True)


def test_a_network_belongs_to_one_loop_at_a_time():
    shared = Network()
    loop = VirtualLoop(network=shared)
    with pytest.raises(ValueError, match=r"^network belongs to another loop"):
        VirtualLoop(network=shared)
    loop.close()
    VirtualLoop(network=shared).close()


def test_a_network_can_be_sent_to_another_process():
    shared = Network(hosts=["a"], latency=0.5)
    shared.partition("a", "localhost")
    shared.link("a", "localhost", latency=1.0)

    async def main():
        network().heal("a", "localhost")
        network().add_host("b")
        with network().host("a"):
            server = await asyncio.start_server(echo, port=80)
        await round_trip("a")
        server.close()
        return now()

    assert run(main, network=shared) == 4.0
    copy = pickle.loads(pickle.dumps(shared))  # noqa: S301  # our own

    assert repr(copy) == "<Network localhost, a>"
    assert run(main, network=copy) == 4.0

    async def partitioned():
        with pytest.raises(TimeoutError):
            await asyncio.open_connection("a", 80)

    run(partitioned, network=pickle.loads(pickle.dumps(copy)))  # noqa: S301  # our own


@pytest.mark.slow
def test_the_same_seed_is_the_same_network_in_every_process():
    code = """
import asyncio, sys
sys.path[:0] = ["tests", "tests/network"]
import test_faults as t
from virtualloop import Network

async def main():
    got = await t.send_and_close(20)
    server = await asyncio.start_server(t.echo, port=80)
    await asyncio.gather(*[t.round_trip(data=b"0123456789") for _ in range(10)])
    server.close()
    await t.settled()
    return got, asyncio.get_running_loop().network.faults

print(t.run(main, 7, order="tasks", network=Network(
    loss=0.2, duplication=0.3, reordering=0.2, latency=(0, 0.05), fragmentation=0.4, coalescing=0.2)))
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": s}
        ).stdout
        for s in ("1", "2", "3")
    }

    assert len(outputs) == 1
    assert b"fragment" in next(iter(outputs))


def test_a_recorded_network_is_replayed():
    async def main():
        got = await send_and_close(10)
        return got, network().faults

    def conditions():
        return Network(loss=0.3, latency=(0, 0.1), duplication=0.1)

    recording = Recording(Random(3))
    first = run(main, schedule=recording, order="io", network=conditions())

    assert {choice.kind for choice in recording.choices} >= {"loss", "latency", "duplicate"}
    assert run(main, schedule=Replay(recording.choices), order="io", network=conditions()) == first


def test_choices_of_the_network_do_not_shift_the_others():
    async def main(send):
        if send:
            await send_and_close(5)
        return [virtualloop.choose(range(100)) for _ in range(5)]

    for conditions in ({}, {"loss": 0.5}, {"latency": (0, 1)}):
        assert run(lambda: main(True), 7, order="fifo", network=Network(**conditions)) == run(lambda: main(False), 7)


def test_an_exploration_names_the_faults_that_matter():
    """Two requests whose replies change places, for one of many connections takes longer."""

    async def main():
        got = []

        async def ask(number, after):
            await asyncio.sleep(after)
            got.append(await round_trip(data=b"%d" % number))

        server = await asyncio.start_server(echo, "localhost", 80)
        await asyncio.gather(ask(1, 0), ask(2, 0.01), ask(3, 1))
        server.close()
        await settled()

        assert got == [b"1", b"2", b"3"]

    found = virtualloop.explore(main, network=Network(latency=(0.005, 0.02)), check=False).failure

    assert found.level == "fifo"
    late = [line for line in found.report.splitlines() if "ms late" in line and line.startswith("*")]
    assert len(late) == 1
    assert "network: localhost:49152->localhost:80: " in late[0]
    again = virtualloop.explore(main, network=Network(latency=(0.005, 0.02)), check=False, replay=found.token)
    assert again.failure is not None


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"latency": -1}, ValueError, "latency must be finite and not negative, got -1"),
        ({"latency": (2, 1)}, ValueError, "latency must be a number or a range"),
        ({"latency": "1"}, TypeError, "latency must be a number of seconds, not '1'"),
        ({"latency": (0, math.inf)}, ValueError, "latency must be finite"),
        ({"bandwidth": 0}, ValueError, "bandwidth must be above 0, got 0"),
        ({"bandwidth": math.nan}, ValueError, "bandwidth must be above 0, got nan"),
        ({"bandwidth": "1"}, TypeError, "bandwidth must be a number of bytes a second, not '1'"),
        ({"loss": 1.1}, ValueError, "loss must be between 0 and 1, got 1.1"),
        ({"loss": -0.1}, ValueError, "loss must be between 0 and 1"),
        ({"duplication": math.nan}, ValueError, "duplication must be between 0 and 1, got nan"),
        ({"reordering": None}, None, ""),
        ({"reordering": "often"}, TypeError, "reordering must be a probability, not 'often'"),
        ({"fragmentation": True}, TypeError, "fragmentation must be a probability, not True"),
        ({"coalescing": 2}, ValueError, "coalescing must be between 0 and 1"),
        ({"resets": -1}, ValueError, "resets must be between 0 and 1"),
        ({"connect_timeout": -1}, ValueError, "connect_timeout must be finite and not negative"),
        ({"hosts": "server"}, TypeError, "hosts must be several names"),
        ({"hosts": [1]}, TypeError, "the name of a host must be a string, not 1"),
        ({"hosts": ["a", "A"]}, ValueError, "the name of a host must be a new one and no address, got 'A'"),
        ({"hosts": ["127.0.0.1"]}, ValueError, "the name of a host must be a new one and no address"),
        ({"hosts": [""]}, ValueError, "the name of a host must be a new one and no address, got ''"),
        ({"hosts": {"a": "b"}}, ValueError, "the address of a host must be a new one, as in '192.0.2.1', got 'b'"),
        ({"hosts": {"a": "127.0.0.1"}}, ValueError, "the address of a host must be a new one"),
        ({"hosts": {"a": "192.0.2.1", "b": "192.0.2.1"}}, ValueError, "the address of a host must be a new one"),
        ({"hosts": {"a": 1}}, TypeError, "the address of a host must be a string, not 1"),
    ],
)
def test_bad_arguments_are_named(arguments, error, text):
    if error is None:
        Network(**arguments)
    else:
        with pytest.raises(error, match=f"^{text}"):
            Network(**arguments)


def test_unknown_hosts_are_named():
    made = Network(hosts=["a"])
    for call in (
        lambda: made.host("b"),
        lambda: made.link("a", "b", latency=1),
        lambda: made.partition("b", "a"),
        lambda: made.heal("a", "b"),
    ):
        with pytest.raises(ValueError, match=r"^no host has the name 'b': there are 'localhost', 'a'$"):
            call()
    with pytest.raises(ValueError, match=r"^loss must be between"):
        made.link("a", "localhost", loss=3)
    with pytest.raises(RuntimeError, match="belongs to no loop yet"):
        made.reset("a", "localhost")
    with pytest.raises(TypeError, match=r"^network must be a virtualloop.Network, not 'perfect'"):
        VirtualLoop(network="perfect")


def test_ports_out_of_range():
    async def main():
        with pytest.raises(OverflowError, match="port must be 0-65535"):
            await asyncio.open_connection("127.0.0.1", 70000)
        with pytest.raises(OverflowError, match="port must be 0-65535"):
            await asyncio.start_server(echo, "127.0.0.1", -1)

    run(main)


@pytest.mark.parametrize("accepted", [False, True])
def test_a_connection_that_is_reset_before_it_is_accepted(accepted):
    """As on Linux: it is accepted, and reading from it fails."""

    async def main():
        seen = []

        async def serve(reader, writer):
            try:
                await reader.read()
            except ConnectionResetError as exc:
                seen.append(exc)
            writer.close()

        server = await asyncio.start_server(serve, "localhost", 80)
        _, writer = await asyncio.open_connection("localhost", 80)
        if accepted:
            await settled()
        network().reset("localhost", "localhost")
        await settled()
        writer.close()
        server.close()
        return len(seen)

    assert run(main) == 1


def test_a_reset_at_any_moment_is_no_error_of_the_servers():
    async def main():
        async def serve(reader, writer):
            writer.close()

        server = await asyncio.start_server(serve, "localhost", 80)
        _, writer = await asyncio.open_connection("localhost", 80)
        network().reset("localhost", "localhost")
        await asyncio.sleep(1)
        writer.close()
        server.close()

    assert explore(main, runs=200).failure is None


@pytest.mark.parametrize("bandwidth", [5e-324, 1e-201])
def test_a_bandwidth_that_is_next_to_none_is_refused(bandwidth):
    with pytest.raises(ValueError, match="bandwidth must be at least 1e-200 bytes a second"):
        Network(bandwidth=bandwidth)


@pytest.mark.parametrize(
    "conditions",
    [{"latency": 1e300}, {"latency": 5e-324}, {"bandwidth": 1e-200}, {"bandwidth": 1e308}, {"bandwidth": 10**400}],
    ids=lambda conditions: "=".join(map(repr, next(iter(conditions.items()))))[:20],
)
def test_a_connection_under_conditions_as_odd_as_floats_can_be(conditions):
    async def main():
        server = await asyncio.start_server(echo, port=80)
        answer = await round_trip(data=bytes(1000))
        await virtualloop.run_until_idle()  # The server sees the end, too, however late that is.
        server.close()
        return answer

    assert helpers.run(main, network=Network(**conditions)) == bytes(1000)


def test_a_connection_is_asked_for_again_where_the_answer_was_cut_off():
    """The request has arrived; the way back is parted before the answer does."""

    async def main():
        loop = asyncio.get_running_loop()
        network = loop.network
        with network.host("server"):
            server = await asyncio.start_server(lambda reader, writer: writer.close(), port=80)
        loop.call_at(1.5, network.partition, "server", "localhost")
        loop.call_at(10, network.heal, "server", "localhost")
        reader, writer = await asyncio.open_connection("server", 80)
        at = loop.time()
        assert await reader.read() == b""
        writer.close()
        server.close()
        return at

    network = Network(hosts=["server"])
    network.link("localhost", "server", latency=1)
    assert run(main, network=network) == 12  # there and back, once they are together again


def test_a_connection_is_asked_for_until_the_way_is_free_and_that_is_one_fault():
    """The way there is cut off when the request would arrive, and again when it is repeated."""

    async def main():
        loop = asyncio.get_running_loop()
        network = loop.network
        with network.host("server"):
            server = await asyncio.start_server(lambda reader, writer: writer.close(), port=80)
        for at, change in ((0.5, "partition"), (10, "heal"), (10.5, "partition"), (20, "heal")):
            loop.call_at(at, getattr(network, change), "localhost", "server")
        reader, writer = await asyncio.open_connection("server", 80)
        at = loop.time()
        assert await reader.read() == b""
        writer.close()
        server.close()
        return at, [kind for _, kind, _ in network.faults]

    network = Network(hosts=["server"])
    network.link("localhost", "server", latency=1)
    at, faults = run(main, network=network)
    assert at == 22
    assert faults == ["partition"]


def test_a_connection_that_nobody_waits_for_any_more_does_not_time_out_as_well():
    async def main():
        network().partition("localhost", "server")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.open_connection("server", 80), 5)
        await settled()
        return [(kind, text) for _, kind, text in network().faults]

    (fault,) = run(main, network=Network(hosts=["server"]))
    assert fault[0] == "partition"


def test_a_server_that_closes_while_a_connection_is_on_its_way():
    """The connection is made when the answer arrives; nobody accepts it, and it is reset."""

    async def main():
        loop = asyncio.get_running_loop()
        with loop.network.host("server"):
            server = await asyncio.start_server(echo, port=80)
        loop.call_at(2.5, server.close)
        reader, writer = await asyncio.open_connection("server", 80)
        at = loop.time()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        return at, loop.time()

    network = Network(hosts=["server"])
    network.link("localhost", "server", latency=1)
    assert run(main, network=network) == (2, 4)


def test_what_is_on_its_way_when_a_connection_is_reset_is_lost():
    async def main():
        loop = asyncio.get_running_loop()
        got = []

        async def serve(reader, writer):
            try:
                got.append(await reader.readexactly(5))
                await reader.read()
            except ConnectionResetError:
                got.append("reset")
            writer.close()

        with loop.network.host("server"):
            server = await asyncio.start_server(serve, port=80)
        _, writer = await asyncio.open_connection("server", 80)
        writer.write(b"first")
        await asyncio.sleep(5)
        writer.write(b"second")
        await asyncio.sleep(0.5)
        loop.network.reset("localhost", "server")
        await settled()
        writer.close()
        server.close()
        return got

    network = Network(hosts=["server"])
    network.link("localhost", "server", latency=1)
    assert run(main, network=network) == [b"first", "reset"]


def test_what_a_socket_sent_before_it_was_closed_comes_in_after_a_partition():
    async def main():
        loop = asyncio.get_running_loop()
        got = []

        async def serve(reader, writer):
            got.append((await reader.read(), loop.time()))
            writer.close()

        with loop.network.host("server"):
            server = await asyncio.start_server(serve, port=80)
        _, writer = await asyncio.open_connection("server", 80)
        writer.write(b"farewell")
        writer.close()
        await asyncio.sleep(0.5)
        loop.network.partition("localhost", "server")
        await asyncio.sleep(7.5)
        loop.network.heal("localhost", "server")
        await settled()
        server.close()
        return got

    network = Network(hosts=["server"])
    network.link("localhost", "server", latency=1)
    assert run(main, network=network) == [(b"farewell", 11)]


def test_a_connection_that_is_reset_in_a_partition_does_not_time_out_as_well():
    async def main():
        loop = asyncio.get_running_loop()

        async def serve(reader, writer):
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

        with loop.network.host("server"):
            server = await asyncio.start_server(serve, port=80)
        reader, writer = await asyncio.open_connection("server", 80)
        loop.network.partition("localhost", "server")
        writer.write(b"are you there?")
        await asyncio.sleep(1)
        loop.network.reset("localhost", "server")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        at = loop.time()
        await settled()
        writer.close()
        server.close()
        return at, {(at, kind) for at, kind, _ in loop.network.faults}

    assert run(main, network=Network(hosts=["server"])) == (1, {(1, "reset")})


def test_a_host_is_added_before_there_is_a_loop():
    async def main():
        with network().host("db"):
            server = await asyncio.start_server(echo, port=5432)
        answer = await round_trip("db", 5432, b"rows")
        server.close()
        return answer

    with_one_more = Network()
    assert repr(with_one_more.add_host("db", "192.0.2.7")) == "<Host db 192.0.2.7>"
    assert run(main, network=with_one_more) == b"rows"


@pytest.mark.parametrize("given_up_at", [0.5, 1.5])
def test_a_connection_that_is_given_up_before_the_answer_is_none(given_up_at):
    async def main():
        loop = asyncio.get_running_loop()
        network = loop.network
        seen = []

        class Seen(asyncio.Protocol):
            def connection_made(self, transport):
                seen.append("made")

            def connection_lost(self, exc):
                seen.append("lost")

        with network.host("server"):
            server = await loop.create_server(Seen, port=80)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.open_connection("server", 80), given_up_at)
        await asyncio.sleep(100)
        server.close()
        return seen

    network = Network(hosts=["server"])
    network.link("localhost", "server", latency=1)
    assert run(main, network=network) == []
