"""Addresses that mean another one on each network interface, as "fe80::1%eth0", are what they are on stock asyncio."""

import asyncio
import errno
import socket

import pytest

from helpers import run
from virtualloop import Network, VirtualLoop

LOOPS = (asyncio.SelectorEventLoop, VirtualLoop)
#: What each machine has.
NAME, NUMBER = "lo", socket.if_nametoindex("lo")
NODE = "fe80::2"


def outcome(question):
    try:
        return question()
    except OSError as exc:
        return type(exc), exc.errno, str(exc)


def both(main):
    """Return what `main()` returns on either loop, which is the same."""
    seen = []
    for factory in LOOPS:
        with asyncio.Runner(loop_factory=factory) as runner:
            seen.append(runner.run(main()))
    assert seen[0] == seen[1]
    return seen[1]


async def answer(awaitable):
    try:
        return await awaitable
    except OSError as exc:
        return type(exc), exc.errno, str(exc)


HOSTS = [
    *(f"{address}%{zone}" for address in ("fe80::1", "::1", "ff02::1", "ff05::1") for zone in (NAME, NUMBER, "nope")),
    *(f"fe80::1%{zone}" for zone in ("", "0", "01", "99", "0x1", "-1", " 1", "4294967295", "4294967296", "lo%lo")),
    *(f"{address}%{NAME}" for address in ("ff01::1", "fec0::1", "2001:db8::1", "127.0.0.1", "::ffff:1.2.3.4")),
    "fe80::1",
    "::ffff:1.2.3.4%1",
]


def test_a_name_is_looked_up_with_its_scope():
    async def main():
        loop = asyncio.get_running_loop()
        return {
            host: await answer(loop.getaddrinfo(host, 80, type=socket.SOCK_STREAM, flags=flags))
            for host in HOSTS
            for flags in (0, socket.AI_CANONNAME)
        }

    found = both(main)
    assert found["fe80::1%lo"][0][4] == ("fe80::1", 80, 0, NUMBER)


def test_an_address_is_named_with_its_scope():
    asked = [
        *((address, 80, 0, scope) for address in ("fe80::1", "fd00::7", "ff02::1") for scope in (0, NUMBER, 99)),
        ("fe80::1%lo", 80),
        ("fe80::1%nope", 80),
        ("fe80::1%lo", 80, 0, 99),
    ]

    async def main():
        loop = asyncio.get_running_loop()
        return [await answer(loop.getnameinfo(each, socket.NI_NUMERICHOST)) for each in asked]

    assert both(main)[1] == ("fe80::1%lo", "http")


@pytest.mark.parametrize("host", ["fe80::1", "fe80::1%lo", "fe80::1%nope", "::1%lo", "::1%1", "::1"])
def test_an_address_is_bound_with_its_scope(host):
    async def main():
        loop = asyncio.get_running_loop()
        made = await answer(loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(host, 0)))
        if not isinstance(made[0], asyncio.BaseTransport):
            return made[:2], (await answer(asyncio.start_server(lambda r, w: w.close(), host, 0)))[0]
        name = made[0].get_extra_info("sockname")
        made[0].close()
        server = await asyncio.start_server(lambda r, w: w.close(), host, 0)
        seen = name[0], name[2:], server.sockets[0].getsockname()[2:]
        server.close()
        return seen

    both(main)


@pytest.mark.parametrize("address", [("fe80::1",), ("fe80::1%lo",), ("fe80::1%nope",), ("::1%lo",), ("::1", 0, 9)])
def test_an_address_is_connected_to_with_its_scope(address):
    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda r, w: w.close(), "::1", 0)
        port = server.sockets[0].getsockname()[1]
        with socket.socket(socket.AF_INET6) as sock:
            sock.setblocking(False)
            seen = await answer(loop.sock_connect(sock, (address[0], port, *address[1:])))
            if seen is None:
                seen = sock.getpeername()[2:], sock.getsockname()[2:]
        server.close()
        return seen

    both(main)


def on_a_link(main):
    """Run `main()` beside a host with an address of its link alone."""
    network = Network()
    network.add_host("node", NODE)
    network.add_host("client", "fe80::3")
    return run(lambda: main(network), network=network)


@pytest.mark.parametrize("zone", [NAME, NUMBER, 7])
def test_both_ends_of_a_connection_have_the_scope(zone):
    number = NUMBER if zone == NAME else zone
    accepted = []

    async def main(network):
        with network.host("node"):
            server = await asyncio.start_server(lambda r, w: accepted.append(w), f"{NODE}%{zone}", 80)
        with network.host("client"):
            _, writer = await asyncio.open_connection(f"{NODE}%{zone}", 80)
        await asyncio.sleep(0.1)
        names = [each.get_extra_info(name) for each in (writer, *accepted) for name in ("sockname", "peername")]
        names += [server.sockets[0].getsockname(), writer.get_extra_info("socket").getpeername()]
        for each in (writer, *accepted, server):
            each.close()
        return names

    mine, peer, there, theirs, bound, asked = on_a_link(main)
    assert mine == theirs == ("fe80::3", mine[1], 0, number)
    assert peer == there == bound == asked == (NODE, 80, 0, number)


def test_datagrams_say_at_which_interface_they_came():
    async def main(network):
        loop = asyncio.get_running_loop()
        got = asyncio.Queue()

        class Keep(asyncio.DatagramProtocol):
            def datagram_received(self, data, address):
                got.put_nowait((data, address))

        with network.host("node"):
            server, _ = await loop.create_datagram_endpoint(Keep, local_addr=(f"{NODE}%7", 9))
        with network.host("client"):
            client, _ = await loop.create_datagram_endpoint(Keep, local_addr=("fe80::3%7", 5))
        client.sendto(b"a", (NODE, 9, 0, 7))
        client.sendto(b"b", (NODE, 9))
        seen = [await got.get(), await got.get()]
        server.sendto(b"c", seen[0][1])
        seen.append(await got.get())
        client.close()
        server.close()
        return seen

    client, server = ("fe80::3", 5, 0, 7), (NODE, 9, 0, 7)
    assert on_a_link(main) == [(b"a", client), (b"b", client), (b"c", server)]


def test_without_an_interface_nobody_is_meant():
    async def main(network):
        with pytest.raises(OSError, match="Invalid argument") as caught:
            await asyncio.open_connection(NODE, 80)
        with network.host("node"), pytest.raises(OSError, match=r"(?i)invalid argument"):
            await asyncio.start_server(lambda r, w: w.close(), NODE, 80)
        return caught.value.errno

    assert on_a_link(main) == errno.EINVAL


def test_who_is_bound_to_an_interface_means_that_one():
    async def main(network):
        loop = asyncio.get_running_loop()
        errors = []

        class Keep(asyncio.DatagramProtocol):
            def error_received(self, exc):
                errors.append(exc.errno)

        with network.host("client"):
            client, _ = await loop.create_datagram_endpoint(Keep, local_addr=("fe80::3%7", 5))
        client.sendto(b"x", (NODE, 9, 0, 7))
        client.sendto(b"x", (NODE, 9, 0, 8))
        await asyncio.sleep(0.1)
        client.close()
        return errors

    assert on_a_link(main) == [errno.EINVAL]
