"""The hosts of the network as a test sees them.

Owns which host a piece of code runs on, and what a test does to a host. Tasks inherit their host from the task that
started them, as they do every context variable.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Self

from virtualloop.network._power import stop

if TYPE_CHECKING:
    from virtualloop.network import Network

__all__ = ["Host", "current_name", "name_in"]

# The host that the code in this context runs on, and the entry before it.
_current: ContextVar[tuple[Host, Any] | None] = ContextVar("virtualloop host", default=None)


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

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self.name = name

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"

    @property
    def address(self) -> str:
        """The address that others reach it at."""
        return next(iter(self._network._hosts[self.name].values()))

    @property
    def is_up(self) -> bool:
        """Whether it runs; see `crash`."""
        return self._network._live().machines[self.name].is_up

    def crash(self) -> None:
        """Cut the power: nothing of this host runs any more, not even a `finally`, and nobody is told.

        Its tasks are cancelled for whoever awaits them from elsewhere. What it had sent still comes in; its peers hear
        nothing more, as over a network: what they send is not acknowledged, until they give up after a quarter of an
        hour, or until the host is up again and knows nothing of them. What its tasks hold is given up, and their
        `finally` blocks run, when the loop is closed.

        Raises RuntimeError if the code that calls it runs on this host.
        """
        medium = self._network._live()
        if medium.here.name == self.name:
            raise RuntimeError(f"host {self.name!r} cannot be crashed by code that runs on it: call crash() elsewhere")
        machine = medium.machines[self.name]
        if machine.is_up:
            machine.cut_power(stop(medium, machine, self._holds))

    def restart(self) -> None:
        """Switch the power on again: nothing runs, no port is taken, and the connections of before are unknown."""
        medium = self._network._live()
        medium.machines[self.name].is_up = True
        medium.refresh()

    def __enter__(self) -> Self:
        if self._network._medium is not None and not self.is_up:
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


def current_name(network: Network) -> str | None:
    """Return the name of the host, of this network, that the code which asks runs on, or None."""
    entry = _current.get()
    return None if entry is None or entry[0]._network is not network else entry[0].name
