from virtualloop._core.spin import SPIN_LIMIT, SPIN_LOOKS, SPIN_TURNS, WORK_FACTOR, SpinWatch


def test_a_spin_of_nothing_but_polling_is_a_livelock_at_the_limit():
    watch = SpinWatch(100)

    assert [watch.is_livelock(steps, polling=True) for steps in (99, 100)] == [False, True]


def test_where_tasks_wake_each_other_the_limit_is_several_times_as_far():
    watch = SpinWatch(100)

    assert [watch.is_livelock(steps, polling=False) for steps in (100 * WORK_FACTOR - 1, 100 * WORK_FACTOR)] == [
        False,
        True,
    ]


def test_half_the_limit_is_worth_a_look_at_who_waits():
    watch = SpinWatch(100)

    assert [watch.is_long(steps) for steps in (49, 50)] == [False, True]


def test_time_creeps_by_a_tick_a_turn_and_after_long_polling_twice_as_far_each_time():
    watch = SpinWatch()

    assert [watch.creep_after(7, polling=True) for _ in range(SPIN_LOOKS)] == [7] * SPIN_LOOKS
    assert [watch.creep_after(7, polling=True) for _ in range(3)] == [14, 28, 56]


def test_work_between_two_looks_starts_the_count_anew():
    watch = SpinWatch()
    for _ in range(SPIN_LOOKS + 1):
        watch.creep_after(7, polling=True)

    assert watch.creep_after(5, polling=False) == 5
    assert [watch.creep_after(7, polling=True) for _ in range(SPIN_LOOKS + 1)] == [7] * SPIN_LOOKS + [14]


def test_a_clock_that_has_moved_by_itself_starts_it_anew():
    watch = SpinWatch()
    for _ in range(SPIN_LOOKS + 1):
        watch.creep_after(7, polling=True)
    watch.reset()

    assert [watch.creep_after(7, polling=True) for _ in range(SPIN_LOOKS + 1)] == [7] * SPIN_LOOKS + [14]


def test_a_look_takes_a_part_of_the_limit_in_steps_and_in_turns():
    watch = SpinWatch()

    assert watch.next_look(0) == watch.next_look(1) == SPIN_LIMIT // SPIN_LOOKS
    assert watch.next_look(10) == SPIN_LIMIT // SPIN_LOOKS // 10
    assert watch.next_look(SPIN_LIMIT) == SPIN_LIMIT // SPIN_TURNS
    assert SpinWatch(1).next_look(1) == 1
