"""asyncio's own networking methods over sockets in memory: what stock leaves to the order of hashes is pinned down."""

import asyncio

from helpers import run


def test_a_server_has_its_hosts_in_the_order_they_were_given():
    """Stock asyncio goes through a set of addresses, whose order is that of the hashes of strings."""
    hosts = [f"127.0.{i}.{j}" for i in (7, 0, 3) for j in (9, 4, 250, 1)]

    async def main():
        async with await asyncio.start_server(lambda reader, writer: None, hosts, 80) as server:
            return [sock.getsockname()[0] for sock in server.sockets]

    assert run(main) == hosts
