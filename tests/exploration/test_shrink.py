from hypothesis import given
from hypothesis import strategies as st

from virtualloop._exploration.shrink import SHIFTS, deviations
from virtualloop._exploration.shrink import shrink as improvements

ANSWERS = st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 7]), max_size=40)


def shrink(answers, attempt, *, attempts, groups=tuple):
    """Return the simplest failing answers that are found within so many attempts."""
    left = iter(range(attempts))

    def make(candidates):
        for _, candidate in zip(left, candidates, strict=False):
            yield attempt(candidate)

    return [answers, *improvements(answers, make, groups)][-1]


def fails_if(condition):
    """An attempt whose run asks as many questions as it is given answers, and fails if `condition(answers)` holds."""
    return lambda answers: list(answers) if condition(answers) else None


@given(ANSWERS, st.data())
def test_what_does_not_matter_is_taken_away(answers, data):
    positions = deviations(answers)
    needed = data.draw(st.sets(st.sampled_from(positions))) if positions else set()
    attempt = fails_if(lambda tried: all(len(tried) > k and tried[k] for k in needed))

    small = shrink(answers, attempt, attempts=10_000)

    assert deviations(small) == sorted(needed)
    assert all(small[k] == 1 for k in needed)


@given(ANSWERS, st.integers(0, 20))
def test_the_result_fails_and_is_never_worse(answers, attempts):
    made = []

    def attempt(tried):
        made.append(tried)
        return list(tried) if sum(tried) >= sum(answers) / 2 else None

    small = shrink(answers, attempt, attempts=attempts)

    assert sum(small) >= sum(answers) / 2
    assert len(deviations(small)) <= len(deviations(answers))
    assert len(made) <= attempts
    assert len({tuple(tried) for tried in made}) == len(made)


def test_a_value_is_made_as_small_as_it_can_be():
    small = shrink([0, 9, 0], fails_if(lambda tried: tried[1] >= 4), attempts=100)

    assert small == [0, 4, 0]


def test_a_deviation_goes_together_with_the_questions_that_came_of_it():
    """Here each 1 in front makes the program ask one question more, so that what follows moves by one place."""

    def attempt(tried):
        asked = []
        answers = iter(tried)
        for _ in range(4):
            asked.append(next(answers, 0))
            while asked[-1] == 1:
                asked.append(next(answers, 0))
        return asked if asked[-1] == 2 else None

    start = attempt([1, 0, 1, 0, 0, 2])
    assert start == [1, 0, 1, 0, 0, 2]

    assert shrink(start, attempt, attempts=1000) == [0, 0, 0, 2]


def test_a_run_that_turns_out_otherwise_counts_as_it_turned_out():
    """The candidate is only a proposal: here whatever is tried, the run has one deviation at its end."""
    small = shrink([1, 1, 1], lambda _: [0, 0, 0, 1], attempts=100)

    assert small == [0, 0, 0, 1]


def test_a_deviation_goes_although_more_is_asked_without_it():
    """Here a 1 ends a round of three questions early, so that without it what follows comes later."""

    def attempt(tried):
        answers = iter(tried)
        asked = []
        for _ in range(3):
            for _ in range(3):
                asked.append(next(answers, 0))
                if asked[-1] == 1:
                    break
        return asked if asked[-1] == 2 else None

    start = attempt([1, 1, 0, 0, 2])
    assert start == [1, 1, 0, 0, 2]

    assert shrink(start, attempt, attempts=1000) == [0, 0, 0, 0, 0, 0, 0, 0, 2]


def trimmed(answers):
    """Return answers without the zeros at their end, which say nothing."""
    return answers[: max(deviations(answers), default=-1) + 1]


def proposed(answers, groups=tuple):
    """Return what is tried of answers where nothing fails any more."""
    tried = []
    list(improvements(answers, lambda candidates: (tried.append(each) for each in candidates), groups))
    return tried


def test_a_value_is_tried_less_by_all_by_a_half_and_so_on():
    assert [tried[0] for tried in proposed([9]) if tried and tried[0]] == [1, 5, 7, 8]
    assert [tried[0] for tried in proposed([2]) if tried and tried[0]] == [1]
    assert [tried for tried in proposed([1]) if any(tried)] == []


def test_the_largest_group_goes_first_and_none_that_is_one_or_all():
    groups = [[3, 4], [0, 1, 2], [5], [0, 1, 2, 3, 4, 5]]
    assert proposed([1] * 6, lambda: groups)[:3] == [[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 1], [0] * 6]


@given(ANSWERS)
def test_what_is_run_ahead_is_no_candidate_twice(answers):
    ahead = []
    list(improvements(answers, lambda candidates: iter(ahead.extend(candidates) or ())))

    assert len(ahead) == len(set(map(tuple, map(trimmed, ahead))))
    assert trimmed(answers) not in map(trimmed, ahead)


def test_a_deviation_goes_with_the_questions_behind_it_or_with_others_in_its_place():
    answers = [3, 0, 0, 2]
    tried = proposed(answers)

    for shift in SHIFTS:
        assert answers[shift:] in tried or not any(answers[shift:])
        assert [0] * (shift + 1) + answers[1:] in tried


def test_each_that_is_given_is_simpler_than_the_one_before_and_is_not_tried_again():
    """Whatever comes of a candidate: here one that is as simple, which is none."""
    tried = []

    def attempts(candidates):
        for candidate in candidates:
            tried.append(candidate)
            yield [0, 2, 2] if len(tried) < 9 else [0, 0, 2] if len(tried) == 9 else None

    given = list(improvements([0, 2, 2], attempts))

    assert given == [[0, 0, 2]]
    assert tried.count([0, 0, 2]) <= 1
    assert [0, 2, 2] not in tried
    assert len(tried) == len(set(map(tuple, tried)))
