"""What a thread does, judged by its frame and by the system."""

import _thread
import asyncio
import concurrent.futures
import contextlib
import hashlib
import queue
import select
import socket
import subprocess
import sys
import threading
import time

import pytest

from virtualloop._world import parked, system
from virtualloop._world.parked import State, awaited_future, look_at


class Holder:
    def __init__(self):
        self.lock = threading.Lock()
        self.lock.acquire()
        self.queue = queue.SimpleQueue()


LOCK = threading.Lock()
LOCK.acquire()


def lock_method(stop):
    lock = threading.Lock()
    lock.acquire()
    stop.append(lock.release)
    lock.acquire()


def lock_with_timeout(stop):
    lock = threading.Lock()
    lock.acquire()
    stop.append(lock.release)
    lock.acquire(True, 60)  # as threading itself calls it


def lock_keyword(stop):
    holder = Holder()
    stop.append(holder.lock.release)
    holder.lock.acquire(timeout=60)


def lock_by_another_name(stop):
    holder = Holder()
    stop.append(holder.lock.release)
    take = holder.lock.acquire
    take(True, 60)


def wrapped(function):
    """Do as tools do that watch for blocking calls."""

    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def wrapped_lock(stop):
    holder = Holder()
    stop.append(holder.lock.release)
    wrapped(holder.lock.acquire)()


def wrapped_lock_with_timeout(stop):
    holder = Holder()
    stop.append(holder.lock.release)
    wrapped(holder.lock.acquire)(timeout=60)


def with_lock(stop):
    holder = Holder()
    stop.append(holder.lock.release)
    with holder.lock:
        pass


def simple_queue(stop):
    items = queue.SimpleQueue()
    stop.append(lambda: items.put(None))
    items.get()


def simple_queue_of_an_object(stop):
    holder = Holder()
    stop.append(lambda: holder.queue.put(None))
    holder.queue.get(block=True)


def a_queue(stop):
    items = queue.Queue()
    stop.append(lambda: items.put(None))
    items.get()


def event(stop):
    set_ = threading.Event()
    stop.append(set_.set)
    set_.wait()


def event_with_timeout(stop):
    set_ = threading.Event()
    stop.append(set_.set)
    set_.wait(60)


def join(stop):
    gate = threading.Event()
    other = threading.Thread(target=gate.wait)
    other.start()
    stop.append(gate.set)
    other.join()


def sleeping(stop):
    stop.append(lambda: None)
    time.sleep(0.5)


def computing(stop):
    done = []
    stop.append(lambda: done.append(True))
    while not done:
        pass


def in_a_function(stop):
    stop.append(lambda: None)
    hashlib.sha256(bytes(300_000_000))


def putting(stop):
    items = queue.SimpleQueue()
    done = []
    stop.append(lambda: done.append(True))
    while not done:
        items.put(None)  # which never waits, however empty the queue is
        items.get()


def in_a_subclass(stop):
    class Channel(queue.SimpleQueue):
        def get(self, *args):
            return super().get(*args)

    items = Channel()
    stop.append(lambda: items.put(None))
    items.get()


def selecting(stop):
    here, there = socket.socketpair()
    with here, there:
        stop.append(lambda: there.send(b"x"))
        select.select([here], [], [])


def polling(stop):
    stop.append(lambda: None)
    select.poll().poll(500)


def receiving(stop):
    here, there = socket.socketpair()
    with here, there:
        stop.append(lambda: there.send(b"x"))
        here.recv(1)


def waiting_for_a_process(stop):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stop.append(child.stdin.close)
    with contextlib.suppress(OSError):
        child.wait()


def a_stock_loop_without_a_timer(stop):
    loop = asyncio.SelectorEventLoop()
    stop.append(lambda: loop.call_soon_threadsafe(loop.stop))
    loop.run_forever()
    loop.close()


def a_stock_loop_with_a_timer(stop):
    loop = asyncio.SelectorEventLoop()
    loop.call_later(60, int)
    stop.append(lambda: loop.call_soon_threadsafe(loop.stop))
    loop.run_forever()
    loop.close()


#: Since 3.13 an empty queue may have handed something to the thread already.
AT_A_SIMPLE_QUEUE = State.PARKED if sys.version_info < (3, 13) else State.PERHAPS

#: What the thread does, what its frame alone tells, and what the system adds.
CASES = [
    (lock_method, State.PERHAPS, State.PARKED),
    (lock_with_timeout, State.PERHAPS, State.TIMED),
    (event_with_timeout, State.TIMED, State.TIMED),
    (lock_keyword, State.PERHAPS, State.TIMED),
    (lock_by_another_name, State.PERHAPS, State.TIMED),
    (wrapped_lock, State.PERHAPS, State.PARKED),
    (wrapped_lock_with_timeout, State.PERHAPS, State.TIMED),
    (with_lock, State.PERHAPS, State.PARKED),
    (simple_queue, AT_A_SIMPLE_QUEUE, State.PARKED),
    (simple_queue_of_an_object, AT_A_SIMPLE_QUEUE, State.PARKED),
    (in_a_subclass, State.PERHAPS, State.PARKED),
    (a_queue, State.PARKED, State.PARKED),
    (event, State.PARKED, State.PARKED),
    (join, State.PERHAPS, State.PARKED),
    (sleeping, State.WORKING, State.TIMED),
    (computing, State.WORKING, State.WORKING),
    (in_a_function, State.WORKING, State.WORKING),
    (putting, State.WORKING, State.WORKING),
    (selecting, State.OUTSIDE, State.PARKED),
    (polling, State.OUTSIDE, State.TIMED),
    (receiving, State.WORKING, State.PARKED),
    (waiting_for_a_process, State.WORKING, State.OUTSIDE),
    (a_stock_loop_without_a_timer, State.PARKED, State.PARKED),
    (a_stock_loop_with_a_timer, State.TIMED, State.TIMED),
]
IDS = [target.__name__ for target, _, _ in CASES]
TELLS = pytest.mark.parametrize(
    "tells", [False, True] if system.AVAILABLE else [False], ids=lambda tells: f"system={tells}"
)


@TELLS
@pytest.mark.parametrize(("target", "by_frame", "by_system"), CASES, ids=IDS)
def test_state(target, by_frame, by_system, tells, monkeypatch):
    monkeypatch.setattr(system, "AVAILABLE", tells)
    expected = by_system if tells else by_frame
    stop = []
    thread = threading.Thread(target=target, args=(stop,))
    thread.start()
    while not stop:
        time.sleep(0.001)
    seen = set()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and expected not in seen:
        time.sleep(0.005)
        frame = sys._current_frames().get(thread.ident)
        if frame is not None:
            seen.add(look_at(thread, frame).state)
    stop[0]()
    thread.join()

    assert expected in seen


def test_how_long_a_wait_goes_on():
    stop = []
    threads = [threading.Thread(target=target, args=(stop,)) for target in (event_with_timeout, polling, sleeping)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    frames = sys._current_frames()
    left = [look_at(thread, frames[thread.ident]).left for thread in threads]
    for end in stop:
        end()
    for thread in threads:
        thread.join()

    if system.AVAILABLE:
        assert 50 < left[0] <= 59.9
        assert left[1] in (0.5, None)  # on some processors it is only known to have a limit
        assert 0 < left[2] <= 0.4
    else:
        assert left == [60, None, None]


def test_a_thread_that_moves_is_marked_by_it():
    """A round of looks finds the same marks if nobody has moved."""
    items = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: [items.get() for _ in range(2)])
    thread.start()
    marks = []
    for _ in range(2):
        time.sleep(0.05)
        frame = sys._current_frames()[thread.ident]
        marks.append([look_at(thread, frame).mark for _ in range(2)])
        items.put(None)
    thread.join()

    (first, again), (later, _) = marks

    assert first == again
    assert (first != later) == system.AVAILABLE


@pytest.mark.skipif(not system.AVAILABLE, reason="how often a thread has run is told by the system alone")
def test_a_thread_that_waits_again_has_moved_wherever_its_next_lock_lies(monkeypatch):
    monkeypatch.setattr(parked, "id", lambda thing: 1, raising=False)
    items = queue.Queue()
    taken = []

    def take():
        while (item := items.get()) is not None:
            taken.append(item)

    def where_parked():
        look = None
        while look is None or look.state is not State.PARKED:
            look = look_at(thread, sys._current_frames()[thread.ident])
        return look.mark

    thread = threading.Thread(target=take)
    thread.start()
    while thread.ident not in sys._current_frames():
        pass
    while (first := where_parked()) != where_parked():
        pass
    items.put("something")
    while not taken:
        pass
    second = where_parked()
    items.put(None)
    thread.join()

    assert second != first


def test_the_future_that_is_awaited():
    future = concurrent.futures.Future()
    threads = [threading.Thread(target=future.result), threading.Thread(target=future.exception, args=(60,))]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    frames = sys._current_frames()
    awaited = [awaited_future(frames[thread.ident]) for thread in threads]
    future.set_result(None)
    for thread in threads:
        thread.join()

    assert awaited == [future, future]
    assert awaited_future(sys._getframe()) is None


class WrappedLock:
    """A lock whose methods are functions of Python."""

    def __init__(self):
        self._lock = _thread.allocate_lock()
        self.acquire = wrapped(self._lock.acquire)
        self.release = wrapped(self._lock.release)


@TELLS
def test_a_condition_is_known_whatever_its_locks_are_wrapped_in(tells, monkeypatch):
    monkeypatch.setattr(system, "AVAILABLE", tells)
    monkeypatch.setattr(threading, "_allocate_lock", WrappedLock)
    future = concurrent.futures.Future()
    threads = [threading.Thread(target=future.result), threading.Thread(target=future.result, args=(60,))]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    frames = sys._current_frames()
    looks = [look_at(thread, frames[thread.ident]) for thread in threads]
    awaited = [awaited_future(frames[thread.ident]) for thread in threads]
    future.set_result(None)
    for thread in threads:
        thread.join()

    assert [look.state for look in looks] == [State.PARKED, State.TIMED]
    assert looks[1].limit == 60
    assert awaited == [future, future]


@TELLS
def test_a_thread_that_was_woken_is_at_work_before_it_has_run(tells, monkeypatch):
    """Between the wake-up and the thread's next instruction there is no time for it to move on."""
    monkeypatch.setattr(system, "AVAILABLE", tells)
    ready = threading.Event()
    items = queue.Queue()

    def work():
        ready.set()
        items.get()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    while look_at(thread, sys._current_frames()[thread.ident]).state is not State.PARKED:
        time.sleep(0.001)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # Nothing else runs until this thread lets it.
    try:
        items.put(None)
        frame = sys._current_frames().get(thread.ident)
        state = None if frame is None else look_at(thread, frame).state
    finally:
        sys.setswitchinterval(interval)
    thread.join()

    assert state is not State.PARKED


def test_a_call_is_known_by_its_name_however_often_it_was_made(monkeypatch):
    """Python 3.11 makes it at another instruction once it knows what is called."""
    monkeypatch.setattr(system, "AVAILABLE", False)

    def wait(selector, seconds):
        selector.poll(seconds)

    with select.epoll() as selector:
        for _ in range(100):
            wait(selector, 0)
        thread = threading.Thread(target=wait, args=(selector, 0.3))
        thread.start()
        time.sleep(0.1)
        state = look_at(thread, sys._current_frames()[thread.ident]).state
        thread.join()

    assert state is State.OUTSIDE
