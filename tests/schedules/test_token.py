import base64
import re
import sys
import zlib
from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import amount
from virtualloop import VirtualLoopError
from virtualloop.schedules import Replay, ReplayError, _token

KINDS = st.sampled_from(["late", "hold", "task", "user"])
CHOICES = st.lists(st.integers(2, 300).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n), KINDS)))


@given(CHOICES, st.sampled_from(["fifo", "timing", "io", "tasks"]), st.integers(0, 10**9), st.text())
def test_what_is_encoded_is_decoded(choices, order, lateness, program):
    token = _token.decode(_token.encode(choices, order=order, lateness=lateness, program=program))
    end = len(token.choices)

    assert token.choices == choices[:end]
    assert not any(answer for answer, _, _ in choices[end:])
    assert end == 0 or choices[end - 1][0] != 0
    assert (token.order, token.lateness, token.program) == (order, lateness, _token.fingerprint(program))
    assert token.python == f"{sys.version_info[0]}.{sys.version_info[1]}"


@given(CHOICES)
def test_a_token_is_one_word(choices):
    token = _token.encode(choices, order="io", lateness=50_000, program="main")

    assert re.fullmatch(r"v1\.[A-Za-z0-9_-]+", token)


def test_a_long_run_with_few_deviations_is_short():
    choices = [(0, 2, "late"), (0, 2, "hold")] * 500 + [(1, 2, "hold")] + [(0, 2, "late")] * 500

    assert len(_token.encode(choices, order="io", lateness=50_000, program="main")) < 150


@pytest.mark.parametrize("token", ["", "v1", "v2.eNo", "7", "hello"])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(ValueError, match=r"a token of this version begins with 'v1\.'"):
        _token.decode(token)


def test_a_token_that_is_cut_off_or_mistyped_is_refused():
    token = _token.encode([(1, 2, "hold")], order="io", lateness=50_000, program="main")
    mistyped = token[:-3] + ("x" if token[-3] != "x" else "y") + token[-2:]

    for wrong in (token[:-2], "v1.", "v1.%%%", mistyped):
        with pytest.raises(ValueError, match="the token is not whole, or mistyped"):
            _token.decode(wrong)


# --- tokens come from anywhere ----------------------------------------------------------------------------------------


def packed(text):
    """Return a token of the right form, whatever it says."""
    data = text if isinstance(text, bytes) else text.encode()
    return _token.PREFIX + base64.urlsafe_b64encode(zlib.compress(data, 9)).rstrip(b"=").decode()


HEAD = f"io 50000 1f {_token.python_version()}"


#: What no token says.
NONE = [
    "",
    "io",
    "io 50000 1f",
    "io 50000 1f 3",
    "io 50000 1f 3.13.0",
    "io 50000 zz 3.13",
    "io 50000 123456789 3.13",
    "io -1 1f 3.13",
    "io 0.05 1f 3.13",
    "io ٣ 1f 3.13",
    "any 50000 1f 3.13",
    f"{HEAD} ",
    f"{HEAD} @ffffffffff",
    f"{HEAD}  hold:2:1:1",
    f"{HEAD} hold:2:1",
    f"{HEAD} hold:2:1:1:1",
    f"{HEAD} :2:1:1",
    f"{HEAD} hold:2:2:1",
    f"{HEAD} hold:0:0:1",
    f"{HEAD} hold:2:-1:1",
    f"{HEAD} hold:2:1:1e3",
    f"{HEAD} hold:2:1:{10**18}",
    f"{HEAD} hold:{10**18}:1:1",
    f"{HEAD} hold:2:1:{_token.MAX_CHOICES + 1}",
    f"{HEAD} hold:2:1:{_token.MAX_CHOICES} late:2:1:1",
    f"{HEAD} {'x' * 1000}:2:1:1",
    HEAD.encode() + b" hold:2:1:1\xff",
    HEAD + " " * (_token.MAX_BYTES + 1),
    HEAD + " hold:2:1:1" * (_token.MAX_BYTES // 11 + 1),
]


@pytest.mark.parametrize("number", range(len(NONE)))
def test_a_token_that_says_what_none_says_is_refused_at_once(number):
    with pytest.raises(ReplayError, match="the token ") as raised:
        Replay(packed(NONE[number]))
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, VirtualLoopError)
    assert len(str(raised.value)) < 250


def test_what_stands_behind_a_token_is_refused():
    token = packed(f"{HEAD} hold:2:1:1")
    data = base64.urlsafe_b64decode(token.removeprefix("v1.") + "==")
    longer = "v1." + base64.urlsafe_b64encode(data + b"more").rstrip(b"=").decode()

    for wrong in (longer, token + "\n" + token, token + "é", "v1." + "A" * (_token.MAX_BYTES + 1)):
        with pytest.raises(ReplayError, match="the token is not whole"):
            _token.decode(wrong)


def test_a_token_of_as_many_choices_as_one_may_hold():
    token = packed(f"{HEAD} hold:2:0:{_token.MAX_CHOICES - 1} hold:2:1:1")

    assert len(_token.decode(token).choices) == _token.MAX_CHOICES


WORDS = st.sampled_from(
    [*HEAD.split(), "io", "hold", "2", "1", "0", ":", "::", " ", "-1", "10", "999999999999999999", "x"]
)


@settings(max_examples=amount(100, 1000))
@given(
    st.text()
    | st.text().map(_token.PREFIX.__add__)
    | st.text("abcdefgh-_=").map(_token.PREFIX.__add__)
    | st.binary().map(packed)
    | st.lists(WORDS).map("".join).map(packed)
    | st.lists(WORDS).map(lambda words: packed(f"{HEAD} {':'.join(words)}"))
)
def test_whatever_is_no_token_is_a_replay_error(text):
    try:
        token = _token.decode(text)
    except ReplayError:
        return
    assert all(0 <= answer < n for answer, n, _ in token.choices)


@settings(max_examples=amount(100, 1000))
@given(CHOICES, st.data())
def test_a_token_with_one_character_changed_is_refused_or_the_same(choices, data):
    token = _token.encode(choices, order="io", lateness=50_000, program="main")
    position = data.draw(st.integers(0, len(token) - 1))
    changed = token[:position] + data.draw(st.characters()) + token[position + 1 :]
    try:
        same = _token.decode(changed)
    except ReplayError:
        return
    assert same == _token.decode(token)


def test_of_a_long_word_its_beginning_is_shown():
    for text, shown in (("x" * 60, "x" * 60), ("x" * 61, "x" * 57 + "...")):
        with pytest.raises(ReplayError, match=r"^a token of this version begins with 'v1\.', got ") as raised:
            _token.decode(text)
        assert str(raised.value).endswith(f"got '{shown}'")


def test_a_token_is_for_a_program_and_its_arguments():
    def program(**terms):
        return _token.decode(_token.encode([(1, 2, "hold")], order="io", lateness=1, **terms)).program

    plain, one, other = (program(program="main", arguments=arguments) for arguments in ("", "1", "2"))
    assert plain == _token.fingerprint("main") == program(program="main")
    assert len({plain, one, other}) == 3
    assert {number & _token.HALF for number in (plain, one, other)} == {plain}


@given(
    st.booleans(),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.none() | st.integers(0, _token.NUMBERS - 1),
    st.text(),
)
def test_the_terms_of_a_run_are_decoded_as_well(replies, epoch, number, arguments):
    terms = {"replies": replies, "epoch": epoch, "number": number}
    token = _token.encode([], order="io", lateness=50_000, program="main", arguments=arguments, **terms)
    decoded = _token.decode(token)

    assert (decoded.replies, decoded.epoch, decoded.number) == (replies, epoch, number)
    assert decoded.program == _token.fingerprint("main", arguments)
    assert "=" not in token
