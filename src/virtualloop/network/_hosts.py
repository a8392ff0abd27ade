"""The hosts of the network as a test sees them.

Owns which host a piece of code runs on, and what a test does to a host. Tasks inherit their host from the task that
started them, as they do every context variable.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import Any, Protocol, Self

from virtualloop.network._fabric import Fabric

__all__ = ["Host", "current_name", "name_in"]

# The host that the code in this context runs on, and the entry before it.
_current: ContextVar[tuple[Host, Any] | None] = ContextVar("virtualloop host", default=None)


class Hosted(Protocol):
    """What a host asks of its network."""

    @property
    def _fabric(self) -> Fabric | None:
        """The fabric, or None before there is one."""
        ...

    def _live(self) -> Fabric:
        """Return the fabric. Raises RuntimeError before there is one."""
        ...

    def _addresses_of(self, name: str) -> dict[int, str]:
        """Return the addresses of a host."""
        ...


class Host:
    """A machine of the network. Within `with host:`, code runs on it, and so do the tasks that it starts.

    Example:

        async def main():
            with asyncio.get_running_loop().network.host("server"):
                server = await asyncio.start_server(lambda reader, writer: writer.close(), port=80)
            reader, writer = await asyncio.open_connection("server", 80)
            assert await reader.read() == b""
            writer.close()
            server.close()

        network = virtualloop.Network(hosts=["server"])
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(network=network)) as runner:
            runner.run(main())
    """

    def __init__(self, network: Hosted, name: str) -> None:
        self._network = network
        self.name = name

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"

    @property
    def address(self) -> str:
        """The address that others reach it at."""
        return next(iter(self._network._addresses_of(self.name).values()))

    @property
    def is_up(self) -> bool:
        """Whether it runs; see `crash`."""
        return self._network._live().kernels[self.name].is_up

    def crash(self) -> None:
        """Cut the power: nothing of this host runs any more, not even a `finally`, and nobody is told.

        Its tasks are cancelled for whoever awaits them from elsewhere. What it had sent still arrives; its peers hear
        nothing more, as over a network: what they send is not acknowledged, until they give up after a quarter of an
        hour, or until the host is up again and knows nothing of them. What its tasks hold is given up, and their
        `finally` blocks run, when the loop is closed.

        Raises RuntimeError if the code that calls it runs on this host.
        """
        fabric = self._network._live()
        if fabric.here.name == self.name:
            raise RuntimeError(f"host {self.name!r} cannot be crashed by code that runs on it: call crash() elsewhere")
        kernel = fabric.kernels[self.name]
        if kernel.is_up:
            fabric.incident(f"host {self.name} crashes")
            fabric.crash(kernel, self._holds)

    def restart(self) -> None:
        """Switch the power on again: nothing runs, no port is taken, and the connections of before are unknown."""
        fabric = self._network._live()
        fabric.incident(f"host {self.name} restarts")
        fabric.restart(fabric.kernels[self.name])

    def __enter__(self) -> Self:
        if self._network._fabric is not None and not self.is_up:
            raise RuntimeError(f"host {self.name!r} is down: restart() it first")
        _current.set((self, _current.get()))
        return self

    def __exit__(self, *args: object) -> None:
        entry = _current.get()
        _current.set(None if entry is None else entry[1])

    def _holds(self, context: Context) -> bool:
        """Return whether code in this context runs on this host."""
        entry = context.get(_current)
        if entry is None or entry[0]._network is not self._network:
            return self.name == "localhost"
        return entry[0].name == self.name


def name_in(context: Any) -> str | None:
    """Return the name of the host of a context, or None for the one without."""
    entry = context.get(_current)
    return None if entry is None else entry[0].name


def current_name(network: Hosted) -> str | None:
    """Return the name of the host, of this network, that the code which asks runs on, or None."""
    entry = _current.get()
    return None if entry is None or entry[0]._network is not network else entry[0].name
