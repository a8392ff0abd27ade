from virtualloop._core.settling import Settling


class Waiter:
    is_done = False

    def done(self):
        return self.is_done

    def set_result(self, result):
        self.is_done = True


def test_the_clock_stops_for_whoever_waits_for_the_earlier_tick():
    settling = Settling()
    assert settling.next_stop() is None
    settling.await_tick(20, Waiter())
    assert settling.next_stop() == 20
    for target, stop in ((10, 10), (20, 20), (30, 20)):
        settling.target = target
        assert settling.next_stop() == stop
        settling.check()
    assert settling.settles_at(20)
    assert not settling.settles_at(10)


def test_those_of_one_tick_go_on_in_their_order_and_those_that_wait_no_more_are_passed_over():
    settling = Settling()
    first, gone, second, earlier = waiters = [Waiter() for _ in range(4)]
    for waiter, tick in zip(waiters, (20, 5, 20, 10), strict=True):
        settling.await_tick(tick, waiter)
    gone.is_done = True

    assert settling.next_stop() == 10
    assert [settling.take_settled() for _ in range(3)] == [(10, earlier), (20, first), (20, second)]
    assert settling.next_stop() is None
    assert not settling.waits_for_anything()


def test_whoever_waits_until_nothing_could_run_comes_behind_those_that_wait_for_a_tick():
    settling = Settling()
    gone, idler, at_tick = Waiter(), Waiter(), Waiter()
    assert settling.take_idler() is None
    settling.await_idle(gone)
    settling.await_idle(idler)
    gone.is_done = True
    assert settling.waits_for_idle()
    settling.await_tick(10, at_tick)
    assert settling.take_idler() is None
    assert settling.take_settled() == (10, at_tick)
    assert settling.take_idler() is idler
    assert not settling.waits_for_idle()


def test_a_drive_that_ends_when_nothing_could_run_has_nobody_to_take():
    settling = Settling()
    settling.until_idle = True

    assert settling.waits_for_idle()
    assert settling.take_idler() is None
    settling.await_idle(Waiter())
    settling.await_tick(10, Waiter())
    settling.clear()
    assert not settling.waits_for_anything()


def test_whoever_waits_for_a_tick_or_until_nothing_could_run_waits_for_something():
    for wait in (lambda settling: settling.await_tick(5, Waiter()), lambda settling: settling.await_idle(Waiter())):
        settling = Settling()
        assert not settling.waits_for_anything()
        wait(settling)
        assert settling.waits_for_anything()
        settling.clear()
        assert not settling.waits_for_anything()
