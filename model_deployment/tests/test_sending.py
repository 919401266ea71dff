"""Large answers are sent in pieces, and unread ones are not held for long."""

import asyncio
import io

import pytest

from model_deployment.http import sending
from model_deployment.http.request import Answer
from model_deployment.http.sending import MOST_UNREAD, PIECE, Sender

BODY = bytes(i % 251 for i in range(PIECE * 2 + 7))


def sent(body, read=lambda: asyncio.sleep(0)):
    messages = []

    async def send(message):
        messages.append(message)
        await read()

    asyncio.run(Sender().send(Answer(200, [], body), [], send))
    return messages


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, len(BODY)])
@pytest.mark.parametrize("kind", [bytes, io.BytesIO])
def test_an_answer_is_sent_whole_and_a_file_closed(size, kind):
    body = kind(BODY[:size])
    start, *parts = sent(body)
    assert start["status"] == 200
    assert b"".join(part["body"] for part in parts) == BODY[:size]
    assert max(len(part["body"]) for part in parts) <= PIECE
    assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [False]
    assert kind is bytes or body.closed


@pytest.mark.parametrize("kind", [bytes, io.BytesIO])
def test_unread_answer_is_dropped(kind, monkeypatch):
    monkeypatch.setattr(sending, "UNREAD_SECONDS", 0.1)
    reads = iter(range(2))

    async def read():
        if next(reads, None) is None:
            await asyncio.sleep(60)

    body = kind(BODY)
    assert len(sent(body, read)) == 3
    assert kind is bytes or body.closed


def test_unread_answers_are_limited_in_all():
    async def several():
        sender, go = Sender(), asyncio.Event()

        async def send(message):
            await go.wait()

        answer = Answer(200, [], b"x" * (MOST_UNREAD // 2 + 1))
        assert sender.has_room(Answer(200, [], b"x" * (MOST_UNREAD + 1))), "one alone may be larger"
        held = asyncio.ensure_future(
            sender.send(answer, [], lambda message: _started(message, send))
        )
        await asyncio.sleep(0.05)
        assert not sender.has_room(answer)
        assert sender.has_room(Answer(200, [], b"x" * PIECE))
        assert sender.has_room(Answer(200, [], io.BytesIO()))
        go.set()
        await held
        assert sender.has_room(answer)

    async def _started(message, send):
        if message["type"] != "http.response.start":
            await send(message)

    asyncio.run(several())
