"""The timeline: that the page is whole, and what it is given to show. How it looks, somebody has to look at."""

import asyncio
import importlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import virtualloop
from helpers import Always, opened, run
from test_trace import PROGRAM, over_the_network, traced, two_of_us
from virtualloop import DeadlockError, Network, Trace
from virtualloop._core.lateness import HELD
from virtualloop.trace._trace import page_of, recorder_of


@pytest.fixture
def page(tmp_path):
    """Write a trace as HTML and return the page."""

    def write(trace):
        trace.to_html(tmp_path / "run.html")
        return (tmp_path / "run.html").read_bytes().decode()

    return write


def data_of(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def shown(data):
    """Return who and what of each step that the page has."""
    texts = data["texts"]
    return [
        (data["lanes"][lane][0], "; ".join(filter(None, [texts[why], texts[deeds]])))
        for _, lane, _, _, _, _, why, deeds, *_ in data["steps"]
    ]


def test_the_page_needs_nothing_else(page):
    found = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.extend((tag, name, value) for name, value in attrs if name in ("src", "href", "action", "data"))

    text = page(traced(two_of_us))
    Parser().feed(text)

    assert found == []
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(", text)
    assert "{{" not in text


def test_the_page_has_what_the_text_has(page):
    trace = traced(two_of_us, schedule=Always(1), order="io")
    data = data_of(page(trace))
    steps = [
        re.split(r"  +", line[2:].strip())[1:3] for line in trace.lines() if "note:" not in line and line[0] != "*"
    ]

    assert shown(data) == [tuple(step) for step in steps]
    assert [words for *_, deviates, words in data["events"] if deviates] == [d.text for d in trace.deviations]
    assert data["heading"] == str(trace).partition("\n")[0]
    assert data["title"] in page(trace)


def test_causes_come_before_what_they_cause(page):
    data = data_of(page(traced(two_of_us, 7)))

    assert any(cause >= 0 for _, _, cause, *_ in data["steps"])
    assert all(cause < k for k, (_, _, cause, *_) in enumerate(data["steps"]))


def test_tasks_of_a_host_are_together(page):
    network = Network(hosts=["home", "shop"], latency=0.001)
    lanes = [tuple(lane) for lane in data_of(page(traced(over_the_network, network=network)))["lanes"]]
    hosts = [name for name, kind in lanes if kind == "host"]

    assert set(hosts) == {"home", "shop"}
    assert lanes.index(("home", "host")) + 1 == lanes.index(("client", "task"))
    assert lanes.index(("shop", "host")) < lanes.index(("server", "task"))


def test_callbacks_share_a_lane(page):
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(int)
        loop.call_soon(lambda: virtualloop.note("in a callback"))
        await asyncio.sleep(1)

    data = data_of(page(traced(main)))

    assert data["lanes"] == [["Task-1 main", "task"], ["callbacks", "callbacks"]]
    assert [(at, about, inside) for at, about, _, inside, *_ in data["events"]] == [(2, 2, 1)]


def test_nothing_in_a_name_or_a_message_can_end_the_script(page):
    evil = "</script><script>alert(1)</script>"

    async def main():
        virtualloop.note(evil)
        await asyncio.create_task(asyncio.sleep(0), name=evil)

    text = page(traced(main))

    assert evil not in text
    assert text.count("</script>") == 2
    assert [evil, "task"] in data_of(text)["lanes"]


def test_a_page_of_nothing(page):
    text = page(Trace())

    assert data_of(text)["steps"] == []
    assert "no loop yet" in text


def test_an_event_after_the_last_step_is_at_the_end(page):
    trace = Trace()

    class Interrupt(Always):
        def choose(self, n, kind):
            if kind == "late":
                virtualloop.note("out of any step")
            return 0

    with opened(schedule=Interrupt(0), order="timing", trace=trace) as loop:
        task = loop.create_task(asyncio.sleep(1))
        loop.call_later(1.01, int)
        loop.advance(1.005)
        loop.run_until_complete(task)
    data = data_of(page(trace))

    assert all(0 <= at <= len(data["steps"]) for at, *_ in data["events"])


def test_a_timer_that_is_late_marks_the_task_that_it_resumes(page):
    class HoldsTheFirst:
        asked = 0

        def choose(self, n, kind):
            self.asked += kind == "hold"
            return HELD if kind == "hold" and self.asked == 1 else int(kind in ("late", "release"))

    data = data_of(page(traced(two_of_us, schedule=HoldsTheFirst(), order="io")))
    late = [(shown(data)[about][0], about - at) for at, about, *_, words in data["events"] if "fires 5 ms" in words]

    assert late == [("ann", 1)]  # Bob comes first.


def test_what_arrives_late_over_the_network_marks_the_task_that_reads_it(page):
    async def main():
        network = asyncio.get_running_loop().network

        async def read(reader, writer):
            asyncio.current_task().set_name("reader")
            await reader.read()
            writer.close()

        async def tick():
            await asyncio.sleep(1)
            for _ in range(5):
                await asyncio.sleep(0.001)

        with network.host("shop"):
            server = await asyncio.start_server(read, port=80)
        asyncio.create_task(tick(), name="ticker")
        _, writer = await asyncio.open_connection("shop", 80)
        await asyncio.sleep(1)
        writer.write(b"hello")
        writer.close()
        await asyncio.sleep(1)
        server.close()

    class HoldsOne:
        def __init__(self, number):
            self.left = number

        def choose(self, n, kind):
            self.left -= kind == "hold"
            return int(kind == "release" or (kind == "hold" and self.left == 0))

    marked = set()
    for number in range(1, 20):
        network = Network(hosts=["shop"], latency=0.001)
        data = data_of(page(traced(main, schedule=HoldsOne(number), order="io", network=network)))
        marked |= {shown(data)[about][0] for _, about, *_, words in data["events"] if words.startswith("what ")}

    assert marked == {"reader"}


def test_the_page_can_be_written_to_any_path(tmp_path):
    trace = traced(two_of_us)
    trace.to_html(str(tmp_path / "as string.html"))
    trace.to_html(tmp_path / "as path.html")

    assert (tmp_path / "as string.html").read_bytes() == (tmp_path / "as path.html").read_bytes()
    for write in (trace.to_html, trace.to_perfetto):
        with pytest.raises(TypeError, match=r"^path must be a string or a path, not 7$"):
            write(7)
    with pytest.raises(FileNotFoundError):
        trace.to_html(tmp_path / "missing" / "run.html")


def test_the_same_run_is_the_same_files_in_every_process(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + "\n    trace.to_html(sys.argv[1])\n    trace.to_perfetto(sys.argv[2])\n")
    for seed in "123":
        subprocess.run(
            [sys.executable, program, tmp_path / f"{seed}.html", tmp_path / f"{seed}.json"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PADDING": "x" * 1000 * int(seed)},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    for kind in ("html", "json"):
        assert len({(tmp_path / f"{seed}.{kind}").read_bytes() for seed in "123"}) == 1


def failed(main, **options):
    """Return what the page of a failure has: as explore() writes it, with a report."""
    trace = Trace()
    with opened(trace=trace, **options) as loop:
        with pytest.raises((LookupError, DeadlockError)):
            loop.run_until_complete(loop.create_task(main()))
        recorder_of(trace).has_failed()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    return page_of(trace, report="what <happened>\nand then", replay="replay 'it'")


async def fails():
    async def forever():
        await asyncio.Event().wait()

    asyncio.create_task(forever(), name="forever")
    await asyncio.sleep(1)
    raise LookupError


async def hangs():
    locks = [asyncio.Lock(), asyncio.Lock()]

    async def work(first, second):
        async with locks[first]:
            await asyncio.sleep(1)
            async with locks[second]:
                pass

    await asyncio.gather(asyncio.create_task(work(0, 1), name="one"), asyncio.create_task(work(1, 0), name="two"))


def test_a_failure_is_what_the_page_opens_on():
    text = failed(fails)
    data = data_of(text)
    (failing,) = data["failing"]

    assert shown(data)[failing] == ("Task-1 fails", "wakes up; raises LookupError")
    assert (data["end"], data["failed"], data["hangs"]) == (3, 1_000_000, False)
    # What came after that is there, too: it cleans up.
    assert shown(data)[3][0] == "forever"
    assert data["report"] == "what <happened>\nand then"
    assert data["replay"] == "replay 'it'"
    assert "<happened>" not in text


def test_where_it_hangs_and_for_what():
    data = data_of(failed(hangs))
    waits = {shown(data)[k][0]: data["texts"][data["steps"][k][8]] for k in data["failing"]}

    assert data["hangs"] is True
    assert waits == {
        "Task-1 hangs": "gather()",
        "one": "locks[second]: Lock.acquire()",
        "two": "locks[second]: Lock.acquire()",
    }


def test_a_run_without_a_failure_has_none(page):
    data = data_of(page(traced(two_of_us)))

    assert (data["failing"], data["end"], data["hangs"], data["report"]) == ([], -1, False, "")


def test_what_is_awaited_is_told_as_it_is_written(page):
    async def main():
        queue = asyncio.Queue()
        asyncio.get_running_loop().call_later(1, queue.put_nowait, 1)
        await queue.get()
        task = asyncio.create_task(asyncio.sleep(1), name="sleeper")
        await task

    data = data_of(page(traced(main)))
    rests = [data["texts"][step[8]] for step in data["steps"] if data["lanes"][step[1]][0] == "Task-1 main"]

    assert rests == ["queue.get()", "task sleeper", ""]


def test_tasks_of_libraries_come_last(page, tmp_path, monkeypatch):
    folder = tmp_path / "site-packages" / "pool"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(
        "import asyncio\n\nasync def keep():\n    for _ in range(3):\n        await asyncio.sleep(1)\n\n"
        "async def call(function):\n    await asyncio.sleep(1)\n    await function()\n"
    )
    monkeypatch.syspath_prepend(folder.parent)
    pool = importlib.import_module("pool")

    async def mine():
        await asyncio.sleep(1)

    async def main():
        keeper = asyncio.create_task(pool.keep(), name="keeper")
        await asyncio.create_task(pool.call(mine), name="calls back")
        await pool.call(mine)
        await keeper

    trace = traced(main)
    data = data_of(page(trace))

    # One that comes to the reader's code is the reader's.
    assert data["lanes"] == [["Task-1 main", "task"], ["calls back", "task"], ["keeper", "library pool"]]
    # What the reader calls of a library is an operation, at the reader's own line.
    (waits,) = [line for line in trace.lines() if "waits for call()" in line]
    assert "test_html.py:" in waits


def test_a_long_run_stays_small(page):
    """Ten thousand steps are read by a browser in no time: what is said again and again is there once."""

    async def main():
        async def work():
            for _ in range(1000):
                await asyncio.sleep(0.01)

        await asyncio.gather(*[work() for _ in range(10)])

    trace = Trace()
    run(main, trace=trace)
    text = page(trace)

    assert len(data_of(text)["steps"]) > 10_000
    assert len(text) < 1_000_000
