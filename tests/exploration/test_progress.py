"""What is said while a long exploration goes on, and to whom."""

import asyncio
import io
from types import SimpleNamespace

import pytest

from virtualloop import explore
from virtualloop._exploration import progress as module
from virtualloop._exploration.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Have real time be what the test says."""
    now = [0.0]
    monkeypatch.setattr(module, "real_time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.delenv("CI", raising=False)

    def move(seconds):
        now[0] += seconds

    return move


def test_a_line_on_a_terminal_that_is_taken_away(clock):
    terminal = Terminal()
    progress = Progress(terminal, 1000)
    for count, seconds in enumerate([0.5, 0.6, 0.1, 4.0], start=1):
        clock(seconds)
        progress.show(count, count)
    progress.clear()

    assert terminal.getvalue().split("\r") == [
        "",
        "exploring: 2 of 1000 runs, 2 different",
        "exploring: 4 of 1000 runs, 4 different",
        "\033[K",
    ]


def test_shrinking_is_said_too_and_a_shorter_line_covers_a_longer_one(clock):
    terminal = Terminal()
    progress = Progress(terminal, 1000)
    clock(2)
    progress.show_shrinking(20, 7)
    clock(2)
    progress.show(3, 3)
    first, second = terminal.getvalue().split("\r")[1:]

    assert first == "making the failure small: 20 -> 7 deviations (Ctrl-C to see it as it is)"
    assert second.rstrip() == "exploring: 3 of 1000 runs, 3 different"
    assert len(second) == len(first)


def test_a_line_each_thirty_seconds_in_the_log_of_a_ci_job(clock, monkeypatch):
    monkeypatch.setenv("CI", "true")
    log = io.StringIO()
    progress = Progress(log, 1000)
    for count in range(1, 100):
        clock(1)
        progress.show(count, count)
    progress.clear()

    assert log.getvalue().splitlines() == [
        f"exploring: {count} of 1000 runs, {count} different" for count in (30, 60, 90)
    ]


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_silent_elsewhere(clock, stream):
    progress = Progress(stream, 1000)
    clock(1000)
    progress.show(1, 1)
    progress.show_shrinking(1, 1)
    progress.clear()

    assert stream is None or stream.getvalue() == ""


@pytest.mark.parametrize("interrupted", [3, 4, 6, 10])
def test_who_interrupts_the_shrinking_is_told_the_failure_as_it_is(interrupted):
    """Run 1 after the one that failed is the same again, and run 2 the plain one."""
    runs = []
    failed = []

    async def main():
        if failed:
            runs.append(None)
            if len(runs) == interrupted:
                raise KeyboardInterrupt
        done = []

        async def work(number):
            await asyncio.sleep(0.01 * number)
            done.append(number)

        await asyncio.gather(*map(work, range(4)))
        if done != [0, 1, 2, 3]:
            failed.append(None)
            raise AssertionError(done)

    failure = explore(main, check=False).failure

    assert isinstance(failure.exception, AssertionError)
    assert len(runs) == interrupted + 1  # to tell it
    assert "Replay it: " in failure.report


def test_who_interrupts_the_search_is_told_how_far_it_was():
    runs = []

    async def main():
        runs.append(None)
        if len(runs) == 8:
            raise KeyboardInterrupt
        await asyncio.gather(*(asyncio.sleep(0.01 * number) for number in range(4)))

    with pytest.raises(KeyboardInterrupt) as raised:
        explore(main)

    # The plain run is made twice.
    assert raised.value.__notes__ == ["virtualloop: interrupted after 6 runs of 1000, none failed"]
