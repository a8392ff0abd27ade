"""The methods of an event loop that reach out: connections, names, readers and writers, pipes, child processes.

Owns what stands below stock asyncio's own methods and transports: a socket in memory or a real descriptor, and who is
told when it can be read or written. Knows nothing of time and order.

A socket that is handed in to a connection, or to a `sock_*` method, stands for one in memory from then on. One that the
program watches itself, by add_reader() or add_writer(), stays real, and so does the other end of its connection.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import stat
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVarTuple

from virtualloop._loop.explaining import NOBODY_THERE, in_words, nobody_there, unknown_name
from virtualloop._stock.handles import make_handle
from virtualloop._stock.sockets import borrow
from virtualloop._world.descriptors import READ, WRITE, Descriptors, number_of

if TYPE_CHECKING:
    from virtualloop._core.clock import Clock
    from virtualloop._core.scheduler import Scheduler
    from virtualloop._world.conversations import Conversation, Conversations
    from virtualloop._world.processes import Processes
    from virtualloop.network import Network
    from virtualloop.network._driver import Driver
    from virtualloop.network._outside import Addresses
    from virtualloop.network._stack import Stack

__all__ = ["Networking"]

_Ts = TypeVarTuple("_Ts")

#: Sockets in memory have numbers from here on. No descriptor is as high, so nobody can take one for the other.
IN_MEMORY = 2**30


def _make_socket(loop: Any, family: int = -1, type: int = -1, proto: int = -1) -> Any:  # noqa: A002  # its name there
    return loop._stack.make_socket(family, type, proto)


class _Transports(weakref.WeakValueDictionary[int, Any]):
    """Transports by the number of what they are over, as stock loops keep them."""

    def get(self, key: int, default: Any = None) -> Any:
        """Return the transport over a number. Mostly there is none, which costs no exception here."""
        reference = self.data.get(key)  # type: ignore[attr-defined]  # not in the stub
        found = None if reference is None else reference()
        return default if found is None else found


@borrow(_make_socket)
class Networking(asyncio.AbstractEventLoop):
    """The methods of an event loop that reach out: networking, pipes, processes, readers and writers."""

    # The network, made when it is first asked for, and its sockets.
    _network: Network | None = None
    _sockets: Stack
    #: Its sockets by their numbers.
    _in_memory: Mapping[int, Any] = {}  # nobody changes this one
    # The real descriptors that are watched, and the child processes, if there ever were any.
    _watched: Descriptors | None = None
    _is_looking = _has_looked = False
    _processes: Processes | None = None
    # The conversations with what is real by name; those of sockets that the program waits for itself, by descriptor.
    _conversations: Conversations | None = None
    _thread_patience: float
    _debug: bool | None
    # The loop's own: whether it is closed, its clock, and where callbacks are queued.
    _closed: bool
    _clock: Clock
    _ready: Any

    if TYPE_CHECKING:
        # What is set below. Any: their signatures differ between Python versions.
        connect_accepted_socket: Any
        connect_read_pipe: Any
        connect_write_pipe: Any
        create_connection: Any
        create_datagram_endpoint: Any
        create_server: Any
        create_unix_connection: Any
        create_unix_server: Any
        sendfile: Any
        sock_accept: Any
        sock_connect: Any
        sock_recv: Any
        sock_recv_into: Any
        sock_recvfrom: Any
        sock_recvfrom_into: Any
        sock_sendall: Any
        sock_sendfile: Any
        sock_sendto: Any
        start_tls: Any
        subprocess_exec: Any
        subprocess_shell: Any
        _ensure_fd_no_transport: Any

    def _check_closed(self) -> None:
        """Raise RuntimeError if the loop is closed."""
        raise NotImplementedError

    @property
    def network(self) -> Network:
        """The network in memory that this loop's connections go through."""
        if self._network is None:
            from virtualloop.network import Network  # only a loop that needs it pays for it

            self._join_network(Network())
        assert self._network is not None
        return self._network

    def _join_network(self, network: Network) -> None:
        from virtualloop.network import Network  # as above

        if not isinstance(network, Network):
            raise TypeError(f"network must be a virtualloop.Network, not {network!r}")
        from virtualloop.network._network import carry  # as above

        self._sockets = carry(network, self._driver())
        self._sockets.watched_descriptors = self._watched_descriptors
        self._in_memory = self._sockets.fabric.sockets
        self._network = network

    def _driver(self) -> Driver:
        """Return what carries a network on this loop."""
        raise NotImplementedError

    # --- names --------------------------------------------------------------------------------------------------------

    async def _sock_sendfile_native(self, sock: Any, file: Any, offset: int, count: int | None) -> int:
        # There is no file descriptor to send to, so the file is read and sent, as stock asyncio does where it has to.
        raise asyncio.SendfileNotAvailableError(f"a socket in memory, {sock!r}, takes no file")

    async def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002  # its name in asyncio
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Look up a name among the hosts of the network; an answer is an event from outside."""
        if self._stack.outside.names(host, port):
            return socket.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
        question = self._stack.look_up(host, port, family=family, kind=type, proto=proto, flags=flags)
        try:
            return await self._stack.answer(question, self.create_future())
        except socket.gaierror as exc:
            if exc.errno == socket.EAI_NONAME:
                exc.add_note(unknown_name(host, self._stack.fabric.kernels))
            raise

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        """Look up an address among the hosts of the network."""
        return await self._stack.answer(self._stack.name_of(sockaddr, flags), self.create_future())

    # --- what the borrowed methods ask of the loop --------------------------------------------------------------------

    @property
    def _stack(self) -> Stack:
        if self._network is None:
            self.network  # noqa: B018  # it is made when it is asked for
        return self._sockets

    @functools.cached_property
    def _transports(self) -> _Transports:
        return _Transports()

    @functools.cached_property
    def _unix_server_sockets(self) -> dict[Any, int]:
        """The files of unix servers, by socket, as stock loops keep them."""
        return {}

    @functools.cached_property
    def _followed(self) -> dict[int, Conversation]:
        return {}

    @property
    def _selector(self) -> _Selector | None:
        return None if self.is_closed() else _Selector(self)

    def _add_reader(self, fd: Any, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = self._watcher(callback, args, context)
        if _is_real(fd):
            self._watch_real(fd, READ, handle)
        else:
            self._in_memory[fd].reader.set(handle)
        return handle

    def _add_writer(self, fd: Any, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = self._watcher(callback, args, context)
        if _is_real(fd):
            self._watch_real(fd, WRITE, handle)
        else:
            self._in_memory[fd].writer.set(handle)
        return handle

    def _watcher(self, callback: Any, args: tuple[Any, ...], context: Context | None) -> asyncio.Handle:
        if self._debug or self._closed:
            self._check_closed()
            return asyncio.Handle(callback, args, self, context)
        return make_handle(self, callback, args, copy_context() if context is None else context)

    def _remove_reader(self, fd: Any) -> bool:
        if _is_real(fd):
            return self._unwatch_real(fd, READ)
        sock = self._in_memory.get(fd)
        return sock is not None and sock.reading is not None and sock.reading.unset()

    def _remove_writer(self, fd: Any) -> bool:
        if _is_real(fd):
            return self._unwatch_real(fd, WRITE)
        sock = self._in_memory.get(fd)
        return sock is not None and sock.writing is not None and sock.writing.unset()

    def _stop_serving(self, sock: Any) -> None:
        # Servers of Python 3.13 and later take the files of their sockets with them.
        path = sock.getsockname() if sock in self._unix_server_sockets else None
        self._remove_reader(sock.fileno())
        sock.close()
        if path is not None:
            self._stack.fabric.paths.remove_file(path, self._unix_server_sockets.pop(sock))

    def _silence(self, number: int) -> None:
        """Have the transport over a socket do nothing any more, and say nothing when it is collected."""
        transport = self._transports.get(number)
        if transport is None or transport._sock is None:
            return
        transport._closing = True
        transport._conn_lost += 1
        transport._sock = None
        tls = getattr(transport.get_protocol(), "_app_transport", None)
        if tls is not None:
            tls._closed = True

    # --- real descriptors ---------------------------------------------------------------------------------------------

    @property
    def _descriptors(self) -> Descriptors:
        if self._watched is None:
            self._watched = Descriptors(self._queue_handle, patience=self._thread_patience, clock=self._clock)
        return self._watched

    def _queue_handle(self, handle: asyncio.Handle) -> None:
        """Put a handle into the queue."""
        self._ready.append(handle)

    def _scheduling(self) -> Scheduler:
        """Return what runs the loop."""
        raise NotImplementedError

    def _note_outside(self) -> None:
        """Something real is watched or awaited, for the first time."""

    def _look_again(self) -> None:
        """Something real is watched or awaited, or is not any more."""
        descriptors = self._descriptors
        if not self._has_looked:
            self._has_looked = True
            self._note_outside()
        if bool(descriptors) is not self._is_looking:
            self._is_looking = bool(descriptors)
            scheduler = self._scheduling()
            (scheduler.add_source if descriptors else scheduler.remove_source)(descriptors)

    def _watch_real(
        self, fd: int, direction: int, handle: asyncio.Handle, *, follow: bool = False, fileobj: object = None
    ) -> None:
        descriptors = self._descriptors
        descriptors.watch(fd, direction, handle, fileobj)
        if follow and self._network is not None and self._stack.outside:
            self._follow(fd)
        self._look_again()

    def _unwatch_real(self, fd: int, direction: int) -> bool:
        descriptors = self._watched
        if descriptors is None or not descriptors.unwatch(fd, direction):
            return False
        if fd in self._followed and not descriptors.watches(fd):
            del descriptors.hears[fd]
            self._followed.pop(fd).closed()
        self._look_again()
        return True

    def _watched_descriptors(self) -> list[int]:
        return [] if self._watched is None else self._watched.known()

    def add_reader(self, fd: Any, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Run `callback(*args)` whenever a descriptor can be read: a socket of the network, or a real one.

        A real one is looked at in each turn, without waiting. Raises ValueError for what is no descriptor, OSError for
        one that cannot be waited for, and RuntimeError for one that a transport uses.
        """
        number = self._number_of(fd)
        self._ensure_fd_no_transport(number)
        self._add_watcher(number, READ, callback, args, fd)

    def remove_reader(self, fd: Any) -> bool:
        """Undo `add_reader`; return whether there was anything to undo."""
        number = self._watched_number_of(fd)
        self._ensure_fd_no_transport(number)
        return self._remove_reader(number)

    def add_writer(self, fd: Any, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Run `callback(*args)` whenever a descriptor can be written; all else is as with `add_reader`."""
        number = self._number_of(fd)
        self._ensure_fd_no_transport(number)
        self._add_watcher(number, WRITE, callback, args, fd)

    def remove_writer(self, fd: Any) -> bool:
        """Undo `add_writer`; return whether there was anything to undo."""
        number = self._watched_number_of(fd)
        self._ensure_fd_no_transport(number)
        return self._remove_writer(number)

    def _add_watcher(self, number: int, direction: int, callback: Any, args: tuple[Any, ...], fd: Any) -> None:
        if _is_real(number):
            self._watch_real(number, direction, self._watcher(callback, args, None), follow=True, fileobj=fd)
        else:
            (self._add_reader if direction == READ else self._add_writer)(number, callback, *args)

    def _number_of(self, fd: Any) -> int:
        """Return the number of what is to be watched; the other end of a pair in memory is in memory as well."""
        if self._network is not None and isinstance(fd, socket.socket) and self._stack.is_twin(fd):
            self._stack.adopt(fd)
        return number_of(fd)

    def _watched_number_of(self, fd: Any) -> int:
        """Return the number of what is watched, which may be closed by now."""
        if type(fd) is int and fd >= IN_MEMORY:
            return fd
        try:
            return number_of(fd)
        except ValueError:
            number = None if self._watched is None else self._watched.was_of(fd)
            if number is None:
                raise
            return number

    # --- what is real by name -----------------------------------------------------------------------------------------

    def _hand_in(self, sock: socket.socket, address: Any) -> None:
        """A socket is handed in, to be connected to `address` if that is given."""
        stack = self._stack
        if self._watched is None and stack.is_inside(sock):
            return
        from virtualloop._world.conversations import Nobody

        if stack.is_outside(sock, address):
            stack.make_real(sock, lambda: self._conversation(in_words(address)))
        elif self._meets_listener(sock, address):
            stack.make_real(sock, Nobody)
        else:
            stack.adopt(sock)

    def _meets_listener(self, sock: socket.socket, address: Any) -> bool:
        """Return whether a stream is to be connected to a real socket that the program watches."""
        if address is None or self._watched is None or sock.type != socket.SOCK_STREAM:
            return False
        return _listens_at(address, self._watched.known())

    def _explain(self, exc: OSError, address: Any) -> None:
        """Say of a connection that was not made that it was one in memory, and what is real there."""
        if exc.errno in NOBODY_THERE and not self._stack.outside.has(address):
            is_served = isinstance(address, tuple) and len(address) > 1 and self._stack.is_served(address[1])
            exc.add_note(nobody_there(in_words(address), is_served=is_served))

    def _conversation(self, name: str) -> Conversation:
        """Return the account of a conversation with the outside that begins."""
        descriptors = self._descriptors
        if self._conversations is None:
            from virtualloop._world.conversations import Conversations

            self._conversations = Conversations(patience=self._thread_patience)
        if not self._conversations:
            descriptors.add_holder(self._conversations)
        conversation = self._conversations.begin(name, self._conversation_ended)
        self._look_again()
        return conversation

    def _conversation_ended(self) -> None:
        descriptors, conversations = self._watched, self._conversations
        if descriptors is not None and conversations is not None and not conversations:
            descriptors.remove_holder(conversations)
            self._look_again()

    def _follow(self, fd: int) -> None:
        """The program waits for a socket of its own, as drivers in C do: if it leads outside, the clock stands."""
        descriptors = self._descriptors
        conversation = self._followed.get(fd)
        if conversation is None:
            name = _leads_to(fd, self._stack.outside)
            if name is None:
                return
            conversation = self._followed[fd] = self._conversation(name)
            descriptors.hears[fd] = conversation.heard
        conversation.asked()

    # --- child processes ----------------------------------------------------------------------------------------------

    async def _make_subprocess_transport(
        self, protocol: Any, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int,
        extra: Any = None, **kwargs: Any
    ) -> Any:  # fmt: skip
        """Do what stock asyncio does, where the loop itself sees that a child has ended."""
        from virtualloop._stock.processes import TransportedChild, asking
        from virtualloop._world.polls import is_running
        from virtualloop._world.processes import Processes

        waiter = self.create_future()
        transport = asking(is_running)(
            self, protocol, args, shell, stdin, stdout, stderr, bufsize, waiter=waiter, extra=extra, **kwargs
        )
        descriptors = self._descriptors
        if self._processes is None:
            self._processes = Processes(
                patience=self._thread_patience, moved=descriptors.take_moved, emptied=self._processes_gone
            )
            descriptors.loops_children = self._processes.known
        if not self._processes:
            descriptors.add_holder(self._processes)
        self._processes.add(TransportedChild(transport, self._process_ended))
        self._look_again()
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        return transport

    def _process_ended(self, transport: Any, reap: Callable[[], int]) -> None:
        # In one step, or a signal in between might go to another process that has got its number.
        self.call_soon(lambda: transport._process_exited(reap()))

    def _processes_gone(self) -> None:
        if self._watched is not None and self._processes is not None:
            self._watched.remove_holder(self._processes)
            self._look_again()


def _leads_to(fd: int, outside: Addresses) -> str | None:
    """Return the address that a socket of the program's is connected to, if that is real by name.

    One that is about to be connected leads there as well, as far as anybody can see.
    """
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return None
    sock = socket.socket(fileno=fd)
    try:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        try:
            peer = sock.getpeername()
        except OSError:
            return "the server that it connects to"
        return in_words(peer) if outside.has(peer) else None
    finally:
        sock.detach()


def _listens_at(address: Any, descriptors: Iterable[int]) -> bool:
    """Return whether one of these descriptors is that of a real socket that listens at an address."""
    for fd in descriptors:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            sock = socket.socket(fileno=fd)
            try:
                if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    continue
                name = sock.getsockname()
                if name == address or (isinstance(name, tuple) and name[1:2] == address[1:2]):
                    return True
            finally:
                sock.detach()
    return False


class _Selector:
    """What stands for a selector where asyncio's own objects ask one."""

    def __init__(self, loop: Networking) -> None:
        self._loop = loop

    def get_key(self, fd: int) -> Any:
        """Return what is waited for at a descriptor or a socket, as selectors do."""
        return (self._loop._descriptors if _is_real(fd) else self._loop._stack).get_key(fd)


def _is_real(fd: int) -> bool:
    """Return whether a number is that of a real descriptor, and not of a socket in memory."""
    return fd < IN_MEMORY
