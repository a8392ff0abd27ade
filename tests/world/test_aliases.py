"""What stands in for a function stands wherever the function is known, and is gone afterwards."""

import dataclasses
import functools
import gc
import operator
import sys
import time
import types

import pytest

from virtualloop._world import aliases
from virtualloop._world.aliases import Substitution


class StandIn:
    def sleep(self, seconds, /):
        return f"slept {seconds}"


stand_in = StandIn().sleep
real = time.sleep
#: The same in a list, out of reach.
KEPT = [stand_in, real]


@pytest.fixture(autouse=True)
def the_name_stays():
    """This module's own names for the two are such places as well."""
    yield
    globals().update(stand_in=KEPT[0], real=KEPT[1])


class Binds:
    now = time.sleep
    static = staticmethod(time.sleep)


class Slotted:
    __slots__ = ("own",)


@pytest.fixture
def substitution():
    substitution = Substitution([(real, stand_in)])
    yield substitution
    assert time.sleep is real


def module_with(**names):
    module = types.ModuleType("somebodys_module")
    vars(module).update(names, __builtins__={})
    return module


def positional(sleep=time.sleep):
    return sleep(1)


def keyword(*, other=len, sleep=time.sleep):
    return sleep(1)


def closure():
    sleep = time.sleep
    return lambda: sleep(1)


def closure_of(function):
    return lambda: function


def slotted_with(function):
    slotted = Slotted()
    slotted.own = function
    return slotted


def test_wherever_python_can_see_it(substitution):
    module = module_with(sleep=time.sleep)
    plain = {"sleep": time.sleep}
    instance, slotted = Binds(), Slotted()
    instance.first, instance.second = "other", "things"
    instance.own = slotted.own = time.sleep
    nameless = type("Nameless", (), {"__module__": None, "now": time.sleep, "other": len})
    enclosing = closure()
    as_function = functools.partial(time.sleep, 1)
    as_argument = functools.partial(lambda sleep, then: sleep(then), time.sleep, then=1)
    places = [
        lambda: time.sleep(1),
        lambda: module.sleep(1),
        lambda: plain["sleep"](1),
        lambda: Binds.now(1),
        lambda: Binds().now(1),
        lambda: Binds.static(1),
        lambda: instance.own(1),
        lambda: slotted.own(1),
        lambda: nameless.now(1),
        positional,
        keyword,
        enclosing,
        as_function,
        as_argument,
    ]
    objects = (module.__dict__, plain, vars(Binds), vars(instance), positional.__defaults__, keyword.__kwdefaults__)
    before = [dict(o) if isinstance(o, dict | types.MappingProxyType) else o for o in objects]

    substitution.hold()
    seen = [place() for place in places]
    substitution.release()
    after = (module.__dict__, plain, vars(Binds), vars(instance), positional.__defaults__, keyword.__kwdefaults__)

    assert seen == ["slept 1"] * len(places)
    assert [dict(o) if isinstance(o, dict | types.MappingProxyType) else o for o in after] == before
    assert vars(Binds)["static"] is before[2]["static"] and positional.__defaults__ is before[4]
    assert slotted.own is real and as_function.func is real and as_argument.args[0] is real
    assert enclosing.__closure__[0].cell_contents is real


def test_what_was_bound_meanwhile_is_given_back(substitution):
    substitution.hold()
    later = module_with(sleep=time.sleep)
    made = type("Made", (), {"sleep": time.sleep, "static": staticmethod(time.sleep)})
    kept = made()
    kept.own = time.sleep

    def bound(sleep=time.sleep):
        return sleep

    partial, about = functools.partial(time.sleep, 0), functools.partial(len)
    about.of = time.sleep
    assert about.of is stand_in
    assert later.sleep is made.sleep is kept.sleep is kept.own is bound() is partial.func is stand_in
    substitution.release()

    assert later.sleep is made.sleep is made.static is kept.sleep is kept.own is bound() is partial.func is real
    assert about.of is real and about.func is len


def test_many_may_hold_it(substitution):
    substitution.hold()
    substitution.hold()
    substitution.release()
    assert time.sleep is stand_in
    substitution.release()
    assert time.sleep is real


def test_for_a_moment_it_is_away_where_it_was_and_nowhere_else(substitution):
    with substitution.aside():
        assert time.sleep is real
    assert time.sleep is real
    substitution.hold()
    try:
        with substitution.aside():
            assert time.sleep is real
        assert time.sleep is stand_in
    finally:
        substitution.release()


def test_what_somebody_else_has_put_there_stays(substitution, monkeypatch):
    module = module_with(sleep=time.sleep)
    substitution.hold()
    module.sleep = "mine"
    substitution.release()

    assert module.sleep == "mine"


def test_frameworks_are_left_alone(substitution):
    timing = sys.modules["_pytest.timing"]
    substitution.hold()
    try:
        assert timing.sleep is KEPT[1]
    finally:
        substitution.release()


def test_what_is_frozen_is_found_as_well(substitution):
    module = module_with(sleep=time.sleep)
    sys.modules["somebodys_module"] = module
    gc.freeze()
    try:
        substitution.hold()
        seen = module.sleep
        substitution.release()
    finally:
        gc.unfreeze()
        del sys.modules["somebodys_module"]

    assert seen is KEPT[0] and module.sleep is KEPT[1]


def test_what_is_no_longer_frozen_is_found_again(substitution):
    slotted = slotted_with(time.sleep)
    seen = []
    for keep, melt in [(gc.freeze, gc.unfreeze), (int, int)]:
        keep()
        try:
            substitution.hold()
            seen.append(slotted.own is stand_in)
            substitution.release()
        finally:
            melt()

    assert seen == [False, True] and slotted.own is real


def test_objects_do_not_live_longer_for_it(substitution):
    gone = []

    class Timed:
        def __init__(self):
            self.sleep = time.sleep

        def __del__(self):
            gone.append(self.sleep)

    timed = Timed()
    substitution.hold()
    assert timed.sleep is stand_in
    del timed
    assert gone == [stand_in]
    substitution.release()


def test_members_of_built_in_classes():
    substitution = Substitution([], [(complex, "conjugate", lambda self: "turned")])
    was = vars(complex)["conjugate"]

    class Derived(complex):
        pass

    def ask():
        return complex(1, 2).conjugate(), Derived(1, 2).conjugate()

    for _ in range(100):  # so that Python knows by heart where it is
        assert ask() == (1 - 2j, 1 - 2j)
    substitution.hold()
    try:
        assert ask() == ("turned", "turned")
    finally:
        substitution.release()
    assert ask() == (1 - 2j, 1 - 2j)
    assert vars(complex)["conjugate"] is was and "__abstractmethods__" not in vars(complex)


def test_class_methods_that_somebody_has_bound_before():
    turned = classmethod(lambda cls, text: f"{cls.__name__} {text}")

    class Derived(float):
        pass

    @dataclasses.dataclass
    class Row:
        number: float = dataclasses.field(default_factory=functools.partial(float.fromhex, "1"))
        of: object = float.fromhex

    module = module_with(of=float.fromhex)
    deeper = closure_of(float.fromhex)
    owner = type("Owner", (), {"of": float.fromhex})
    derived, other = Derived.fromhex, bytes.fromhex
    places = [
        lambda: module.of("1"),
        lambda: deeper()("1"),
        lambda: owner.of("1"),
        lambda: owner().of("1"),
        lambda: Row().number,
        lambda: Row().of("1"),
        lambda of=float.fromhex: of("1"),
    ]
    was = module.of, owner.of, Row.of, deeper()
    substitution = Substitution([], [(float, "fromhex", turned)])
    for _ in range(2):
        assert [place() for place in places] == [1.0] * len(places)
        substitution.hold()
        try:
            assert [place() for place in places] == ["float 1"] * len(places)
            assert derived("1") == 1.0 and other("01") == b"\x01", "nobody else's"
        finally:
            substitution.release()
    assert [place() for place in places] == [1.0] * len(places)
    assert all(map(operator.is_, was, (module.of, owner.of, Row.of, deeper())))


def test_the_second_time_costs_no_search(monkeypatch):
    function = time.get_clock_info  # which nobody has but its module
    substitution = Substitution([(function, stand_in)])
    searches = []
    search = aliases._places
    monkeypatch.setattr(aliases, "_places", lambda pairs: searches.append(1) or search(pairs))
    for _ in range(3):
        substitution.hold()
        assert time.get_clock_info is stand_in
        substitution.release()
        assert time.get_clock_info is function
    assert searches == [1]

    module = module_with(info=function)
    substitution.hold()
    assert module.info is stand_in
    substitution.release()
    assert module.info is function and len(searches) == 2
    kept = type("Kept", (), {"info": function})
    for _ in range(2):
        substitution.hold()
        assert kept.info is stand_in
        substitution.release()
    assert len(searches) == 3


def test_where_references_are_not_counted_it_is_searched_for_each_time(monkeypatch):
    monkeypatch.setattr(aliases, "_COUNTS", False)
    function = time.get_clock_info
    substitution = Substitution([(function, stand_in)])
    searches = []
    search = aliases._places
    monkeypatch.setattr(aliases, "_places", lambda pairs: searches.append(1) or search(pairs))
    for count in (1, 2, 3):
        substitution.hold()
        assert time.get_clock_info is stand_in
        substitution.release()
        assert time.get_clock_info is function
        assert len(searches) == 2 * count  # as it is put in, and as it is taken out


@pytest.mark.parametrize("hold", [lambda f: {"clock": f}, lambda f: [closure_of(f)], slotted_with])
def test_what_cannot_be_watched_is_found_again_with_one_look_and_lives_no_longer(hold, monkeypatch):
    function = time.get_clock_info
    substitution = Substitution([(function, stand_in)])
    searches = []
    search = aliases._places
    monkeypatch.setattr(aliases, "_places", lambda pairs: searches.append(1) or search(pairs))

    def seen(holder):
        (found,) = (
            holder.values() if type(holder) is dict else [holder.own] if type(holder) is Slotted else [holder[0]()]
        )
        return found

    holder = hold(function)
    for _ in range(3):
        substitution.hold()
        assert seen(holder) is stand_in
        substitution.release()
        assert seen(holder) is function
    assert searches == [1]
    del holder
    other = hold(function)  # most likely at the same address
    substitution.hold()
    assert seen(other) is stand_in
    substitution.release()
    assert seen(other) is function


def test_a_dict_is_not_kept_between_two_times(substitution):
    gone = []

    class Told:
        def __del__(self):
            gone.append(1)

    holder = {"sleep": time.sleep, "told": Told()}
    for _ in range(2):
        substitution.hold()
        assert holder["sleep"] is stand_in
        substitution.release()
    del holder
    assert gone == [1]
    other = {"sleep": time.sleep}
    substitution.hold()
    assert other["sleep"] is stand_in
    substitution.release()
    assert other["sleep"] is real


class Interrupt(BaseException):
    """What a signal's handler raises."""


def interrupted_at(line, visit, substitution):
    """Hold and release it, with an interruption where that line of its module is reached for so many times."""
    left = visit
    lines = set()

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename != aliases.__file__:
            return None
        # What guards all others cannot guard itself.
        if event == "line" and frame.f_code.co_name not in ("hold", "release", "_surely_take_out"):
            lines.add(frame.f_lineno)
            if frame.f_lineno == line:
                left -= 1
                if left == 0:
                    sys.settrace(before)
                    frame.f_trace = None
                    raise Interrupt
        return trace

    before = sys.gettrace()
    for step in (substitution.hold, substitution.release):
        sys.settrace(trace)
        try:
            step()
        except Interrupt:
            if step == substitution.hold:
                break
        finally:
            sys.settrace(before)
    return lines


def test_whatever_interrupts_it(monkeypatch):
    """An exception in any of its lines: nobody is left with a stand-in."""
    was = vars(complex)["conjugate"]
    module = module_with(sleep=time.sleep)

    def new():
        return Substitution([(real, stand_in)], [(complex, "conjugate", len)])

    # To ask the collector each time takes long under a trace, and what it knows is not what this is about.
    monkeypatch.setattr(aliases.gc, "get_referrers", lambda *objects: [vars(module), vars(time)])
    lines = interrupted_at(None, 1, new())
    assert len(lines) > 40
    for line in sorted(lines):
        substitution = new()
        interrupted_at(line, 1 + line % 2, substitution)

        assert time.sleep is module.sleep is real, line
        assert vars(complex)["conjugate"] is was, line
