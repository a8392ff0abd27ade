"""The private names of asyncio that an event loop cannot do without: all of them, each with its reason.

Nothing else in this package may touch an underscore of somebody else's; a test compares the code with this list, by
owner and by name.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio import selector_events
from typing import Any, NamedTuple

__all__ = ["ATTRIBUTES", "Owner", "ThreadSafeHandle", "get_running_loop", "is_debug_mode", "logger", "set_running_loop"]

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


_is_debug_mode: Any = asyncio.coroutines._is_debug_mode  # type: ignore[attr-defined]  # not in the stub
_asks = os.environ.encodekey("PYTHONASYNCIODEBUG")
_by_itself = sys.flags.dev_mode


def is_debug_mode() -> bool:
    """Return whether the environment asks for debug mode; asyncio's own function, which its tests replace.

    A mapping of the environment takes long to say that it has not got something.
    """
    asked = asyncio.coroutines._is_debug_mode  # type: ignore[attr-defined]  # not in the stub
    if asked is _is_debug_mode and not _by_itself and _asks not in getattr(os.environ, "_data", (_asks,)):
        return False
    return asked()  # type: ignore[no-any-return]  # as above


#: The code of a stock loop's turn: in its frame such a loop waits for what comes next.
RUN_ONCE = asyncio.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]  # not in the stub

#: The callback by which a loop ends with the future that it runs for: libraries know the main task by it (anyio does).
stop_loop_of: Any = asyncio.base_events._run_until_complete_cb  # type: ignore[attr-defined]  # as above

#: The loop whose networking methods VirtualLoop has, too, and its transports.
StockLoop: Any = asyncio.SelectorEventLoop
StreamTransport: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]  # not in the stub
#: Where there are no such processes, there is no such transport.
unix_events: Any = getattr(asyncio, "unix_events", None)
SubprocessTransport: Any = getattr(unix_events, "_UnixSubprocessTransport", None)
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
    "connect_read_pipe",
    "connect_write_pipe",
    "sendfile",
    "start_tls",
    "subprocess_exec",
    "subprocess_shell",
    "_accept_connection",
    "_accept_connection2",
    "_check_sendfile_params",
    "_connect_sock",
    "_create_connection_transport",
    "_create_server_getaddrinfo",
    "_ensure_fd_no_transport",
    "_ensure_resolved",
    "_log_subprocess",
    "_make_datagram_transport",
    "_make_read_pipe_transport",
    "_make_socket_transport",
    "_make_ssl_transport",
    "_make_write_pipe_transport",
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


class Owner(NamedTuple):
    """Somebody else's kind of object, and what is used of it that is private."""

    #: What such an object is called where its attributes are used; nothing of ours that has private attributes is.
    called: frozenset[str]
    #: The attributes, and why each one is used.
    attributes: dict[str, str]


def _owner(*called: str, **attributes: str) -> Owner:
    return Owner(frozenset(called), attributes)


#: Whose private attributes are used, which, and why. A test holds the code to it: each is used of what is called as its
#: owner is here, and of nothing else.
ATTRIBUTES = {
    "asyncio": _owner(
        "asyncio",
        "base_events",
        "events",
        "coroutines",
        "selector_events",
        "unix_events",
        _get_running_loop="see above",
        _set_running_loop="see above",
        _is_debug_mode="see above",
        _run_until_complete_cb="see above",
        _ThreadSafeHandle="see above",
        _SelectorSocketTransport="see above",
        _SelectorDatagramTransport="see above",
        _UnixSubprocessTransport="see above",
    ),
    "BaseEventLoop": _owner("BaseEventLoop", _run_once="see above"),
    "asyncio.tasks": _owner(
        "tasks",
        _scheduled_tasks="whether there is any task that asyncio.run() may have to cancel, before Python 3.14",
        _all_tasks="the name of _scheduled_tasks in Python 3.11",
    ),
    "SelectorEventLoop": _owner(
        "self", _ensure_fd_no_transport="one of BORROWED: refuses a socket that a transport uses"
    ),
    "TestCase": _owner(
        "case",
        _cleanups="doCleanups() of an async test case wants a loop of its own",
        _asyncioRunner="IsolatedAsyncioTestCase.__del__() closes it",
        _outcome="a test case that has none raises what fails in a subTest()",
    ),
    "AbstractEventLoop": _owner("_loop", _timer_handle_cancelled="TimerHandle.cancel() calls it"),
    "Handle, TimerHandle": _owner(
        "handle",
        "timer",
        "entry",  # of a queue: a handle, where it is no tuple
        "_args",  # of a handle: one of them
        "current",
        "event",
        "owner",
        "watcher",
        _callback="whoever runs a handle has to read what it holds; cancel() empties it",
        _args="as _callback",
        _context="as _callback",
        _cancelled="as _callback; read directly because the run loop reads it for each timer",
        _loop="a handle made without asyncio.Handle.__init__, which costs as much as the callback it holds",
        _run="runs a callback and reports what it raises, in debug mode",
        _source_traceback="where it was created, in debug mode; loops trim their own frames from it",
        _when="as _loop",
        _waker="ours: which step has queued it, for a trace",
        _scheduled="stock loops note there whether it is in their heap; this one who set it, for a trace",
    ),
    "Future, Task": _owner(
        "future",
        "task",
        "thing",  # either, or a handle
        "awaited",
        "member",  # of a set
        _source_traceback="where it was created, in debug mode; loops trim their own frames from it",
        _must_cancel="whether its next step throws CancelledError into it, for a trace",
        _fut_waiter="what it awaits, for a trace",
        _exception="what its exception() returns, without the mark that somebody has seen it",
        _callbacks="who goes on when it is done: what a host that has lost its power waited for, see network._crash",
        _log_destroy_pending="run_until_complete() owns the task it made, so its destruction is no accident",
        _log_traceback="whether nobody has retrieved its exception, for strict loops",
        _children="of gather(): what it waits for, for reports",
        _virtualloop_number="ours, put there: what its place is in a set",
        _virtualloop_rest="ours, put there: where it has come to rest, for a trace",
    ),
    "transports": _owner(
        "transport",
        _sock="the socket, taken from one whose host has lost its power",
        _closing="whether it was closed, as _sock",
        _conn_lost="how often it was written to since, as _sock",
        _exit_waiters="of a subprocess: who awaits its end",
        _pipes="of a subprocess: which pipes it has",
        _process_exited="of a subprocess: takes its return code",
        _wait="of a subprocess: waits for its end, as wait() of the object that programs have does",
    ),
    "Server": _owner("server", _waiters="whether it was closed and its last connection was lost"),
    "the transport of a pipe": _owner("pipe", _fileno="which descriptor it reads or writes"),
    "SubprocessStreamProtocol": _owner("protocol", _drain_waiters="who waits until a subprocess has read"),
    "SSLProtocol": _owner(
        "get_protocol",
        _app_transport="the transport that a program sees, as _sock",
    ),
    "its transport": _owner("tls", _closed="whether it was closed, as _sock"),
    "threading.Condition": _owner(
        "names",  # of its frame
        "condition",
        _waiters="the one way to tell a thread that waits from one that was woken and has not run",
        _is_owned="what its wait() is made of, for one whose limit is on a world's clock",
        _release_save="as _is_owned",
        _acquire_restore="as _is_owned",
    ),
    "os.environ": _owner("environ", _data="what the environment has; the mapping takes long to say that it has not"),
    "threading": _owner(
        "threading",
        _start_joinable_thread="what it starts threads by since Python 3.13, to note who starts whom",
    ),
    "threading.Thread": _owner(
        "thread",
        _started="set where the new thread begins: before, it has no frame to look at",
    ),
    "ThreadPoolExecutor": _owner(
        "executor",
        _threads="who may take a job that nobody has taken yet",
        _work_queue="whether a job waits there, or was taken",
    ),
    "_thread": _owner(
        "_thread",
        _count="the number of threads, for the check before each jump of the clock that mostly finds none",
    ),
    "sys": _owner(
        "sys",
        _getframe="documented, and the way to tell where the caller stands",
        _current_frames="documented, and the only way to see what a thread does",
    ),
    "TaskGroup, asyncio's and anyio's": _owner("group", _tasks="what it waits for, for reports"),
    "what as_completed() returns": _owner("iterator", _todo="what it waits for, for reports"),
    "Queue": _owner("queue", _unfinished_tasks="how many items join() waits for, for reports"),
    "Condition": _owner("manager", _lock="the lock that whoever enters it has to get, for reports"),
    "StreamReader": _owner(
        "stream",
        _transport="which connection it reads from, for reports",
        _waiter="who waits for what a subprocess writes",
    ),
    "AsyncExitStack": _owner("thing", _exit_callbacks="which locks were entered through it, for reports"),
}
