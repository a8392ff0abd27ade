"""The private names of asyncio that an event loop cannot do without: all of them, each with its reason.

Nothing else in this package may touch an underscore of somebody else's; a test compares the code with this list.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import selector_events
from typing import Any

__all__ = ["ATTRIBUTES", "ThreadSafeHandle", "get_running_loop", "is_debug_mode", "logger", "set_running_loop"]

#: What call_soon_threadsafe() returns: since Python 3.14 a handle that may be cancelled from another thread.
ThreadSafeHandle: type[asyncio.Handle] = getattr(asyncio.events, "_ThreadSafeHandle", asyncio.Handle)


# asyncio documents these two as "for use by event loop implementations", and there is no other way to become the
# running loop, or to ask for it without an exception where there is none. Looked up at each call, since tests replace
# them.


def get_running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, or None."""
    return asyncio._get_running_loop()


def set_running_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Make `loop` the one that runs in this thread."""
    asyncio._set_running_loop(loop)


def logger() -> logging.Logger:
    """Return the logger that stock loops report to; looked up at each call, since tests replace it."""
    return asyncio.base_events.logger  # type: ignore[attr-defined,no-any-return]  # not in the stub


def is_debug_mode() -> bool:
    """Return whether the environment asks for debug mode; asyncio's own function, which its tests replace."""
    return asyncio.coroutines._is_debug_mode()  # type: ignore[attr-defined,no-any-return]  # not in the stub


#: The loop whose networking methods VirtualLoop has, too, and its transports.
StockLoop: Any = asyncio.SelectorEventLoop
StreamTransport: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]  # not in the stub
DatagramTransport: Any = selector_events._SelectorDatagramTransport  # type: ignore[attr-defined]  # not in the stub

#: The methods that VirtualLoop has from stock asyncio's selector loop, with sockets in memory below them: first those
#: that a program may give a socket of its own.
GIVEN_SOCKETS = (
    "connect_accepted_socket",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
)
#: And those that it may not, or that these need.
BORROWED = (
    "sendfile",
    "start_tls",
    "_accept_connection",
    "_accept_connection2",
    "_check_sendfile_params",
    "_connect_sock",
    "_create_connection_transport",
    "_create_server_getaddrinfo",
    "_ensure_fd_no_transport",
    "_ensure_resolved",
    "_make_datagram_transport",
    "_make_socket_transport",
    "_make_ssl_transport",
    "_sendfile_fallback",
    "_sendfile_native",
    "_sock_accept",
    "_sock_connect",
    "_sock_connect_cb",
    "_sock_read_done",
    "_sock_recv",
    "_sock_recv_into",
    "_sock_recvfrom",
    "_sock_recvfrom_into",
    "_sock_sendall",
    "_sock_sendfile_fallback",
    "_sock_sendto",
    "_sock_write_done",
    "_start_serving",
)

#: Attributes of asyncio's and threading's objects, and why each one is used.
ATTRIBUTES = {
    "_get_running_loop": "see above",
    "_set_running_loop": "see above",
    "_is_debug_mode": "see above",
    "_ThreadSafeHandle": "see above",
    "_SelectorSocketTransport": "see above",
    "_SelectorDatagramTransport": "see above",
    "_sock_fd": "these transports: what tells them apart, and the same in each run",
    "_sock": "these transports: the socket, taken from one whose host has lost its power",
    "_closing": "these transports: whether they were closed, as _sock",
    "_conn_lost": "these transports: how often they were written to since, as _sock",
    "_app_transport": "SSLProtocol: the transport that a program sees, as _sock",
    "_replace": "NamedTuple: documented, and private in name only",
    "_ensure_fd_no_transport": "one of BORROWED: refuses a socket that a transport uses",
    "_callback": "Handle: whoever runs a handle has to read what it holds; cancel() empties it",
    "_args": "Handle: as _callback",
    "_context": "Handle: as _callback",
    "_cancelled": "Handle: as _callback; read directly because the run loop reads it for each timer",
    "_loop": "Handle: a handle made without asyncio.Handle.__init__, which costs as much as the callback it holds",
    "_run": "Handle: runs a callback and reports what it raises, in debug mode",
    "_source_traceback": "Handle, Task: where it was created, in debug mode; loops trim their own frames from it",
    "_when": "TimerHandle: as _loop",
    "_scheduled": "TimerHandle: stock loops note there whether it is in their heap; this one who set it, for a trace",
    "_must_cancel": "Task: whether its next step throws CancelledError into it, for a trace",
    "_fut_waiter": "Task: what it awaits, for a trace",
    "_exception": "Future: what its exception() returns, without the mark that somebody has seen it",
    "_timer_handle_cancelled": "AbstractEventLoop: TimerHandle.cancel() calls it",
    "_scheduled_tasks": "asyncio.tasks: what asyncio.run() cancels, and in which order, before Python 3.14",
    "_all_tasks": "asyncio.tasks: the name of _scheduled_tasks in Python 3.11",
    "_log_destroy_pending": "Task: run_until_complete() owns the task it made, so its destruction is no accident",
    "_waiters": "threading.Condition: the one way to tell a thread that waits from one that was woken and has not run",
    "_count": "_thread: the number of threads, for the check before each jump of the clock that mostly finds none",
    "_getframe": "sys: documented, and the way to tell where the caller stands",
    "_log_traceback": "Task: whether nobody has retrieved its exception, for strict loops",
    "_children": "the future of gather(): what it waits for, for reports",
    "_tasks": "TaskGroup, asyncio's and anyio's: as _children",
    "_todo": "what as_completed() returns: as _children",
    "_unfinished_tasks": "Queue: how many items join() waits for, for reports",
    "_lock": "Condition: the lock that whoever enters it has to get, for reports",
    "_transport": "StreamReader: which connection it reads from, for reports",
    "_exit_callbacks": "AsyncExitStack: which locks were entered through it, for reports",
    "_current_frames": "sys: documented, and the only way to see what a thread does",
}
