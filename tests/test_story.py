"""What a failure says of itself, to the letter."""

# ruff: noqa: E501  # what is printed is as wide as it is

import asyncio
import re

import pytest

import virtualloop
from virtualloop import explore, explored


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
virtualloop: stock asyncio can do this if what is late stands for I/O: the timer of one (test_story.py:4) comes in after later ones (order 'io').
  0.000  Task-1  starts; creates one and two; waits for gather()  test_story.py:8
  0.000  one  starts, created by Task-1; sleeps 10 ms  test_story.py:4
  0.000  two  starts, created by Task-1; sleeps 10 ms  test_story.py:4
  0.010  two  wakes up; ends  test_story.py:4
* 0.010  the timer of one (test_story.py:4) comes in after later ones
  0.010  one  wakes up; wakes Task-1; ends  test_story.py:4
  0.010  Task-1  woken by one; raises AssertionError: ['second', 'first']  test_story.py:8 -> 10
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


def test_a_reply_that_does_not_come_in_any_more():
    assert (
        story(no_reply)
        == """\
virtualloop: stock asyncio can do this if what is late stands for I/O: the timer of reply (test_story.py:2) is late, and does not come in any more (order 'io').
  0.000  Task-1  starts; creates reply; yields  test_story.py:5
  0.000  reply  starts, created by Task-1; sleeps  test_story.py:2
  0.000  Task-1  goes on; waits for wait()  test_story.py:5 -> 6
* 0.010  the timer of reply (test_story.py:2) is late, and does not come in any more
  0.040  Task-1  timed out; raises AssertionError: no reply in 40 ms  test_story.py:6 -> 8
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
virtualloop: stock asyncio can do this: the callbacks before took 40 ms, and the timer of Task-1 (test_story.py:2) is due already (order 'timing').
  0.000  Task-1  starts; creates request; sleeps 40 ms  test_story.py:2
* 0.040  the callbacks before took 40 ms, and the timer of Task-1 (test_story.py:2) is due already
  0.040  request  starts, created by Task-1; sleeps
  0.040  Task-1  wakes up; raises AssertionError  test_story.py:2 -> 4
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
virtualloop: this needs a wake-up order that asyncio does not produce today: two resumes before one (order 'tasks').
  0.000  Task-1  starts; creates one and two; waits for gather()  test_story.py:8
  0.000  one  starts, created by Task-1; yields  test_story.py:4
  0.000  two  starts, created by Task-1; yields  test_story.py:4
* 0.000  two resumes before one
  0.000  two  goes on; ends  test_story.py:4
  0.000  one  goes on; wakes Task-1; ends  test_story.py:4
  0.000  Task-1  woken by one; raises AssertionError: [2, 1]  test_story.py:8 -> 10
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
  0.000  Task-1  starts; sleeps 1 s  test_story.py:2
  0.000  note: here
  1.000  Task-1  wakes up; raises LookupError: always  test_story.py:2 -> 3
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
virtualloop: stock asyncio can do this, in its own order: user is cancelled while it waits (order 'fifo').
  0.000  Task-1  starts; creates user; waits for wait()  test_story.py:9
  0.000  user  starts, created by Task-1; sleeps  test_story.py:6
* 0.000  user is cancelled while it waits
  0.000  user  cancelled from outside; wakes Task-1; ends, cancelled  test_story.py:6
  0.000  Task-1  woken by user; raises AssertionError  test_story.py:9 -> 11
"""
    )


async def wrong_choice():
    if virtualloop.choose(["answer", "error"]) != "answer":
        raise AssertionError


def test_a_choice_of_the_tests_own():
    assert (
        story(wrong_choice)
        == """\
virtualloop: stock asyncio can do this, in its own order: choose() returns 'error' at test_story.py:1 (order 'fifo').
  0.000  Task-1  starts; raises AssertionError  test_story.py:2
* 0.000  choose() returns 'error' at test_story.py:1
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

    assert len(lines) <= 40
    assert [line for line in lines if line.startswith("*")]
    assert lines[1] == "  ..."


async def long_wrong():
    for _ in range(100):
        await asyncio.sleep(0.001)
    raise LookupError


def test_of_a_long_run_without_deviations_the_end():
    lines = story(long_wrong).splitlines()

    assert len(lines) <= 40
    assert lines[1] == "  ..."
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
    with pytest.raises(AssertionError) as raised:
        explored(stale_reply)()
    explore(overtaken, order="tasks", check=False)

    texts = sorted(folder.glob("*.txt"))
    assert [path.name.partition("-")[0] for path in texts] == ["overtaken", "stale_reply"]
    text = texts[1].read_text()
    assert text.startswith("AssertionError")
    assert "Beside the nearest run that passes:" in text
    *story, written, _ = raised.value.__notes__[-1].splitlines()
    assert "\n".join(story) in text
    page = texts[1].with_suffix(".html").read_text()
    assert "<title>stale_reply: AssertionError: " in page
    assert written == f"All of it: {texts[1]}, and {texts[1].stem}.html beside it"


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


def test_odd_names_and_texts_are_written(tmp_path, monkeypatch):
    async def main():
        raise LookupError("\udcff")

    main.__qualname__ = "x" * 300
    monkeypatch.setenv("VIRTUALLOOP_REPORT_DIR", str(tmp_path))
    explore(main, check=False)

    assert len(list(tmp_path.iterdir())) == 2
