"""What `time` and `datetime` say in a world, without a loop."""

import contextlib
import copy
import datetime
import operator
import pickle
import sys
import threading
import time
import warnings
from datetime import datetime as datetime_of_import
from time import monotonic as monotonic_of_import

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualloop._core.clock import TICKS_PER_SECOND, LateClock
from virtualloop._world import patches, shares
from virtualloop._world.clocks import READINGS, LoopReader, epoch_in_ticks, wall_here
from virtualloop._world.shares import Share

EPOCH = 1_800_000_000 * TICKS_PER_SECOND


class NobodyElse:
    """What a step of the loop lets time pass by, where it is alone."""

    def __init__(self, clock):
        self._clock = clock

    def pass_until(self, tick):
        self._clock.move(tick)


@contextlib.contextmanager
def world(epoch=EPOCH, start=0.0, step=lambda: "a step"):
    """Make this thread one of a world; give its clock."""
    clock = LateClock(start)
    reader = LoopReader(clock, epoch - clock.tick, NobodyElse(clock), step)
    with patches.in_place():
        before = shares.enter(Share(reader, None))
        try:
            yield clock
        finally:
            shares.leave(before)


class Derived(datetime.datetime):
    pass


class DerivedDate(datetime.date):
    pass


def test_all_clocks_agree():
    with world() as clock:
        clock.move(clock.tick + 5 * TICKS_PER_SECOND)
        ticks = 5 * TICKS_PER_SECOND + 1
        at = 1_800_000_005.000001
        utc = datetime.datetime(2027, 1, 15, 8, 0, 5, 1, tzinfo=datetime.UTC)
        assert clock.tick == ticks
        assert time.monotonic() == time.perf_counter() == monotonic_of_import() == clock.seconds == 5.000001
        assert time.monotonic_ns() == time.perf_counter_ns() == ticks * 1000
        assert time.time() == at
        assert time.time_ns() == (EPOCH + ticks) * 1000
        assert time.clock_gettime(time.CLOCK_MONOTONIC) == 5.000001
        assert time.clock_gettime_ns(time.CLOCK_MONOTONIC) == ticks * 1000
        assert time.clock_gettime(time.CLOCK_REALTIME) == at
        assert time.clock_gettime_ns(time.CLOCK_REALTIME) == (EPOCH + ticks) * 1000
        assert time.gmtime() == time.gmtime(None) == time.gmtime(at) and time.gmtime()[:6] == (2027, 1, 15, 8, 0, 5)
        assert time.localtime() == time.localtime(at) and type(time.localtime()) is time.struct_time
        assert time.ctime() == time.ctime(None) == time.asctime() == time.asctime(time.localtime(at))
        assert time.strftime("%Y %H %M %S %Z") == time.strftime("%Y %H %M %S %Z", time.localtime(at))
        assert datetime.datetime.now(datetime.UTC) == datetime_of_import.now(tz=datetime.UTC) == utc
        assert datetime.datetime.now() == datetime.datetime.today() == utc.astimezone().replace(tzinfo=None)
        assert datetime.date.today() == datetime.date.fromtimestamp(at)


def test_what_is_asked_of_a_moment_is_answered_as_ever():
    with world():
        assert time.gmtime(0)[:3] == (1970, 1, 1)
        assert time.strftime("%Y", time.gmtime(0)) == "1970"
        assert time.asctime(time.gmtime(0)) == "Thu Jan  1 00:00:00 1970"
        assert abs(time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID) - time.process_time()) < 1
        for function, wrong in [(time.sleep, "1"), (time.gmtime, "1"), (time.asctime, None), (time.strftime, 1)]:
            with pytest.raises(TypeError):
                function(wrong)
        for wrong in (-1, float("nan")):
            with pytest.raises(ValueError, match=r"sleep length|NaN"):
                time.sleep(wrong)
        with pytest.raises(OverflowError):
            time.sleep(1e300)


def test_what_is_returned_is_of_the_stock_type():
    with world():
        now = datetime.datetime.now()
        assert type(now) is datetime.datetime and type(datetime.date.today()) is datetime.date
        assert type(Derived.now()) is type(Derived.today()) is type(Derived.now(datetime.UTC)) is Derived
        assert type(DerivedDate.today()) is DerivedDate
        assert isinstance(now, datetime.date) and issubclass(Derived, datetime.date)
        assert pickle.loads(pickle.dumps(now)) == copy.deepcopy(now) == now
        assert datetime.datetime.fromisoformat(now.isoformat()) == now
        made = type("Made", (datetime.datetime,), {})
        assert type(made.now()) is made and isinstance(made.now(), datetime.datetime)
    assert type(made.now()) is made and abs((made.now() - datetime.datetime.now()).total_seconds()) < 60
    assert isinstance(now, datetime.datetime)


def test_utcnow_warns_where_python_does():
    def ask():
        return datetime.datetime.utcnow()

    with warnings.catch_warnings(record=True) as plain:
        warnings.simplefilter("always")
        ask()
    with world() as clock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clock.move(10 * TICKS_PER_SECOND)
        assert ask() == datetime.datetime(2027, 1, 15, 8, 0, 10, 1)
    assert [(str(w.message), w.category, w.filename, w.lineno) for w in caught] == [
        (str(w.message), w.category, w.filename, w.lineno) for w in plain
    ]
    assert len(plain) == (sys.version_info >= (3, 12))


def test_the_functions_are_pickled_by_name():
    with world():
        pickled = pickle.dumps([time.monotonic, time.sleep])
        assert pickle.loads(pickled) == [time.monotonic, time.sleep]
    assert pickle.loads(pickled) == [time.monotonic, time.sleep]
    assert time.monotonic is monotonic_of_import is not None and type(time.monotonic) is type(len)


def test_nobody_elses_thread_is_touched():
    seen = []
    go, done = threading.Event(), threading.Event()

    def bystander():
        go.wait()
        seen.extend([time.time(), time.monotonic(), datetime.datetime.now().timestamp(), time.mktime(time.localtime())])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            seen.append(datetime.datetime.utcnow().replace(tzinfo=datetime.UTC).timestamp())
        seen.append(datetime.datetime.fromordinal(datetime.date.today().toordinal()).timestamp() + 86400)
        done.set()

    thread = threading.Thread(target=bystander)
    thread.start()
    before = time.time(), time.monotonic()
    with world(epoch=0):
        go.set()
        done.wait()
    thread.join()

    assert before[0] <= seen[0] <= time.time() and before[1] <= seen[1] <= time.monotonic()
    assert before[0] - 1 <= seen[2] <= time.time() and before[0] - 2 <= seen[3] <= time.time()
    assert before[0] - 1 <= seen[4] <= time.time() and before[0] - 1 <= seen[5] <= time.time() + 2 * 86400


@pytest.mark.parametrize(
    "name", ["_pytest.runner", "hypothesis.core", "coverage.sqldata", "pdb", "unittest.case", "xdist"]
)
def test_frameworks_keep_the_real_clock(name):
    code = compile(
        "import time, datetime\ndef ask(): return time.time(), datetime.datetime.now().timestamp()", name, "exec"
    )
    framework, other = {"__name__": name}, {"__name__": "pdbs"}
    exec(code, framework)
    exec(code, other)
    with world(epoch=0):
        assert all(seconds > 1_700_000_000 for seconds in framework["ask"]())
        assert all(seconds < 1 for seconds in other["ask"]())


def test_a_sleep_moves_the_clock():
    with world() as clock:
        time.sleep(5)
        assert 5 < time.monotonic() <= 5.000001
        time.sleep(0)
        assert clock.tick == 5 * TICKS_PER_SECOND + 1
        time.sleep(1e-9)
        time.sleep(True)
        assert clock.tick > 6 * TICKS_PER_SECOND


def test_a_loop_that_only_reads_the_clock_ends():
    with world():
        polls, end = 0, time.monotonic() + 1
        while time.monotonic() < end:
            polls += 1
        assert READINGS < polls < READINGS + 1100
        ends = datetime.datetime.now() + datetime.timedelta(seconds=1)
        while datetime.datetime.now() < ends:
            polls += 1
        assert polls < READINGS + 2200


def test_many_readings_in_many_steps_cost_no_time():
    step = 0

    def step_now():
        return step // 500

    with world(step=step_now) as clock:
        for step in range(3 * READINGS):  # noqa: B007  # step_now() reads it
            time.time()
        assert clock.tick == 0


def test_what_has_kept_a_stand_in_has_the_real_clock_afterwards():
    with world(epoch=0):
        kept = [time.time]
    assert kept[0]() > 1_700_000_000
    assert kept[0] is not time.time


def test_readings():
    with patches.in_place():  # not anew in each example
        check_readings()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("sleep"), st.floats(0, 1e5)),
            st.tuples(st.just("jump"), st.integers(0, 10**11)),
            st.tuples(st.just("read"), st.just(0)),
        )
    ),
    st.sampled_from([0.0, 1.0, 1.8e9]),
)
def check_readings(script, start):
    """They never go back, never lie before the loop's instant, agree, and no sleep is shorter than it should be."""

    def readings():
        utc = datetime.datetime.now(datetime.UTC) - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        nanoseconds = time.monotonic_ns(), time.perf_counter_ns(), time.time_ns()
        seconds = time.monotonic(), time.perf_counter(), time.time()
        return (*seconds, *(ns / 1e9 for ns in nanoseconds), utc.total_seconds())

    with world(start=start) as clock:
        last, began = readings(), readings()
        jumps = 0
        for what, amount in script:
            if what == "sleep":
                time.sleep(amount)
                jumps += amount > 0
                # By every clock, in floats, as programs compare them.
                assert all(now - then >= amount for now, then in zip(readings(), last, strict=True))
                assert all(now - then <= amount + 5e-6 for now, then in zip(readings(), last, strict=True))
            elif what == "jump":
                clock.move(clock.tick + amount)
            now = readings()
            assert all(map(operator.ge, now, last))
            assert now[0] == clock.seconds
            spans = [new - old for new, old in zip(now, began, strict=True)]
            assert max(spans) - min(spans) <= 2e-6
            last = now


@pytest.mark.parametrize(
    ("epoch", "ticks"),
    [
        (0, 0),
        (1.8e9, EPOCH),
        (datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC), EPOCH),
        (datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC).astimezone().replace(tzinfo=None), EPOCH),
        (datetime.datetime(9999, 12, 31, 0, 0, 0, 1, tzinfo=datetime.UTC), 253402214400000001),
    ],
)
def test_epochs(epoch, ticks):
    assert epoch_in_ticks(epoch) == ticks


@pytest.mark.parametrize("epoch", ["2027", None, True, datetime.date(2027, 1, 1)])
def test_what_is_no_epoch(epoch):
    with pytest.raises(TypeError, match="epoch must be"):
        epoch_in_ticks(epoch)


@pytest.mark.parametrize("epoch", [float("nan"), float("inf"), 1e300, -1e18])
def test_what_is_out_of_the_calendar(epoch):
    with pytest.raises(ValueError, match="epoch must be"):
        epoch_in_ticks(epoch)


def test_now_is_that_of_the_world():
    assert wall_here() > 1_700_000_000
    with world(epoch=0):
        assert wall_here() == 0


def test_every_module_is_as_before():
    def all_of_them():
        # Some count what happens; functions and classes are what could be another's.
        return {
            name: {key: value for key, value in vars(module).items() if callable(value)}
            for name, module in list(sys.modules.items())
        }

    before, classes = all_of_them(), [dict(vars(c)) for c in (datetime.datetime, datetime.date, Derived)]
    with world():
        import sched  # noqa: F401  # it takes functions of time
    after = all_of_them()
    for name, names in before.items():
        assert names.keys() == after[name].keys()
        assert all(names[key] is after[name][key] for key in names), name
    assert [dict(vars(c)) for c in (datetime.datetime, datetime.date, Derived)] == classes
    assert sys.modules["sched"]._time is time.monotonic and type(time.monotonic) is type(len)


def test_what_a_process_has_used_is_real():
    before = time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID), time.clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID)
    with world() as clock:
        clock.move(clock.tick + 10**6 * TICKS_PER_SECOND)
        used = time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID), time.clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID)

    assert before[0] <= used[0] < 10**6
    assert before[1] <= used[1] < 10**15
