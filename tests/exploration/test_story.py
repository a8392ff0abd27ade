"""What a failure says of itself, to the letter."""

import asyncio
import importlib
import itertools
import json
import re

import pytest

import virtualloop
from helpers import opened
from virtualloop import Network, Trace, explore, explored
from virtualloop._core.lateness import HELD
from virtualloop.trace._trace import recorder_of, story_of


def story(main, **options):
    """Return a failure's story, but for the command that replays it, with lines counted from the first of `main`."""
    failure = explore(main, check=False, **options).failure
    assert failure.exception.__notes__[-1] == failure.report
    text = failure.report.rpartition("\nReplay it: ")[0] + "\n"
    first = main.__code__.co_firstlineno

    def place(match):
        return f"{match[1]}{int(match[2]) - first}"

    text = re.sub(r"(test_story\.py:|-> )(\d+)", place, text)
    # How wide a column is depends on the line numbers, and so does where a line of source is cut.
    text = re.sub(r" {2,}", "  ", re.sub(r"(test_story\.py:\d+(?: -> \d+)?)  .*", r"\1", text))
    return re.sub(r'File "[^"]*test_story.py", line (\d+)', lambda match: f"line {int(match[1]) - first}", text)


async def stale_reply():
    shown = []

    async def reply(name):
        await asyncio.sleep(0.01)
        shown.append(name)

    one, two = reply("first"), reply("second")
    await asyncio.gather(asyncio.create_task(one, name="one"), asyncio.create_task(two, name="two"))
    if shown[0] != "first":
        raise AssertionError(shown)


def test_a_late_reply():
    assert (
        story(stale_reply)
        == """\
virtualloop: stock asyncio can do this if the late timer stands for I/O (order 'io'):
  one's timer (test_story.py:4) fires after later ones.
  0ms  Task-1 stale_reply  starts; creates one and two; waits for gather()  test_story.py:8
  0ms  one  starts, created by Task-1; sleeps 10 ms  test_story.py:4
  0ms  two  starts, created by Task-1; sleeps 10 ms  test_story.py:4
  10ms  two  wakes up; ends  test_story.py:4
* 10ms  one's timer (test_story.py:4) fires after later ones
  10ms  one  wakes up; wakes Task-1; ends  test_story.py:4
  10ms  Task-1 stale_reply  woken by one;  test_story.py:8 -> 10
  raises AssertionError: ['second', 'first']
"""
    )


async def no_reply():
    async def reply():
        await asyncio.sleep(0.01)

    task = asyncio.create_task(reply(), name="reply")
    await asyncio.sleep(0)
    done, _ = await asyncio.wait([task], timeout=0.04)
    if not done:
        raise AssertionError("no reply in 40 ms")


def test_a_reply_that_does_not_arrive():
    assert (
        story(no_reply)
        == """\
virtualloop: stock asyncio can do this if the late timer stands for I/O (order 'io'):
  reply's timer (test_story.py:2) is late, and has not fired when the run ends.
  0ms  Task-1 no_reply  starts; creates reply; yields  test_story.py:5
  0ms  reply  starts, created by Task-1; sleeps  test_story.py:2
  0ms  Task-1 no_reply  goes on; waits for wait()  test_story.py:5 -> 6
* 10ms  reply's timer (test_story.py:2) is late, and has not fired when the run ends
  40ms  Task-1 no_reply  timed out; raises AssertionError: no reply in 40 ms  test_story.py:6 -> 8
At t=0.04:
1 task is pending:
  'reply' awaits sleep(0.01), until t=0.01
  line 2, in no_reply.<locals>.reply
  await asyncio.sleep(0.01)
"""
    )


async def late_timer():
    asyncio.create_task(asyncio.sleep(0.001), name="request")
    await asyncio.sleep(0.04)
    if len(asyncio.all_tasks()) != 1:
        raise AssertionError


def test_a_late_timer_and_who_was_left():
    assert (
        story(late_timer)
        == """\
virtualloop: stock asyncio can do this (order 'timing'):
  earlier callbacks took 40 ms, and Task-1 late_timer's timer (test_story.py:2) is due already.
  Likewise where request's timer is late, and has not fired when the run ends.
  0ms  Task-1 late_timer  starts; creates request; sleeps 40 ms  test_story.py:2
* 40ms  earlier callbacks took 40 ms, and Task-1 late_timer's timer (test_story.py:2) is due alr...
  40ms  request  starts, created by Task-1; sleeps
  40ms  Task-1 late_timer  wakes up; raises AssertionError  test_story.py:2 -> 4
At t=0.04:
1 task is pending:
  'request' awaits sleep(0.001), until t=0.041
"""
    )


async def overtaken():
    done = []

    async def task(name):
        await asyncio.sleep(0)
        done.append(name)

    one, two = task(1), task(2)
    await asyncio.gather(asyncio.create_task(one, name="one"), asyncio.create_task(two, name="two"))
    if done != [1, 2]:
        raise AssertionError(done)


def test_an_overtaken_task():
    assert (
        story(overtaken, order="tasks")
        == """\
virtualloop: this needs a wake-up order that asyncio does not produce today (order 'tasks'):
  two resumes before one.
  0ms  Task-1 overtaken  starts; creates one and two; waits for gather()  test_story.py:8
  0ms  one  starts, created by Task-1; yields  test_story.py:4
  0ms  two  starts, created by Task-1; yields  test_story.py:4
* 0ms  two resumes before one
  0ms  two  goes on; ends  test_story.py:4
  0ms  one  goes on; wakes Task-1; ends  test_story.py:4
  0ms  Task-1 overtaken  woken by one; raises AssertionError: [2, 1]  test_story.py:8 -> 10
"""
    )


async def always_wrong():
    virtualloop.note("here")
    await asyncio.sleep(1)
    raise LookupError("always")


def test_no_deviation_at_all():
    assert (
        story(always_wrong)
        == """\
virtualloop: stock asyncio can do this, in its own order (order 'fifo').
  0ms  Task-1 always_wrong  starts; sleeps 1 s  test_story.py:2
  0ms  note: here
  1000ms  Task-1 always_wrong  wakes up; raises LookupError: always  test_story.py:2 -> 3
"""
    )


async def cancelled():
    slots = asyncio.Queue()
    slots.put_nowait("slot")

    async def use():
        slot = await slots.get()
        await asyncio.sleep(0.01)
        slots.put_nowait(slot)

    await asyncio.wait([asyncio.create_task(use(), name="user")])
    if slots.empty():
        raise AssertionError


def test_a_cancellation():
    assert (
        story(cancelled, cancel="user")
        == """\
virtualloop: stock asyncio can do this, in its own order (order 'fifo'):
  user is cancelled while it waits.
  0ms  Task-1 cancelled  starts; creates user; waits for wait()  test_story.py:9
  0ms  user  starts, created by Task-1; sleeps  test_story.py:6
* 0ms  user is cancelled while it waits
  0ms  user  cancelled by the exploration; ...; ends, cancelled  test_story.py:6
  0ms  Task-1 cancelled  woken by user; raises AssertionError  test_story.py:9 -> 11
"""
    )


async def wrong_choice():
    if virtualloop.choose(["answer", "error"]) != "answer":
        raise AssertionError


def test_a_choice_of_the_tests_own():
    assert (
        story(wrong_choice)
        == """\
virtualloop: stock asyncio can do this, in its own order (order 'fifo'):
  choose() returns 'error' at test_story.py:1.
  0ms  Task-1 wrong_choice  starts; raises AssertionError  test_story.py:2
* 0ms  choose() returns 'error' at test_story.py:1
"""
    )


async def deadlock():
    one, two = asyncio.Lock(), asyncio.Lock()

    async def transfer(first, second, after):
        await asyncio.sleep(after)
        async with first:
            await asyncio.sleep(0.01)
            async with second:
                pass

    await asyncio.gather(transfer(one, two, 0.0), transfer(two, one, 0.03))


def test_a_deadlock_lists_the_tasks_once():
    failure = explore(deadlock, check=False).failure

    assert str(failure.exception).count("wait for each other") == 1
    assert "wait for each other" not in failure.report


async def long_run():
    for _ in range(100):
        await asyncio.sleep(0.001)
    await stale_reply()


def test_of_a_long_run_what_is_around_the_deviation():
    lines = story(long_run).splitlines()

    assert len(lines) <= 15
    assert lines[4] == "  ... the same 98 times more"
    assert [line for line in lines if line.startswith("*")]
    assert "raises AssertionError" in lines[-1]


async def long_wrong():
    for _ in range(100):
        await asyncio.sleep(0.001)
    raise LookupError


def test_of_a_long_run_without_deviations_the_end():
    lines = story(long_wrong).splitlines()

    assert len(lines) <= 8
    assert lines[3] == "  ... the same 98 times more"
    assert "raises LookupError" in lines[-1]


async def many_waiting():
    for _ in range(60):
        asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0.01)
    raise LookupError


def test_a_story_fits_onto_a_screen():
    assert len(story(many_waiting).splitlines()) <= 40


# --- how to see it again ----------------------------------------------------------------------------------------------


def test_a_folder_gets_each_failure_as_text_and_as_html(tmp_path, monkeypatch):
    folder = tmp_path / "reports"
    monkeypatch.setenv("VIRTUALLOOP_REPORT_DIR", str(folder))
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    with pytest.raises(AssertionError) as raised:
        explored(stale_reply)()
    explore(overtaken, order="tasks", check=False)

    texts = sorted(folder.glob("*.txt"))
    assert [path.name.partition("-")[0] for path in texts] == ["overtaken", "stale_reply"]
    text = texts[1].read_text()
    assert text.startswith("stale_reply\n\nAssertionError")
    assert "Compared with the nearest run that passes:" in text
    *story, written, replay = raised.value.__notes__[-1].splitlines()
    assert "\n".join([*story, replay]) in text
    page = texts[1].with_suffix(".html").read_text()
    assert "<title>stale_reply: AssertionError: " in page
    assert json.dumps(replay.removeprefix("Replay it: ")) in page
    assert written == f"All of it: {texts[1].with_suffix('.html')}, and the same as .txt"
    assert {path.suffix for path in folder.iterdir()} == {".txt", ".html"}


async def meal():
    main = virtualloop.choose(["bread", "cake"])
    await asyncio.sleep(1)
    drink = virtualloop.choose(["water", "wine"])
    if (main, drink) == ("cake", "wine"):
        raise ValueError("both")


def test_the_nearest_run_that_passes_has_all_deviations_but_the_last(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALLOOP_REPORT_DIR", str(tmp_path))
    explore(meal, check=False)
    (path,) = tmp_path.glob("*.txt")
    nearest = path.read_text().partition("nearest run that passes")[2]

    assert "'water'" in nearest
    assert "'cake'" in nearest
    assert "'bread'" not in nearest


def test_an_index_has_all_failures_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALLOOP_REPORT_DIR", str(tmp_path))
    for test in ("tests/one.py::test_it", "tests/two.py::test_it", "tests/two.py::test_it[<a>]"):
        monkeypatch.setenv("PYTEST_CURRENT_TEST", f"{test} (call)")
        explore(stale_reply, check=False)
    (tmp_path / "notes.txt").write_text("of another kind")
    explore(stale_reply, check=False)

    index = (tmp_path / "index.html").read_text()
    pages = sorted(path.name for path in tmp_path.glob("*-*.html"))
    assert len(pages) == 3
    assert re.findall(r'href="([^"]+\.html)"', index) == pages
    assert "<title>3 failures of explored programs</title>" in index
    assert "<b>tests/two.py::test_it[&lt;a&gt;]</b>" in index
    assert "AssertionError: [&#x27;second&#x27;, &#x27;first&#x27;]" in index


def test_nothing_is_written_where_nothing_failed(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALLOOP_REPORT_DIR", str(tmp_path / "reports"))
    explore(stale_reply, order="timing")

    assert not (tmp_path / "reports").exists()


def test_a_folder_that_cannot_be_written_hides_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VIRTUALLOOP_REPORT_DIR", str(tmp_path / "file" / "reports"))
    failure = explore(stale_reply, check=False).failure

    assert "VIRTUALLOOP_REPORT_DIR was not written: " in failure.report.splitlines()[-2]
    assert isinstance(failure.exception, AssertionError)


def test_a_replay_makes_its_run_once(monkeypatch):
    """There may be a breakpoint in it."""
    runs = []

    async def main():
        runs.append(None)
        await stale_reply()

    token = explore(main, check=False).failure.token
    runs.clear()
    with pytest.raises(AssertionError):
        explore(main, replay=token)

    assert len(runs) == 1


def test_odd_names_and_texts_are_written(tmp_path, monkeypatch):
    async def main():
        raise LookupError("\udcff")

    main.__qualname__ = "x" * 300
    monkeypatch.setenv("VIRTUALLOOP_REPORT_DIR", str(tmp_path))
    explore(main, check=False)

    assert len(list(tmp_path.iterdir())) == 3


LONG = "a_place_where_everything_has_a_name_that_says_all_there_is_to_say_about_it"
LONG_NAMES = f"""
import asyncio

class Client:
    async def {LONG}_ask(self):
        await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)

async def main():
    client = Client()
    request = asyncio.create_task(client.{LONG}_ask(), name="{LONG.replace("_", " ")} one")
    asyncio.create_task(client.{LONG}_ask(), name="{LONG.replace("_", " ")} two")
    asyncio.create_task(client.{LONG}_ask())
    try:
        async with asyncio.timeout(1):
            await asyncio.shield(request)
    except TimeoutError:
        await request
        raise AssertionError("{LONG}") from None
"""


def test_long_names_are_cut_at_their_beginnings_and_no_line_is_wider_than_100(tmp_path):
    folder = tmp_path / LONG
    folder.mkdir()
    path = folder / f"{LONG}.py"
    path.write_text(LONG_NAMES)
    names = {"__name__": LONG}
    exec(compile(LONG_NAMES, path, "exec"), names)  # noqa: S102  # it is ours

    report = explore(names["main"], check=False).failure.report
    *lines, _ = report.splitlines()

    assert max(map(len, lines)) <= 100, report
    assert lines[0] == "virtualloop: stock asyncio can do this (order 'io')"
    assert lines[1].startswith("  if the reply to main() comes after its timeout of 1 s")
    deviation = next(line for line in lines if line.startswith("* "))
    assert re.search(r"about it one's timer \(\.\.\.\w+\.py:\d+\) fires [\d.]+ (ms|s) late$", deviation), report
    steps = [line for line in lines if re.match(r" +\d+ms ", line)]
    assert all(re.search(r"\.\.\.\w*\.py:\d+( -> \d+)?$", line) for line in steps if "raises" not in line), report
    assert {re.split(r"  +", line)[2] for line in steps} >= {"...s to say about it one", "Task-4 ...y_about_it_ask"}, (
        report
    )


# --- long runs --------------------------------------------------------------------------------------------------------

LIBRARY = """
import asyncio

async def handle(inbox, handler):
    for _ in range(20):
        await asyncio.sleep(0)
    await handler(await inbox.get())
    for _ in range(20):
        await asyncio.sleep(0)

async def keep_alive():
    while True:
        await asyncio.sleep(0.001)
        await asyncio.sleep(0.002)

async def ask(question):
    async with asyncio.timeout(2):
        await question()
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library that is installed, and makes many steps of its own."""
    folder = tmp_path / "site-packages" / "webby"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(folder.parent)
    return importlib.import_module("webby")


def test_of_a_library_the_steps_are_counted_and_the_programs_own_are_told(library):
    async def main():
        balance = 100

        async def deposit(amount):
            nonlocal balance
            before = balance
            await asyncio.sleep(0.05)
            balance = before + amount

        inboxes = [asyncio.Queue(), asyncio.Queue()]
        keeper = asyncio.create_task(library.keep_alive(), name="keeper")
        tasks = [asyncio.create_task(library.handle(inbox, deposit)) for inbox in inboxes]
        await asyncio.sleep(0.1)
        inboxes[0].put_nowait(1)
        await asyncio.sleep(0.06)
        inboxes[1].put_nowait(2)
        await asyncio.wait(tasks)
        keeper.cancel()
        assert balance == 103

    report = explore(main, check=False).failure.report
    *lines, _ = report.splitlines()
    place = rf"test_story\.py:{main.__code__.co_firstlineno + 6}\b"
    own = [line for line in lines if re.match(rf" +\d+ms  .*{place}", line)]

    assert len(lines) < 40
    assert all(len(line) <= 100 for line in lines)
    # Both were between reading and writing at once.
    assert {re.split(r"  +", line)[2] for line in own} >= {"Task-3 handle", "Task-4 handle"}
    assert re.search(r"^  \.\.\. \d+ steps in webby$", report, re.MULTILINE)
    assert "raises AssertionError" in report


def test_a_timeout_that_a_library_sets_is_named_by_the_readers_line_that_called_it(library):
    async def main():
        asked = 0

        async def answer():
            await asyncio.sleep(0.01)

        async def client():
            nonlocal asked
            for _ in range(2):
                try:
                    asked += 1
                    await library.ask(answer)
                    break
                except TimeoutError:
                    continue
            assert asked == 1

        await asyncio.gather(client())

    line = main.__code__.co_firstlineno + 11
    with pytest.warns(UserWarning, match=rf"needs client\(\) within 2 s \(test_story\.py:{line}\)"):
        exploration = explore(main)
    assert exploration.needs == (f"client() within 2 s (test_story.py:{line})",)


async def many_latencies():
    network = asyncio.get_running_loop().network

    async def serve(reader, writer):
        try:
            async for _ in reader:
                writer.write(b"ok\n")
        finally:
            writer.transport.abort()

    async def ask():
        with network.host("home"):
            reader, writer = await asyncio.open_connection("shop", 80)
            try:
                for _ in range(60):
                    writer.write(b"?\n")
                    async with asyncio.timeout(5):
                        await reader.readline()
            finally:
                writer.transport.abort()

    with network.host("shop"):
        server = await asyncio.start_server(serve, port=80)
    asking = asyncio.create_task(ask(), name="client")
    await asyncio.sleep(0.2)
    network.partition("home", "shop")
    server.close()
    await asking


def test_what_was_done_to_the_network_is_told_and_latencies_are_counted():
    network = Network(hosts=["home", "shop"], latency=(0.001, 0.01))
    trace = Trace()
    with opened(3, order="io", trace=trace, network=network) as loop:
        with pytest.raises(TimeoutError):
            loop.run_until_complete(loop.create_task(many_latencies()))
        recorder_of(trace).has_failed()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_idle()
    lines = story_of(trace, room=38)

    assert sum(deviation.kind == "latency" for deviation in trace.deviations) > 20
    assert len(lines) <= 38
    assert any("network: nothing gets from home to shop and back" in line for line in lines)
    assert any("client @home " in line and "cancelled by its timeout;" in line for line in lines)
    assert "raises TimeoutError" in lines[-1]
    assert sum(" ms late" in line and "network: " in line for line in lines) <= 3


async def permit_lost():
    """Two connections; whoever gives up while one is handed over takes it along."""
    free, waiting = [1, 2], []

    async def take():
        if free:
            return free.pop()
        waiting.append(asyncio.get_running_loop().create_future())
        return await waiting[-1]

    def give(connection):
        while waiting:
            future = waiting.pop(0)
            if not future.done():
                future.set_result(connection)
                return
        free.append(connection)

    async def request(number):
        await asyncio.sleep(0.003 * number)
        try:
            async with asyncio.timeout(0.05):
                connection = await take()
            await asyncio.sleep(0.013)
            give(connection)
        except TimeoutError:
            pass

    async with asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(request(number))
    if len(free) != 2:
        raise AssertionError(len(free))


def test_who_lost_what_it_was_handed_is_told_of_among_many():
    report = explore(permit_lost, check=False, runs=3000).failure.report

    assert len(report.splitlines()) <= 40
    assert re.search(r"Task-\d+ request +woken by Task-\d+, then cancelled by its timeout\b", report)
    assert "raises AssertionError: 1" in report


async def late_timeout():
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(0.02)
    except TimeoutError:
        return
    raise AssertionError("in time")


def test_a_timeout_that_is_late():
    assert story(late_timeout).startswith(
        """\
virtualloop: stock asyncio can do this if what beats the timeout stands for I/O (order 'io'):
  Task-1 late_timeout's timeout (test_story.py:3) is late, and has not fired when the run ends.
"""
    )


async def stale_among_many():
    shown = []

    async def ask(text):
        await asyncio.sleep(0.01)
        for _ in range(6):
            await asyncio.sleep(0.01)
        shown.append(text)

    async def beat():
        while True:
            await asyncio.sleep(0.004)
            await asyncio.sleep(0.005)

    beating = asyncio.create_task(beat(), name="beat")
    asking = []
    for number in range(20):
        asking.append(asyncio.create_task(ask(number), name=f"ask {number}"))
        await asyncio.sleep(0.02)
    await asyncio.sleep(2)
    beating.cancel()
    assert shown[-1] == 19


class OneIsLate:
    """A schedule that puts one event off by so many ticks."""

    def __init__(self, position, ticks):
        self.left, self.ticks = position, ticks

    def choose(self, n, kind):
        self.left -= kind == "hold"
        return min(HELD + self.ticks, n - 1) if kind == "hold" and self.left == 0 else 0


def test_what_came_of_an_event_that_was_late_and_of_what_overtook_it():
    for position in itertools.count(1):
        trace = Trace()
        with opened(schedule=OneIsLate(position, 30_000), order="io", trace=trace) as loop:
            try:
                loop.run_until_complete(stale_among_many())
            except AssertionError:
                break
    lines = story_of(trace, room=38)
    (late,) = [re.search(r"(ask \d+)'s timer", line)[1] for line in lines if line.startswith("*")]

    # Which was shown last, and which ought to have been.
    assert any(re.search(rf" {late} +wakes up; .*ends ", line) for line in lines)
    assert any(re.search(r" ask 19 +wakes up; ends ", line) for line in lines)


async def lost_update():
    balance = 0

    async def deposit(delay):
        nonlocal balance
        await asyncio.sleep(delay)
        before = balance
        await asyncio.sleep(0.01)
        balance = before + 1

    await asyncio.gather(deposit(0), deposit(0.03))
    assert balance == 2


def test_a_replay_says_what_the_search_said_but_for_what_other_runs_have_shown():
    found = explore(lost_update, check=False).failure
    again = explore(lost_update, check=False, replay=found.token)
    lines = found.report.splitlines()
    likewise = [line for line in lines if line.startswith("  Likewise where ")]

    assert again.runs == 1
    assert len(likewise) == 1
    assert again.failure.report.splitlines() == [line for line in lines if line not in likewise]


def test_who_meant_a_real_server_is_not_told_that_stock_asyncio_does_this():
    async def main():
        try:
            await asyncio.open_connection("127.0.0.1", 45678)
        except OSError as exc:
            raise RuntimeError("no service") from exc

    text = explore(main, check=False).failure.report

    assert "virtualloop: each run does this, as it is set up (order 'fifo')." in text
    assert "name the real server\n  in explored(network=Network(outside=[...])), or" in text
    assert "as\n  explore_outside." in text
    assert "stock asyncio" not in text


def test_a_report_says_what_the_tasks_did_that_were_left(monkeypatch, tmp_path):
    monkeypatch.setenv("VIRTUALLOOP_REPORT_DIR", str(tmp_path))

    async def waits_for_ever(event):
        await event.wait()

    async def main():
        task = asyncio.create_task(waits_for_ever(asyncio.Event()))
        await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
        raise KeyError(task.done())

    with pytest.raises(KeyError):
        explore(main, runs=5)
    (text,) = [path.read_text() for path in tmp_path.glob("*.txt")]
    assert "waits_for_ever" in text.split("\n\n", 3)[3].rpartition("\n\n")[2]
