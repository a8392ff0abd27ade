"""What the plain run shows of a program."""

import asyncio

import pytest

from helpers import as_explored
from virtualloop._exploration.control import controlled
from virtualloop._exploration.search import Plan


def surveyed(main):
    program = as_explored(main, replies=True)
    with controlled(patched=False):
        outcome, survey = program.survey(Plan("io", branch=()).make(), "io", states=False)
    return [choice.kind for choice in outcome.choices], survey


async def work(seconds):
    await asyncio.sleep(seconds)


def test_events_are_near_a_cancellation_where_they_are_due_with_it():
    async def main():
        async def give_up():
            await asyncio.sleep(0.02)
            task.cancel()

        task = asyncio.create_task(work(1))
        await asyncio.gather(work(0.01), give_up(), work(0.02), work(0.03))

    kinds, survey = surveyed(main)

    holds = [question for question, kind in enumerate(kinds) if kind == "hold"]
    assert survey.near_cancellations() == {holds[1], holds[2]}


def test_events_are_near_a_timeout_that_was_not_used():
    async def main():
        async with asyncio.timeout(0.02):
            await work(0.01)
        await asyncio.gather(work(0.01), work(0.04), work(0.05))

    kinds, survey = surveyed(main)

    holds = [question for question, kind in enumerate(kinds) if kind == "hold"]
    assert survey.near_cancellations() == {holds[0], holds[1]}


def test_nothing_is_near_where_nothing_is_cancelled():
    async def main():
        await asyncio.gather(work(0.01), work(0.02))

    _, survey = surveyed(main)

    assert survey.near_cancellations() == frozenset()


# --- replies ----------------------------------------------------------------------------------------------------------


async def streams(replies):
    async def serve(reader, writer):
        while question := await reader.read(1):
            writer.write(question)

    async def receive():
        while reply := await reader.read(1):
            replies.put_nowait(reply[0])

    await asyncio.start_server(serve, "localhost", 80)
    reader, writer = await asyncio.open_connection("localhost", 80)
    receiving = asyncio.create_task(receive())
    return lambda question: (writer.write(bytes([question])), receiving)


async def timers(replies):
    loop = asyncio.get_running_loop()
    return lambda question: loop.call_later(0.3, replies.put_nowait, question)


async def a_task_that_takes_its_time(replies):
    questions = asyncio.Queue()

    async def serve():
        while True:
            question = await questions.get()
            await asyncio.sleep(0.3)
            replies.put_nowait(question)

    serving = asyncio.create_task(serve())
    return lambda question: (questions.put_nowait(question), serving)


async def a_job(replies):
    loop = asyncio.get_running_loop()

    def ask(question):
        loop.run_in_executor(None, int, question).add_done_callback(lambda job: replies.put_nowait(job.result()))

    return ask


@pytest.mark.parametrize("other_side", [streams, timers, a_task_that_takes_its_time, a_job])
def test_who_asks_again_and_again_gets_replies_all_the_same(other_side):
    async def main():
        replies = asyncio.Queue()
        ask = await other_side(replies)
        for question in range(3):
            ask(question)
            async with asyncio.timeout(2):
                assert await replies.get() == question

    _, survey = surveyed(main)

    assert len({reply.timeout.place for reply in survey.replies(50_000)}) == 1
    assert len({reply.question for reply in survey.replies(50_000)}) >= 2  # of the last one nothing could be overtaken


@pytest.mark.parametrize("begin", [asyncio.create_task, asyncio.gather])
def test_what_repeats_by_itself_is_no_reply(begin):
    """Also where its first round, or the end of a part of it, is another task's doing."""

    async def main():
        beaten = asyncio.Event()

        async def beat():
            while True:
                await asyncio.gather(work(0), work(0))
                await asyncio.sleep(3)
                beaten.set()

        beating = begin(beat())
        for _ in range(3):
            beaten.clear()
            async with asyncio.timeout(10):
                await beaten.wait()
        beating.cancel()

    _, survey = surveyed(main)

    assert survey.replies(50_000) == []
