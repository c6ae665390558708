"""Writing to any topic of the cluster, fast: whole batches, idempotent, acknowledged by all replicas.

Records of one partition keep their order, across batches too. What failed may have been written all the same.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.protocol.produce import ProduceRequest

from repo.kafka_clients import FAILURES, Producer, connection_options, describe, within
from repo.ports import Unavailable
from repo.settings import ServerSettings
from schemas.topics import RECORD_MAX

BATCH_BYTES = 512 * 1024
_LOOK_AGAIN_S = 0.05
_murmur2 = DefaultPartitioner()

Headers = list[tuple[str, bytes | None]]


class Sent:
    """What one call of ``send`` has put on its way. ``landed`` waits for it."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, int, int, asyncio.Future[Any]]] = []

    async def landed(self, within_s: float) -> dict[tuple[str, int], int]:
        """By topic and partition the offset after the last, where the broker has said it. Raises ``Unavailable``."""
        futures = [one[3] for one in self.batches]
        if futures:
            done, pending = await asyncio.wait(futures, timeout=within_s)
            failed = next((one.exception() for one in done if one.exception() is not None), None)
            if failed is not None or pending:
                reason = describe(failed) if failed is not None else f"no acknowledgement in {within_s:g} s"
                raise Unavailable("kafka", reason)
        ends: dict[tuple[str, int], int] = {}
        for topic, partition, count, future in self.batches:
            if (offset := future.result().offset) >= 0:
                ends[topic, partition] = max(ends.get((topic, partition), 0), offset + count)
        return ends


class _Producer(Producer):
    """One that asks before each request. What was handed over while it might still write, may be due after that: this
    process may have stood still in between."""

    def __init__(self, may_send: Callable[[], bool], **options: Any) -> None:
        super().__init__(**options)
        self._may_send = may_send
        self._send = self.client.send
        self.client.send = self._send_if_it_may

    async def _send_if_it_may(self, node_id: int, request: Any, **options: Any) -> Any:
        while isinstance(request, ProduceRequest):
            await self.client.ready(node_id)  # or it would connect between the question and the request
            if self._may_send():
                break
            if self._closed:
                raise ProducerClosed
            await asyncio.sleep(_LOOK_AGAIN_S)
        return await self._send(node_id, request, **options)


class TopicWriter:
    """``async with TopicWriter(settings, client_id) as writer``: ``add`` records, then ``send`` what was added.

    ``may_send``: asked right before each request; while it may not, nothing goes out.
    """

    def __init__(
        self,
        settings: ServerSettings,
        client_id: str,
        *,
        patience_s: float = 20.0,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._patience_s = patience_s
        self._may_send = may_send
        self._open: dict[tuple[str, int], list[Any]] = {}

    async def __aenter__(self) -> Self:
        self._producer = _Producer(
            self._may_send,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=RECORD_MAX,
            request_timeout_ms=int(self._patience_s * 1000),
            **connection_options(self._settings),
        )
        try:
            await within(self._patience_s, self._producer.start())
        except BaseException:
            await self._producer.end(0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._producer.end(0)

    def add(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Put a record behind those added before for its partition. Nothing is sent yet."""
        batches = self._open.get((topic, partition))
        if batches is None:
            batches = self._open[topic, partition] = [self._producer.create_batch()]
        if batches[-1].append(key=key, value=value, timestamp=None, headers=headers) is None:
            batch = self._producer.create_batch()
            batch.append(key=key, value=value, timestamp=None, headers=headers)
            batches.append(batch)

    async def send(self) -> Sent:
        """Hand over what was added; returns when it is on its way. Raises ``Unavailable``: some of it may be."""
        opened, self._open = self._open, {}
        sent = Sent()
        try:
            await asyncio.gather(*(self._hand_over(*at, batches, sent) for at, batches in opened.items()))
        except (*FAILURES, KafkaError, AssertionError, TypeError) as failure:
            for *_, future in sent.batches:
                future.add_done_callback(_seen)
            raise Unavailable("kafka", describe(failure) or "it takes no batches") from failure
        return sent

    async def _hand_over(self, topic: str, partition: int, batches: list[Any], sent: Sent) -> None:
        for batch in batches:
            count = batch.record_count()
            batch.close()
            future = await self._producer.send_batch(batch, topic, partition=partition)
            future.add_done_callback(_seen)
            sent.batches.append((topic, partition, count, future))


def partition_for(key: bytes | None, partitions: list[int], otherwise: int) -> int:
    """As Kafka's own clients choose it (murmur2); for a record without a key ``otherwise``, within what there is."""
    if key is None:
        return partitions[otherwise % len(partitions)]
    return int(_murmur2(key, partitions, partitions))


def _seen(future: "asyncio.Future[Any]") -> None:
    """A failure that nobody waits for any more is no news for the loop's log."""
    if not future.cancelled():
        future.exception()
