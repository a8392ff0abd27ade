"""always(): who breaks it is named, whatever runs it."""

import asyncio
import re

import pytest

import virtualloop
from helpers import LEVELS, opened, run
from virtualloop import Network, VirtualLoop
from virtualloop._core import scheduler


async def three_guests():
    room = []
    virtualloop.always(lambda: len(room) <= 2, "no more than two")

    async def guest(number):
        await asyncio.sleep(number)
        room.append(number)
        await asyncio.sleep(10)
        room.remove(number)

    async with asyncio.TaskGroup() as group:
        for number in (1, 2, 3):
            group.create_task(guest(number), name=f"guest {number}")


def line_of(function, text):
    """Where a function has this text: a number of a line."""
    import inspect

    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("traced", [False, True])
def test_the_step_is_named(debug, traced):
    trace = virtualloop.Trace() if traced else None
    with (
        pytest.raises(AssertionError) as info,
        asyncio.Runner(loop_factory=lambda: VirtualLoop(trace=trace), debug=debug) as runner,
    ):
        runner.run(three_guests())

    assert str(info.value).splitlines() == [
        "always('no more than two') no longer holds at t=3, after a step of 'guest 3', which now waits at",
        f'  File "{__file__}", line {line_of(three_guests, "sleep(10)")}, in three_guests.<locals>.guest',
        "    await asyncio.sleep(10)",
        "It was stated at",
        f'  File "{__file__}", line {line_of(three_guests, "always(")}, in three_guests',
        '    virtualloop.always(lambda: len(room) <= 2, "no more than two")',
    ]
    assert isinstance(info.value, virtualloop.VirtualLoopError)
    if traced:
        assert "note: always('no more than two') no longer holds" in str(trace)


@pytest.mark.parametrize("order", LEVELS)
def test_at_every_order(order):
    with pytest.raises(AssertionError, match="after a step of 'guest 3'"):
        run(three_guests, order=order)


def test_a_step_that_ends_its_task():
    async def main():
        done = []
        virtualloop.always(lambda: not done)

        async def last():
            await asyncio.sleep(1)
            done.append(1)

        await asyncio.create_task(last(), name="last one")

    with pytest.raises(
        AssertionError, match=r"^always\(\) no longer holds at t=1, after the last step of 'last one'\n"
    ):
        run(main)


def test_a_callback():
    async def main():
        values = []
        virtualloop.always(lambda: not values)
        asyncio.get_running_loop().call_later(1, values.append, 1)
        await asyncio.sleep(5)

    with pytest.raises(AssertionError, match=r"t=1, after callback .*append"):
        run(main)


def test_a_step_that_also_fails():
    """What breaks it comes first; its own exception is where it belongs."""

    async def main():
        broken = []
        virtualloop.always(lambda: not broken)

        async def worker():
            await asyncio.sleep(1)
            broken.append(1)
            raise ValueError

        task = asyncio.create_task(worker(), name="worker")
        await asyncio.wait([task])

    with pytest.raises(AssertionError, match="the last step of 'worker'"):
        run(main)


def test_looked_at_after_the_step_in_which_it_is_stated():
    async def main():
        values = []
        virtualloop.always(lambda: values)  # not yet
        values.append(1)
        await asyncio.sleep(1)

    run(main)


def test_broken_in_the_turn_in_which_it_is_stated():
    async def main():
        values = []

        async def other():
            values.append(1)

        first = asyncio.create_task(asyncio.sleep(0))
        second = asyncio.create_task(other())
        virtualloop.always(lambda: not values)
        await asyncio.wait([first, second])

    with pytest.raises(AssertionError, match=r"after a step of|after the last step of|after the step in which"):
        run(main)


def test_until_main_ends():
    """Neither what is cancelled afterwards nor another main is looked at."""
    open_ = []

    async def main():
        virtualloop.always(lambda: len(open_) <= 1)

        async def leaves_two():
            try:
                await asyncio.sleep(100)
            finally:
                open_.extend([1, 2])

        task = asyncio.create_task(leaves_two())
        await asyncio.sleep(1)
        return task

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
        open_.extend([1, 2])
        runner.run(asyncio.sleep(1))


def test_once_broken_it_is_not_looked_at_again():
    broken = []

    async def main():
        virtualloop.always(lambda: not broken)
        try:
            await asyncio.sleep(1)
            broken.append(1)
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(1)  # while it is cancelled

    with pytest.raises(AssertionError), asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_stated_from_outside_it_holds_until_the_loop_closes():
    values = []

    def state():
        virtualloop.always(lambda: not values, "empty")

    with opened() as loop:
        loop.call_soon(state)
        loop.advance(1)
        loop.call_later(1, values.append, 1)
        with pytest.raises(AssertionError, match=r"always\('empty'\) no longer holds at t=2"):
            loop.advance(1)


def test_stated_by_a_fixture_it_holds_until_the_fixture_goes_on():
    values = []

    async def fixture():
        virtualloop.always(lambda: not values, "empty")
        yield
        values.append(1)
        await asyncio.sleep(1)

    async def test(*, breaks):
        await asyncio.sleep(1)
        if breaks:
            values.append(1)
            await asyncio.sleep(1)

    for breaks in (False, True):
        values.clear()
        with opened() as loop:
            generator = fixture()
            loop.run_until_complete(anext(generator))
            if breaks:
                with pytest.raises(AssertionError, match="empty"):
                    loop.run_until_complete(test(breaks=True))
            else:
                loop.run_until_complete(test(breaks=False))
            with pytest.raises(StopAsyncIteration):
                loop.run_until_complete(anext(generator))


def test_a_condition_that_raises():
    async def main():
        values = [1]
        virtualloop.always(lambda: values[0], "the first")
        await asyncio.sleep(1)
        values.clear()
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="always\\('the first'\\) no longer holds") as info:
        run(main)
    assert isinstance(info.value.__cause__, IndexError)


@pytest.mark.parametrize("debug", [False, True])
def test_conditions_are_cheap_and_gone_when_they_are_not_needed(monkeypatch, debug):
    bodies = []
    for name in ("_run_in_order", "_run_instrumented"):
        body = getattr(scheduler.Scheduler, name)
        monkeypatch.setattr(
            scheduler.Scheduler,
            name,
            lambda self, *args, body=body, name=name: bodies.append(name) or body(self, *args),
        )

    async def main():
        seen = []
        asyncio.get_running_loop().call_later(1, seen.append, 1)
        await asyncio.sleep(0.5)
        await virtualloop.until(lambda: seen)
        await asyncio.sleep(1)

    run(main)
    assert bodies[:3] == ["_run_in_order", "_run_instrumented", "_run_in_order"]


# --- in explorations --------------------------------------------------------------------------------------------------


async def double_booking():
    """Two who want the last seat: each looks, waits, and takes it."""
    seats = 1
    taken = []
    virtualloop.always(lambda: len(taken) <= seats, "no seat is sold twice")

    async def buyer(name, start):
        await asyncio.sleep(start)
        if len(taken) < seats:
            await asyncio.sleep(0.01)
            taken.append(name)
            await asyncio.sleep(1)
            if len(taken) > seats:
                taken.remove(name)  # at the end, nobody would know

    await asyncio.gather(
        asyncio.create_task(buyer("Ann", 0), name="Ann"), asyncio.create_task(buyer("Bob", 0.03), name="Bob")
    )


def test_it_is_explored_shrunk_and_told_like_any_failure():
    found = virtualloop.explore(double_booking, check=False)

    assert found.failure.level in ("timing", "io")
    text = str(found.failure.exception)
    assert text.startswith("always('no seat is sold twice') no longer holds at t=0.0")
    report = found.failure.report
    assert len(report.splitlines()) <= 40
    assert "no seat is sold twice" in report
    assert re.search(r"^Replay it: ", report, re.MULTILINE)
    again = virtualloop.explore(double_booking, replay=found.failure.token, check=False)
    assert str(again.failure.exception) == text
    # What brings it about as well is found by a search, and not by making one run again.
    assert again.failure.report == re.sub(r"^ *Likewise .*\n", "", report, flags=re.MULTILINE)


def test_what_is_raised_shows_the_program():
    with pytest.raises(AssertionError, match="no seat is sold twice") as info:
        virtualloop.explore(double_booking)
    assert any("virtualloop: " in note for note in info.value.__notes__)


def test_two_properties_are_two_failures():
    async def main():
        late = []
        virtualloop.always(lambda: len(late) < 1, "nobody is late")
        virtualloop.always(lambda: len(late) < 2, "no two are late")

        async def one(start):
            loop = asyncio.get_running_loop()
            began = loop.time()
            await asyncio.sleep(start)
            if loop.time() > began + start:
                late.append(start)

        await asyncio.gather(one(0.1), one(0.12), one(0.14))

    assert "nobody is late" in str(virtualloop.explore(main, check=False).failure.exception)


def test_on_hosts_that_crash():
    async def main():
        network = asyncio.get_running_loop().network
        up = set()

        async def service(name):
            virtualloop.always(lambda: len(up) <= 1, "only one of them")
            up.add(name)
            await asyncio.sleep(1000)

        def start(name):
            with network.host(name):
                asyncio.create_task(service(name), name=name)

        start("a")
        await asyncio.sleep(1)
        network.host("a").crash()
        up.discard("a")
        start("b")
        await asyncio.sleep(1)
        network.host("a").restart()
        start("a")
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match=r"'only one of them'\) no longer holds at t=2, after a step of 'a'"):
        run(main, network=Network(hosts=["a", "b"]))


def test_by_a_message():
    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            seen.append(data)

    seen = []

    async def main():
        virtualloop.always(lambda: not seen)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 7000))
        transport.sendto(b"hello", ("127.0.0.1", 7000))
        try:
            await asyncio.sleep(1)
        finally:
            transport.close()

    with pytest.raises(AssertionError) as info:
        run(main)
    lines = str(info.value).splitlines()
    assert lines[0].endswith("at t=0, after callback test_by_a_message.<locals>.Protocol.datagram_received()")
    assert lines[2].strip() == "def datagram_received(self, data, address):"


# --- elsewhere --------------------------------------------------------------------------------------------------------


def test_elsewhere_it_does_nothing():
    virtualloop.always(lambda: False)

    async def main():
        virtualloop.always(lambda: False)
        await asyncio.sleep(0)

    asyncio.run(main())


def test_arguments_are_checked():
    async def condition():
        return True

    for wrong in (True, condition):
        with pytest.raises(TypeError, match="condition must be a plain function without arguments"):
            virtualloop.always(wrong)
    with pytest.raises(TypeError, match="text must be a string, not 3"):
        virtualloop.always(lambda: True, 3)


def test_an_unclosed_loop_with_conditions_is_collected_at_once():
    import gc
    import weakref

    async def main():
        virtualloop.always(lambda: True)
        await virtualloop.until(lambda: True)
        await asyncio.sleep(1)

    gc.collect()
    gc.disable()
    try:
        loop = VirtualLoop()
        loop.run_until_complete(main())
        reference = weakref.ref(loop)
        with pytest.warns(ResourceWarning, match="unclosed event loop"):
            del loop
        assert reference() is None
    finally:
        gc.enable()


def test_what_is_stated_outside_of_a_main_holds_for_all_that_come():
    broken = []

    async def main(breaks):
        virtualloop.always(lambda: len(broken) < 5, "this main's own")
        await asyncio.sleep(1)
        broken.extend([1] * breaks)
        await asyncio.sleep(1)

    with opened() as loop:
        loop.call_soon(lambda: virtualloop.always(lambda: not broken, "for good"))
        loop.run_until_idle()
        loop.run_until_complete(main(0))
        with pytest.raises(AssertionError, match=r"^always\('for good'\) no longer holds at t=3, after a step of"):
            loop.run_until_complete(main(1))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_idle()


def test_who_broke_it_in_the_turn_in_which_it_was_stated_is_not_known():
    async def main():
        loop = asyncio.get_running_loop()
        done = []
        loop.call_soon(lambda: virtualloop.always(lambda: not done, "not done"))
        loop.call_soon(done.append, 1)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError) as info:
        run(main)

    first, stated, *_ = str(info.value).splitlines()
    assert first.endswith(", after the step in which it was stated, or one that was queued by then")
    assert stated == "It was stated at"


@pytest.mark.parametrize("program", [run, virtualloop.explore])
@pytest.mark.parametrize("order", LEVELS)
def test_what_breaks_in_the_turn_in_which_it_is_stated_is_told_at_its_instant(order, program):
    async def main():
        room = []
        await asyncio.sleep(1)
        virtualloop.always(lambda: not room, "nobody")
        room.append("guest")
        await asyncio.sleep(5)

    with pytest.raises(AssertionError, match=r"always\('nobody'\) no longer holds at t=1, after "):
        program(main, order=order, patch_time=False)


def test_until_goes_on_at_the_instant_in_which_its_condition_came_true():
    room = []

    async def guest():
        room.append("guest")

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(5, room.append, "another one")
        asyncio.create_task(waits())
        asyncio.create_task(guest())
        await asyncio.sleep(9)

    async def waits():
        await virtualloop.until(lambda: room)
        went_on.append(asyncio.get_running_loop().time())

    went_on = []
    run(main)
    assert went_on == [0.0]
