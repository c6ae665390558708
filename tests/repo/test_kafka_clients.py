"""How clients of Kafka end."""

import asyncio

from repo.kafka_clients import Consumer


async def test_a_consumer_that_cancels_itself_while_it_ends_does_not_cancel_who_ends_it() -> None:
    """aiokafka awaits the fetches that it cancels: seen when a process was suspended and went on."""
    consumer = Consumer(bootstrap_servers="127.0.0.1:1")
    stop = consumer.stop

    async def cancelled() -> None:
        await stop()
        raise asyncio.CancelledError

    consumer.stop = cancelled
    await consumer.end(0)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_stop_that_breaks_off_midway_cancels_nobody_either() -> None:
    """It takes the futures of the connections with it, for which a second close waits: seen in a process whose loop was
    held up for seconds."""
    consumer = Consumer(bootstrap_servers="127.0.0.1:1")
    closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def close() -> None:
        await closed

    consumer._client.close = close
    consumer._client.close = close
    consumer.stop = close
    await consumer.end(0)
    consumer._closed = True  # it was never open
    assert closed.cancelled()
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
