import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualloop import _token

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
