"""The file for Perfetto keeps to the rules of its format."""

import asyncio
import json
from collections import Counter, defaultdict
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

import virtualloop
from helpers import LEVELS
from test_trace import over_the_network, traced, two_of_us
from virtualloop import Network, Trace

#: Of each phase: the fields that an event has to have, and their types; it may have "args" and "cat" as well.
NUMBER = (int, float)
COMMON = {"name": str, "ph": str, "pid": int, "tid": int}
PHASES = {
    "M": COMMON | {"args": dict},
    "X": COMMON | {"ts": NUMBER, "dur": NUMBER, "cat": str},
    "s": COMMON | {"ts": NUMBER, "id": int, "cat": str},
    "f": COMMON | {"ts": NUMBER, "id": int, "cat": str, "bp": str},
    "i": COMMON | {"ts": NUMBER, "s": str, "cat": str},
}


def written(trace, tmp_path):
    trace.to_perfetto(tmp_path / "run.json")
    return json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))


def check(document):
    """Assert the rules of the format."""
    assert document.keys() == {"displayTimeUnit", "otherData", "traceEvents"}
    assert document["displayTimeUnit"] in ("ms", "ns")
    events = document["traceEvents"]
    named = {event["tid"] for event in events if event["name"] == "thread_name"} | {0}
    moments = [event["ts"] for event in events if event["ph"] != "M"]
    slices, flows = defaultdict(list), defaultdict(dict)
    for event in events:
        fields = PHASES[event["ph"]]
        for field, kind in fields.items():
            assert isinstance(event[field], kind), (event, field)
            assert not isinstance(event[field], bool)
        assert event.keys() <= fields.keys() | {"args", "cat"}, event
        assert event["tid"] in named
        if event["ph"] == "X":
            assert event["ts"] >= 0
            assert event["dur"] > 0
            slices[event["tid"]].append(event)
        elif event["ph"] in "sf":
            assert event["ph"] not in flows[event["id"]], "a flow begins and ends once"
            flows[event["id"]][event["ph"]] = event
        elif event["ph"] == "i":
            assert event["s"] in "gpt"
        elif event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name", "thread_sort_index")

    assert moments == sorted(moments), "in the order of time"
    for lane in slices.values():
        for before, after in pairwise(lane):
            assert before["ts"] + before["dur"] <= after["ts"] + 1e-6, "slices of a lane do not overlap"
    for flow in flows.values():
        assert flow.keys() == {"s", "f"}, "flows are balanced"
        assert flow["s"]["ts"] <= flow["f"]["ts"]
        assert flow["s"]["name"] == flow["f"]["name"]
        for end in flow.values():
            inside = [
                each
                for each in slices[end["tid"]]
                if each["cat"] == "step" and each["ts"] <= end["ts"] < each["ts"] + each["dur"]
            ]
            assert len(inside) == 1, "an arrow is bound to a step"
    return events


def test_a_run(tmp_path):
    events = check(written(traced(two_of_us), tmp_path))
    lanes = {event["args"]["name"]: event["tid"] for event in events if event["name"] == "thread_name"}
    of_bob = [event["name"] for event in events if event["tid"] == lanes["bob"] and event["ph"] == "X"]

    assert list(lanes) == ["Task-1 two_of_us", "ann", "bob"]
    assert of_bob == [
        "starts, created by Task-1",
        "sleeps 15 ms",
        "wakes up",
        "Lock.acquire()",
        "woken by ann",
        "sleeps 20 ms",
        "wakes up",
    ]
    assert Counter(event["name"] for event in events if event["ph"] == "s") == {"creates": 2, "wakes": 2}
    assert [event["ts"] for event in events if event["name"] == "note: has the lock"] == [10_000, 30_001]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(LEVELS))
def test_any_run(tmp_path_factory, seed, order):
    async def main():
        async def work(i):
            virtualloop.note(virtualloop.choose("abc"))
            await asyncio.sleep(1e-6 * (i % 5))
            for _ in range(i % 4):
                await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(int)
            if i == 3:
                raise LookupError

        try:
            async with asyncio.TaskGroup() as group:
                for i in range(6):
                    group.create_task(work(i))
                group.create_task(asyncio.sleep(10))
        except* LookupError:
            virtualloop.note("over")

    check(written(traced(main, seed, order=order), tmp_path_factory.mktemp("trace")))


def test_hosts_are_processes(tmp_path):
    network = Network(hosts=["home", "shop"], latency=0.001)
    events = check(written(traced(over_the_network, network=network), tmp_path))
    processes = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    tasks = {event["args"]["name"]: processes[event["pid"]] for event in events if event["name"] == "thread_name"}

    assert tasks["client"] == "home"
    assert tasks["server"] == "shop"


def test_many_steps_at_one_instant(tmp_path):
    async def main():
        async def spin():
            for _ in range(20):
                await asyncio.sleep(0)

        await asyncio.gather(*[spin() for _ in range(40)])
        await asyncio.sleep(1e-6)

    events = check(written(traced(main, start=1.8e9), tmp_path))

    assert max(event["ts"] for event in events if event["ph"] == "X") <= 3


def test_a_run_of_nothing(tmp_path):
    assert [event["ph"] for event in check(written(Trace(), tmp_path))] == ["M"]


def test_what_still_waits_at_the_end_waits_until_the_end(tmp_path):
    trace = Trace()
    loop = virtualloop.VirtualLoop(trace=trace)
    task = loop.create_task(asyncio.sleep(100), name="waits")
    loop.call_later(5, int)
    loop.advance(10)
    events = check(written(trace, tmp_path))
    task.cancel()
    loop.run_until_idle()
    loop.close()

    (wait,) = [event for event in events if event.get("cat") == "wait"]
    assert (wait["name"], wait["dur"]) == ("sleeps", 5_000_000.2)
