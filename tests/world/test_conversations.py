"""How long the clock stands for an answer from outside."""

import types

from virtualloop._world import conversations
from virtualloop._world.conversations import QUIET, Conversation, Conversations


def test_the_clock_stands_until_the_other_side_has_been_quiet(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(conversations, "real_time", types.SimpleNamespace(monotonic=lambda: now[0]))
    ended = []
    conversation = Conversation("db:5432", 600.0, ended.append)
    assert not conversation.holds(0.0, None)

    conversation.asked()
    assert conversation.holds(0.0, None)
    conversation.heard()
    now[0] += QUIET / 2
    assert conversation.holds(QUIET / 2, None)
    conversation.heard()
    now[0] += QUIET * 0.9
    assert conversation.holds(QUIET * 0.9, None)
    now[0] += QUIET * 0.2
    assert not conversation.holds(QUIET * 0.2, None)

    conversation.asked()
    assert conversation.holds(0.0, None)
    conversation.closed()
    assert not conversation.holds(0.0, None)
    assert ended == [conversation]


def test_a_conversation_that_is_closed_twice_has_ended_once():
    ended = []
    conversations = Conversations(patience=1.0)
    conversation = conversations.begin("db:5432", lambda: ended.append(bool(conversations)))
    assert conversations
    for _ in range(2):
        conversation.closed()

    assert not conversations
    assert ended == [False]
