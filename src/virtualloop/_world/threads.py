"""Threads that work for the program under test, while its clock stands still.

Owns what comes from other threads to one loop: jobs given to executors, and callbacks sent by call_soon_threadsafe; and
the decision that they have come to rest. Knows nothing of timers and order, and runs no callback: it hands over what
was sent.

The law: the clock moves only when nobody in the world can move by himself. So when a loop has nothing else to do it
waits, in real time, until each member of its world (`world`) has ended or parked (`parked`), or was waited for long
enough (`patience`). All that they sent meanwhile goes in at that one point: first what they called back, in the order
in which it was sent, as in stock asyncio; then the results of jobs, by the order of submission, however long each took.

Threads that run at the same time send in the order in which they were started, since which of two is faster is the
machine's affair: a sender waits until those before it sleep, wait, or have ended. Looks are taken one after the other,
while threads may wake each other, so that all are at rest takes two rounds of looks between which none has moved.

Where a world has several loops, one of them runs at a time. The turn goes round among those that have something to do;
when none has, to the one with the next deadline. A loop whose step is parked does not keep the turn.
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sized
from contextlib import suppress
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from virtualloop._core.clock import TICKS_PER_SECOND, Clock
from virtualloop._frames import frames_of_others
from virtualloop._world import system
from virtualloop._world.beginners import any_at_work
from virtualloop._world.frameworks import runs_nothing_else
from virtualloop._world.jobs import Job, Jobs
from virtualloop._world.originals import real_time
from virtualloop._world.parked import Look, State, awaited_future, look_at
from virtualloop._world.patience import WORK_FACTOR, Account, place_of, where_at_rest
from virtualloop._world.turns import IDLE_PAUSE, Seat, where_parked
from virtualloop._world.world import (
    Driven,
    Member,
    World,
    at_home_elsewhere,
    driven,
    home_of,
    is_homeless,
    move_out,
    running_in,
    runs_a_loop,
    settle_in,
    started_in,
    threads_of_loops,
)

__all__ = ["Threads", "others"]

#: Real seconds between two looks at the threads: short at first, because most jobs are done in no time, then longer,
#: because looking costs them the GIL.
FIRST_PAUSE = 0.0002
LONGEST_PAUSE = 0.005
#: How long before the last look at threads, in real seconds: where nothing could ever happen, nothing is in a hurry.
LAST_PAUSE = 0.02
#: How long a thread that sends waits for a loop to end its step, in real seconds: one that wakes threads is done soon.
LONGEST_STEP = 0.5


class Round:
    """One round of looks: where the threads that looked parked were, and who keeps the clock from moving."""

    def __init__(self, ahead: int | None) -> None:
        self.ahead = ahead
        self.marks: dict[threading.Thread, object] = {}
        self.frames = frames_of_others()
        #: The accounts of those that were looked at.
        self.accounts: dict[threading.Thread, Account] = {}
        self.holding: list[threading.Thread] = []


def others() -> bool:
    """Return whether there may be any thread beside the main one; much cheaper than to look for them."""
    return _thread._count() > 0


class Threads:
    """The threads of one loop.

    `patience` is in real seconds; `known` are threads that are older than the loop; `apart` keeps its world to itself.
    """

    def __init__(self, *, patience: float, known: Iterable[threading.Thread] = (), apart: bool = False) -> None:
        self._patience = patience
        # What was sent, in that order: (thread, callback); and what ends the wait for it.
        self._sent: deque[tuple[threading.Thread, Any]] = deque()
        # Held until somebody rings. No queue: a signal in the midst of its wait may have that last for ever.
        self._bell = _thread.allocate_lock()
        self._bell.acquire()
        #: Whether the loop has nothing to do but to wait for threads; else it may be in the middle of a step.
        self._listens = False
        # Those whose results have not been handed over; and who runs which one.
        self._jobs = Jobs(patience=patience)
        self._job_of: dict[threading.Thread, Job] = {}
        # Objects, not idents: the system gives those out again.
        self._known = {threading.main_thread(), *known}
        # Accounts of threads that are no members.
        self._accounts: WeakKeyDictionary[threading.Thread, Account] = WeakKeyDictionary()
        #: For how long somebody has moved, since all were at rest.
        self._stirred = 0.0
        #: Where each parked thread was when all were at rest; and where one looked parked at the last look.
        self._rested: dict[threading.Thread, object] = {}
        self._seen: dict[threading.Thread, object] = {}
        self.world = World(apart=apart)
        #: The loop's place in it, while it runs and may have to share it.
        self.seat: Seat | None = None
        #: Whether a thread waits for the clock, by its ident: a timer of the loop ends that. False if it was woken and
        #: has not gone on yet; None if it does something else.
        self.waits_for_clock: Callable[[int | None], bool | None] = lambda _: None

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def submit(self, executor: concurrent.futures.Executor, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Run `function(*args)` in the executor; return a future that the loop's thread completes, see `finished`."""
        job = Job(executor, function, self.world.number())
        if job.pooled:
            job.source = source = executor.submit(self._work, job, args)
        else:
            # Whoever runs it may have to pickle it, so it goes as it is.
            job.source = source = executor.submit(function, *args)
            if asyncio.isfuture(source):
                return source
        return self._jobs.add(job, self.wake)

    def _work(self, job: Job, args: tuple[Any, ...]) -> Any:
        thread = threading.current_thread()
        if runs_a_loop(thread):
            return job.function(*args)  # This executor runs what it is given at once.
        member = self.world.adopt(thread)
        settle_in(thread, self.world)
        outer = self._job_of.get(thread)  # where submit() runs the job itself
        number = member.number
        self._job_of[thread] = job
        member.number = job.number
        member.account.begin()
        job.thread = thread
        try:
            return job.function(*args)
        finally:
            member.number = number
            if outer is None:
                del self._job_of[thread]
            else:
                self._job_of[thread] = outer

    def finished(self) -> list[Callable[[], None]]:
        """Return what completes the future of each job that is done by now, by the order of submission."""
        return self._jobs.finished()

    def jobs(self) -> list[Job]:
        """Return the jobs whose results have not been handed over, by the order of submission."""
        return self._jobs.all()

    # --- what is sent -------------------------------------------------------------------------------------------------

    def send(self, callback: Any) -> None:
        """Hand over a callback, from another thread. Safe in a signal handler too, as both calls at the end are."""
        thread = threading.current_thread()
        member = self.world.members.get(thread)
        parked_for = None
        if member is None and home_of(thread) is not self.world:
            # It works for this loop, whoever has started it.
            member = self.world.adopt(thread)
        if member is not None:
            member.called_back = True
            member.account.sends += 1
            parked_for = self._wait_for_those_before(member)
        self._sent.append((thread, callback))
        if parked_for is not None:
            parked_for.take_from(thread)
        self.wake()

    def _wait_for_those_before(self, member: Member) -> Driven | None:
        """Wait until no other thread runs but those that were started later and wait to send, too.

        Return the loop if its step is parked then: that cannot go on before the thread that sends does, so what it
        sends is there by then, as on a stock loop. What threads send that run at the same time is sent in their
        order; and what one sends after it was woken by another comes after what that has sent before. A loop in the
        middle of a step may be about to wake others. A thread that has to wait too long, since it last parked, does not
        wait again.
        """
        if len(self.world.members) < 2 and self._listens:
            return None
        pause = FIRST_PAUSE
        start = real_time.monotonic()
        parked = None
        member.sending = True
        while member.account.waited_to_send + real_time.monotonic() - start < self._patience:
            step = self._parked_step()
            frames = frames_of_others()
            in_step = real_time.monotonic() - start < LONGEST_STEP and any(
                thread.ident in frames and look_at(thread, frames[thread.ident]).state is State.WORKING
                for thread in threads_of_loops(self.world)
            )
            if not in_step and not any(self._is_running(m, member, frames) for m in list(self.world.members.values())):
                if step is not None:
                    # What looks parked may wait for the GIL, and one thread may have woken another between the looks.
                    real_time.sleep(FIRST_PAUSE)
                if self._parked_step() == step:
                    parked = step
                    break
            real_time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        member.account.waited_to_send += real_time.monotonic() - start
        member.sending = False
        return None if parked is None else parked[0]

    def _parked_step(self) -> tuple[Driven, object] | None:
        """Return the loop, and where its step waits for what somebody else does; None if it does anything else."""
        found = None if self._listens or (self.seat is not None and self.seat.waiting) else driven(self)
        mark = None if found is None else where_parked(found[1])
        return None if found is None or mark is None else (found[0], mark)

    def _is_running(self, member: Member, sender: Member, frames: dict[int, FrameType]) -> bool:
        """Return whether a thread may send something, before the sender, within a moment."""
        thread = member.thread
        if member is sender or member.parent or member.account.given_up:
            return False
        if member.sending:
            return member.number < sender.number
        if any(seat.thread is thread for seat in self.world.seats):
            return False
        frame = frames.get(thread.ident or 0)
        if frame is None:
            return _is_starting(thread)
        look = look_at(thread, frame)
        return look.state is State.WORKING or (look.state is State.PERHAPS and not self._seen_before(member, look))

    def collect(self) -> tuple[list[Any], bool]:
        """Return the callbacks that threads have sent since the last call, in order; and whether time has to stand.

        It need not if all of them come from threads that send without a pause.
        """
        sent = self._take()
        members = self.world.members
        stands = not sent or any(thread not in members or not members[thread].account.floods for thread, _ in sent)
        return [callback for _, callback in sent], stands

    def sent_by(self, thread: threading.Thread) -> list[Any]:
        """Return what a thread has sent that was not handed over, in order."""
        with self.world.lock:
            sent = self._take()
            self._sent.extendleft(item for item in reversed(sent) if item[0] is not thread)
        return [callback for sender, callback in sent if sender is thread]

    def _take(self) -> list[tuple[threading.Thread, Any]]:
        # As many as there are, which may be fewer than come in meanwhile.
        return [self._sent.popleft() for _ in range(len(self._sent))]

    def receive(self, seconds: float) -> None:
        """Wait until a thread sends something or finishes a job, at most `seconds`: the threads run meanwhile."""
        self._bell.acquire(timeout=seconds)

    def news(self) -> bool:
        """Return whether something was sent, or a job has finished, that the loop has not taken."""
        return bool(self._sent) or self._jobs.any_done()

    def wake(self) -> None:
        """End a wait for something to be sent."""
        with suppress(RuntimeError):  # it rings already
            self._bell.release()

    # --- when the loop has nothing else to do -------------------------------------------------------------------------

    def anything(self) -> bool:
        """Return whether there may be something to wait for or to collect; cheap, because it is asked at each jump."""
        return bool(self._jobs) or others() or bool(self._sent)

    def settle(self, ready: Sized, clock: Clock, ahead: int | None) -> bool:
        """Wait, in real time, until nobody in the world can move by himself, or there is something for the loop to do.

        `ahead` is the tick of the loop's next event; None if nothing else could happen. Ends early when a signal
        handler has put something into `ready`. Returns False if another loop of the world goes first: it has run
        meanwhile, so the clock may have moved, and the caller should begin again.
        """
        self._listens = True
        try:
            return self._settle(ready, clock, ahead)
        finally:
            self._listens = False

    def _settle(self, ready: Sized, clock: Clock, ahead: int | None) -> bool:
        pause = FIRST_PAUSE
        previous = real_time.monotonic()
        passed = 0.0
        self._seen.clear()
        self.receive(0)  # What was sent while nobody waited.
        while not ready:
            if self._at_work(passed, clock, ahead):
                self.receive(pause)
                now = real_time.monotonic()
                passed, previous = now - previous, now
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return self.seat is None or not self.seat.shared or self.seat.goes_first(ready, ahead)
        return True

    def rest(self, clock: Clock) -> None:
        """In the middle of a step, wait until nobody else in the world can move by himself."""
        pause = FIRST_PAUSE
        previous = real_time.monotonic()
        passed = 0.0
        self._seen.clear()
        while self._at_work(passed, clock, clock.tick):
            real_time.sleep(pause)
            now = real_time.monotonic()
            passed, previous = now - previous, now
            pause = min(2 * pause, LONGEST_PAUSE)

    def others_move(self, passed: float, clock: Clock) -> bool:
        """Return whether anybody but this thread, and the loop's in its step, can move by himself; at first, for 0."""
        if not passed:
            self._seen.clear()
        return self._at_work(passed, clock, clock.tick)

    def main_is_at_work(self) -> bool:
        """Return whether the main thread is another one, and does something."""
        main = threading.main_thread()
        frame = frames_of_others().get(main.ident or 0)
        if main is threading.current_thread() or frame is None:
            return False
        return look_at(main, frame).state in (State.WORKING, State.OUTSIDE)

    def _at_work(self, passed: float, clock: Clock, ahead: int | None) -> bool:
        """Return whether anybody can move by himself; `passed` are the seconds since this was asked last."""
        jobs = self._jobs.running()
        if self.news():
            ahead = clock.tick
        elif self.seat is not None and self.seat.shared:
            ahead = self.seat.next_of_all(ahead)
            if self.seat.others_hold(passed, ahead):
                return True
        self._stirred = self._stirred + passed if passed else 0.0
        if self._is_anybody_beginning(passed):
            return True
        members = self._members()
        if not jobs and not members and ahead is not None:
            return False
        looks = Round(ahead)
        # Each is looked at, or one that has parked meanwhile would be seen for the first time when the others have.
        for member in members:
            self._look(member.thread, member, looks, passed, clock)
        there = self.world.members
        held = [self._jobs.holds(job, looks.frames, passed, there) for job in jobs if job.thread is None]
        if not looks.holding and not any(held):
            self._look_at_others(jobs, looks, passed, clock)
        if looks.holding or any(held):
            return not self._is_given_up(looks, looks.holding, len(members))
        # Between the looks at two threads, one may have woken the other and gone to rest itself.
        moved = self._moved(looks.marks)
        stirring = [thread for thread, account in looks.accounts.items() if account.stirs]
        if any(thread not in stirring for thread in moved):
            return not self._is_given_up(looks, moved, len(members))
        if self._is_anybody_new(members):
            return True
        if not moved and all(thread in looks.marks for thread in stirring):
            for thread in stirring:
                looks.accounts[thread].stirs = False
        self._rested = looks.marks
        return False

    def _is_anybody_beginning(self, passed: float) -> bool:
        here = (threading.current_thread(), threading.main_thread())
        older = [] if self.world.apart else [thread for thread in self._known if thread not in here]
        return bool(older) and any_at_work(older, passed, self.world.members.__contains__)

    def _is_given_up(self, looks: Round, moving: list[threading.Thread], members: int) -> bool:
        """Return whether time goes on without those that move: all were waited for as long as each may be alone.

        Two that wake each other, for ever, are each seen at rest now and then.
        """
        longest = WORK_FACTOR * self._patience * max(members, 1)
        if not moving or self._stirred < longest:
            return False
        for thread in moving:
            looks.accounts[thread].give_up_who_stirs(thread, looks.frames.get(thread.ident or 0), self._stirred)
        return True

    def move_after_all(self) -> bool:
        """Return whether something comes from a thread, or one moves, within a moment after all were found at rest."""
        if self.anything():
            self.receive(LAST_PAUSE)
        return self.news() or bool(self._moved(self._rested))

    def where_all_wait(self) -> dict[threading.Thread, str] | None:
        """Return the line at which each waits, for somebody of this world or for its clock; None if one may go on."""
        return None if self._sent else where_at_rest(self._members(), self._jobs.all(), self.waits_for_clock)

    def _members(self) -> list[Member]:
        """Return the members that may have to be waited for; forget those that have ended."""
        world = self.world
        if not world.apart:
            for thread in threading.enumerate():
                # Started between two runs of the loop.
                if thread not in world.members and thread not in self._known and is_homeless(thread):
                    world.adopt(thread)
        seen: set[threading.Thread] = set()
        members: list[Member] = []
        # Again, until there is nobody new: who was looked at first may have started him, and ended.
        while new := [member for thread, member in list(world.members.items()) if thread not in seen]:
            seen.update(member.thread for member in new)
            members += [member for member in new if self._may_move(member.thread)]
        # A loop that is in a step, and whose thread nobody of this world has started.
        for seat in list(world.seats):
            if seat is not self.seat and not seat.waiting and seat.thread not in world.members:
                members.append(Member(seat.thread, -1, account=self._account_of(seat.thread)))
        return members

    def _may_move(self, thread: threading.Thread) -> bool:
        """Return whether a member may have to be waited for; forget it if it has ended."""
        world = self.world
        if thread is threading.current_thread():
            return False
        if not _is_starting(thread) and not thread.is_alive() and not system.is_ending(thread.native_id):
            world.drop(thread)
            return False
        return not any(seat.thread is thread and seat.waiting for seat in world.seats)

    def _look(self, thread: threading.Thread, member: Member | None, looks: Round, passed: float, clock: Clock) -> None:
        """Look at a thread, and enter into the round what was seen."""
        account = looks.accounts[thread] = self._account_of(thread) if member is None else member.account
        if self._holds(thread, member, account, looks, passed, clock) and not account.stirs:
            looks.holding.append(thread)

    def _holds(
        self,
        thread: threading.Thread,
        member: Member | None,
        account: Account,
        looks: Round,
        passed: float,
        clock: Clock,
    ) -> bool:
        """Return whether this thread keeps the clock from moving."""
        ahead = looks.ahead
        frame = looks.frames.get(thread.ident or 0)
        if frame is None:
            return True  # On its way into Python, or out of it.
        if member is not None and member.sending:
            return True
        waits = self.waits_for_clock(thread.ident)
        if waits is not None:
            account.rest()
            return not waits
        look = look_at(thread, frame)
        state = look.state
        if state is State.TIMED and member is not None and member.called_back and awaited_future(frame) is not None:
            # It has sent something, and waits for what comes of it.
            state = State.PARKED
        if state is State.PERHAPS:
            state = State.PARKED if self._seen_before(thread, look) else State.WORKING
            look = Look(state, look.mark)
        else:
            self._seen.pop(thread, None)
        if state is State.PARKED:
            account.rest()
            looks.marks[thread] = look.mark
            return False
        if state is State.OUTSIDE and self.news():
            return False  # What comes from outside has no order to keep.
        if member is not None:
            # A parent's pauses are for the loop to go on in.
            limit = look.left if look.limit is None and member.parent else look.limit
            if state is State.TIMED and limit is not None:
                if ahead is not None and self._may_pass(member, look.mark, limit, clock, ahead):
                    return False
                if ahead is None and member.parent:
                    return limit <= self._patience
            if state is State.WORKING and ahead is None and member.parent:
                return True
        return account.holds_the_clock(thread, frame, look, passed, self._patience, ahead=ahead is not None)

    def _seen_before(self, thread: Any, look: Look) -> bool:
        """Return whether a thread that looks parked was seen at the same place before, with a pause in between."""
        # A thread that only waits for the GIL sleeps as well, but not for long.
        if self._seen.get(thread) == look.mark:
            return True
        self._seen[thread] = look.mark
        return False

    def _may_pass(self, member: Member, mark: object, limit: float, clock: Clock, ahead: int) -> bool:
        """Return whether the loop's next event comes before a thread's wait with a time limit would end.

        Such a wait is mostly for somebody else, who may be the loop: so time may pass meanwhile, as it would on a
        stock loop, but not beyond the limit.
        """
        if member.mark != mark:
            member.mark = mark
            member.until = self._world_tick(clock.tick) + int(limit * TICKS_PER_SECOND)
        return self._world_tick(ahead) <= member.until

    def _world_tick(self, tick: int) -> int:
        return tick if self.seat is None else self.seat.world_tick(tick)

    def _look_at_others(self, jobs: list[Job], looks: Round, passed: float, clock: Clock) -> None:
        """Look at the threads that are no members, as far as they may keep the clock from moving.

        One may work for a job whose thread is parked, or whose thread nobody knows; and where nothing else could happen
        there is nothing to hurry for.
        """
        ahead = looks.ahead
        strange = any(not job.pooled for job in jobs)
        if ahead is not None and not (jobs and system.AVAILABLE):
            return
        here = threading.current_thread()
        passed_over = (
            set(self.world.members) | {seat.thread for seat in self.world.seats} | at_home_elsewhere(self.world)
        )
        for thread in threading.enumerate():
            frame = looks.frames.get(thread.ident or 0)
            if thread is here or thread in passed_over or frame is None or runs_nothing_else(frame):
                continue
            if ahead is not None and not strange and look_at(thread, frame).state is not State.WORKING:
                continue
            self._look(thread, None, looks, passed, clock)

    def _account_of(self, thread: threading.Thread) -> Account:
        account = self._accounts.get(thread)
        if account is None:
            account = self._accounts[thread] = Account()
        return account

    def _moved(self, marks: dict[threading.Thread, object]) -> list[threading.Thread]:
        """Return the threads that were parked at a round of looks and are not where they were."""
        frames = frames_of_others()
        moved = []
        for thread, mark in marks.items():
            frame = frames.get(thread.ident or 0)
            look = None if frame is None else look_at(thread, frame)
            # One that waits for a child is where it was, while that has begun to work.
            if look is None or look.mark != mark or look.state is State.WORKING:
                moved.append(thread)
        return moved

    def _is_anybody_new(self, members: list[Member]) -> bool:
        return not {member.thread for member in self._members()} <= {member.thread for member in members}

    def wait_for_signal(self, ready: Sized) -> bool:
        """Wait for a signal to arrive, as long as patience lasts; return whether one has."""
        deadline = real_time.monotonic() + self._patience
        while not ready and real_time.monotonic() < deadline:
            self.receive(LONGEST_PAUSE)
        return bool(ready or self._sent)

    def wait_for_news(self, ready: Sized) -> None:
        """Nothing could ever happen by itself: wait, for ever, until something is sent."""
        if self.seat is not None and self.seat.shared:
            if self.seat.leave_to_others(ready):
                return
        while not ready and not self.news() and (self.seat is None or self.world.turn is self.seat):
            self.receive(IDLE_PAUSE)
        if self.seat is not None:
            self.seat.await_turn(ready)

    def restless(self) -> list[tuple[str, float]]:
        """Return the threads that were given up while they could move, in words, and how long each was waited for."""
        frames = frames_of_others()
        accounts = {member.thread: member.account for member in self._members()} | dict(self._accounts)
        restless = []
        for thread, account in accounts.items():
            frame = frames.get(thread.ident or 0)
            if frame is not None and account.given_up:
                restless.append((f"thread {thread.name!r}, at {place_of(frame)},", account.waited))
        return restless

    def callers(self) -> list[concurrent.futures.Future[Any]]:
        """Return the futures whose results threads of the world wait for, by the order of those threads."""
        frames = frames_of_others()
        futures = []
        for member in self._members():
            frame = frames.get(member.thread.ident or 0)
            future = None if frame is None else awaited_future(frame)
            if future is not None and not future.done() and future not in futures:
                futures.append(future)
        return futures

    # --- a world of several loops -------------------------------------------------------------------------------------

    def begin(self, loop: Driven) -> None:
        """The loop begins to run in this thread: find its world, and wait for its turn there."""
        thread = threading.current_thread()
        home = None if self.world.apart else self._find_home(thread)
        if home is not None and home is not self.world:
            for member in self.world.members.values():
                home.adopt(member.thread)
                settle_in(member.thread, home)
            self.world = home
        for other in running_in(self.world):
            if other is not loop and other.threads.seat is None:
                # Until now it was alone.
                other.threads.sit_down(other, threading.main_thread())
        self.sit_down(loop, thread)
        assert self.seat is not None
        self.seat.begin(loop.ready)

    def sit_down(self, loop: Driven, thread: threading.Thread) -> None:
        """Take a place in the world."""
        self.seat = Seat(self.world, self, thread, loop.clock, loop.interrupt, loop.readable, loop.holds)

    def end(self) -> None:
        """The loop stops."""
        assert self.seat is not None
        self.seat.end()
        self.seat = None
        if not self.world.seats:
            for member in list(self.world.members.values()):
                if member.parent:
                    self.world.drop(member.thread)
                    move_out(member.thread)

    def _find_home(self, thread: threading.Thread) -> World | None:
        """Return the world that a loop in this thread belongs to, if that is not its own."""
        home = started_in(thread)
        main = threading.main_thread()
        if home is not None or thread is main:
            return home
        # Somebody has started it before any loop ran: where nothing else is known, the main thread.
        home = home_of(main)
        if home is not None and not home.apart:
            return home
        self.world.adopt(main, parent=True)
        if home is None:
            settle_in(main, self.world)
        return None


# --- inside -----------------------------------------------------------------------------------------------------------


def _is_starting(thread: threading.Thread) -> bool:
    """Return whether a thread's start() was called, and it has not come so far as to run Python code."""
    return not thread._started.is_set()  # type: ignore[attr-defined]  # not in the stub
