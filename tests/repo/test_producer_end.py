"""The end of a producer whose broker is away: it is one, whatever was under way, and the loop has nothing to tell."""

import asyncio
import gc
from typing import Any

import pytest
from aiokafka.errors import ProducerClosed
from aiokafka.structs import TopicPartition

from repo.kafka_clients import Producer


async def test_what_was_handed_over_is_given_up_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_exception_handler", told.append)
    producer = Producer(bootstrap_servers="127.0.0.1:1")
    builder = producer.create_batch()
    builder.append(key=None, value=b"x", timestamp=None)
    builder.close()
    waiting = await producer._message_accumulator.add_batch(builder, TopicPartition("t", 0), 1)

    async def fails() -> None:
        """As aiokafka's, where a request fails while its batch is given up."""
        raise KeyError

    producer._sender.close = fails
    await producer.end(0)
    with pytest.raises(ProducerClosed):
        await waiting
    del waiting, builder, producer
    gc.collect()
    await asyncio.sleep(0)
    assert [one for one in told if isinstance(one.get("exception"), ProducerClosed)] == []
