"""What a thread does, judged by its frame."""

import hashlib
import queue
import sys
import threading
import time

import pytest

from virtualloop._parked import State, is_scheduled, state_of


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


#: Since 3.13 an empty queue may have handed something to the thread already.
AT_A_SIMPLE_QUEUE = State.PARKED if sys.version_info < (3, 13) else State.PERHAPS

CASES = [
    (lock_method, State.PERHAPS),
    (lock_with_timeout, State.PERHAPS),
    (event_with_timeout, State.TIMED),
    (lock_keyword, State.PERHAPS),
    (with_lock, State.PERHAPS),
    (simple_queue, AT_A_SIMPLE_QUEUE),
    (simple_queue_of_an_object, AT_A_SIMPLE_QUEUE),
    (a_queue, State.PARKED),
    (event, State.PARKED),
    (join, State.PERHAPS),
    (sleeping, State.WORKING),
    (computing, State.WORKING),
    (in_a_function, State.WORKING),
    (putting, State.WORKING),
]


@pytest.mark.parametrize(("target", "expected"), CASES, ids=[target.__name__ for target, _ in CASES])
def test_state(target, expected):
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
            seen.add(state_of(frame))
    stop[0]()
    thread.join()

    assert expected in seen


def test_a_thread_that_computes_is_scheduled():
    done = []
    thread = threading.Thread(target=computing, args=(done,))
    thread.start()
    while not done:
        time.sleep(0.001)
    seen = {is_scheduled(thread.native_id) for _ in range(200) if not time.sleep(0.001)}
    done[0]()
    thread.join()

    assert (True in seen) == (sys.platform == "linux")
    assert not is_scheduled(2**31)


def test_a_thread_that_was_woken_is_at_work_before_it_has_run():
    """Between the wake-up and the thread's next instruction there is no time for it to move on."""
    ready = threading.Event()
    items = queue.Queue()

    def work():
        ready.set()
        items.get()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    while state_of(sys._current_frames()[thread.ident]) is not State.PARKED:
        time.sleep(0.001)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # Nothing else runs until this thread lets it.
    try:
        items.put(None)
        frame = sys._current_frames().get(thread.ident)
        state = None if frame is None else state_of(frame)
    finally:
        sys.setswitchinterval(interval)
    thread.join()

    assert state is not State.PARKED
