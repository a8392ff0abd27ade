"""The network without a loop: carried by a driver that keeps posted events in a list."""

import ast
import errno
import heapq
import socket
import subprocess
import sys
from itertools import count

import pytest

from test_project import PATHS, SRC, imports
from virtualloop import Network
from virtualloop._core.clock import Clock
from virtualloop.network._network import carry


class Event:
    def __init__(self, arrive):
        self.arrive = arrive

    def cancel(self):
        self.arrive = None


class Watcher:
    def __init__(self, callback):
        self.callback = callback

    def cancel(self):
        self.callback = None


class FakeDriver:
    """Events arrive in the order of their ticks; `answer` is the schedule's, to every question."""

    recorder = made_socket = None

    def __init__(self, answer=0):
        self.clock = Clock()
        self.answer = answer
        self.asked = []
        self.stopped = []
        self._events = []
        self._number = count()

    def choose(self, n, kind):
        self.asked.append(kind)
        return min(self.answer, n - 1)

    def event(self, arrive):
        return Event(arrive)

    def post(self, event, tick):
        heapq.heappush(self._events, (tick, next(self._number), event))

    def post_now(self, event):
        self.post(event, self.clock.tick)

    def run(self, watcher):
        if watcher.callback is None:
            return False
        watcher.callback()
        return True

    def stop(self, runs_here, sockets):
        self.stopped.append(list(sockets))
        return []

    def drive(self):
        """Let everything arrive; return the time at the end."""
        while self._events:
            tick, _, event = heapq.heappop(self._events)
            self.clock.move(max(tick, self.clock.tick))
            if event.arrive is not None:
                event.arrive()
        return self.clock.seconds


def connected(stack):
    listener, client = stack.make_socket(), stack.make_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    assert client.connect_ex(listener.getsockname()) == errno.EINPROGRESS
    stack.fabric.driver.drive()
    server, _ = listener.accept()
    listener.close()
    return client, server


def test_bytes_arrive_when_the_link_says_so():
    driver = FakeDriver()
    client, server = connected(carry(Network(latency=0.5), driver))

    assert driver.clock.seconds == 1.5  # there, back, and the request to be accepted
    client.send(b"ping")
    with pytest.raises(BlockingIOError):
        server.recv(10)
    assert driver.drive() == 2.0
    assert server.recv(10) == b"ping"
    client.close()
    server.close()


def test_a_watcher_runs_for_as_long_as_there_is_something_to_read():
    driver = FakeDriver()
    stack = carry(Network(), driver)
    client, server = connected(stack)
    read = []
    stack.at(server.fileno()).reader.set(Watcher(lambda: read.append(server.recv(2))))
    driver.drive()
    assert read == []
    client.send(b"abcde")
    driver.drive()

    assert read == [b"ab", b"cd", b"e"]
    client.close()
    server.close()


def test_a_watcher_that_raises_runs_again():
    driver = FakeDriver()
    stack = carry(Network(), driver)
    client, server = connected(stack)
    errors = [KeyboardInterrupt]

    def read():
        if errors:
            raise errors.pop()
        server.recv(10)

    stack.at(server.fileno()).reader.set(Watcher(read))
    client.send(b"x")
    with pytest.raises(KeyboardInterrupt):
        driver.drive()
    driver.drive()
    with pytest.raises(BlockingIOError):
        server.recv(10)
    client.close()
    server.close()


def test_only_what_may_go_wrong_is_asked():
    driver = FakeDriver(answer=1)
    stack = carry(Network(loss=0.5), driver)
    receiver, sender = (stack.make_socket(type=socket.SOCK_DGRAM) for _ in range(2))
    receiver.bind(("127.0.0.1", 9))
    sender.sendto(b"x", ("127.0.0.1", 9))
    driver.drive()
    with pytest.raises(BlockingIOError):
        receiver.recv(1)

    assert driver.asked == ["loss"]
    assert [fault.kind for fault in stack.fabric.faults] == ["loss"]
    receiver.close()
    sender.close()


def test_a_crash_stops_what_uses_the_sockets_of_that_host():
    driver = FakeDriver()
    network = Network(hosts=["server"])
    stack = carry(network, driver)
    mine = stack.make_socket()
    with network.host("server"):
        other = stack.make_socket()
    number = other.fileno()
    network.host("server").crash()

    assert driver.stopped == [[number]]
    assert number not in stack.fabric.sockets
    assert stack.open_sockets() == [stack.at(mine.fileno())]
    mine.close()
    other.close()


def test_a_network_is_carried_by_one_driver_at_a_time():
    network = Network()
    stack = carry(network, FakeDriver())
    with pytest.raises(ValueError, match="belongs to another loop"):
        carry(network, FakeDriver())
    stack.fabric.close()
    carry(network, FakeDriver())


def test_the_network_loads_no_asyncio():
    code = "import sys; import virtualloop.network._stack; print('asyncio.base_events' in sys.modules)"
    # The package as such imports the loop.
    package = "import sys, types; p = sys.modules['virtualloop'] = types.ModuleType('virtualloop')"
    path = "p.__path__ = [sys.argv[1]]"
    done = subprocess.run(
        [sys.executable, "-c", f"{package}; {path}; {code}", SRC], check=True, capture_output=True, text=True
    )

    assert done.stdout == "False\n"


def test_the_network_knows_no_loop_and_has_no_circles():
    """Nothing is imported for types only, so that test_imports_go_downwards sees every import there is."""
    for name, path in PATHS.items():
        if name.startswith("network"):
            tree = ast.parse(path.read_text())
            own = {module.split(".")[1] for module in imports(tree) if module.startswith("virtualloop.")}

            assert own <= {"_core", "_errors", "_folders", "_frames", "network"}, name
            for node in ast.walk(tree):
                if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                    assert not any(isinstance(each, ast.Import | ast.ImportFrom) for each in ast.walk(node)), name
