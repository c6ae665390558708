"""What all our Kafka clients share: how they connect, and how a broken one is replaced by a new one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.helpers import create_ssl_context

from repo import kafka_records
from repo.ports import Unavailable
from repo.settings import ServerSettings

logger = structlog.get_logger()

RETRY_S = 0.2
_CONNECT_WITHIN_S = 15.0
_CLOSE_WITHIN_S = 1.0
FAILURES = (KafkaError, OSError, TimeoutError)  # what a client raises for a broker that is away or in trouble


def connection_options(settings: ServerSettings) -> dict[str, Any]:
    """The arguments that aiokafka's clients and Faust's have in common. Raises OSError for unreadable files of TLS.

    From here on no record's header can stop a reader of this process (``repo/kafka_records.py``).
    """
    # At DEBUG aiokafka logs keys and values; a prompt must not reach a log whatever level an operator sets.
    logging.getLogger("aiokafka").setLevel(max(logging.INFO, logging.getLogger("aiokafka").level))
    kafka_records.install()
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        password = settings.kafka_ssl_key_password
        options["ssl_context"] = create_ssl_context(
            cafile=settings.kafka_ssl_cafile,
            certfile=settings.kafka_ssl_certfile,
            keyfile=settings.kafka_ssl_keyfile,
            # Else OpenSSL would ask the terminal, and wait.
            password=password.get_secret_value() if password is not None else "",
        )
    if settings.kafka_security_protocol.startswith("SASL") and settings.kafka_sasl_password:
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


class Client(Protocol):
    """A client that connects once and ends once."""

    async def start(self) -> None: ...

    async def end(self, flush_within_s: float) -> None:
        """Close whatever state it is in, in bounded time; what is not delivered by then is given up."""
        ...


class Producer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka ships no types
    """aiokafka's producer with an end that does not wait for an absent broker."""

    async def end(self, flush_within_s: float) -> None:
        """``stop()`` waits until everything is delivered, and an idempotent batch never expires."""
        self._closed = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._message_accumulator.flush(), flush_within_s)
        self._message_accumulator.fail_all(ProducerClosed())
        for batches in self._message_accumulator._batches.values():  # noqa: SLF001 -- there is no other way to them
            for batch in batches:  # nobody waits for their turn any more, and the loop's log would tell of each
                _look_at(batch._drain_waiter)  # noqa: SLF001
        # KeyError: a request that failed just now wants to put a batch back, which was given up meanwhile.
        if self._sender.sender_task is not None:
            self._sender.sender_task.remove_done_callback(self._sender._fail_all)  # noqa: SLF001 -- all have failed
        with suppress(TimeoutError, asyncio.CancelledError, KeyError):
            await asyncio.wait_for(self._sender.close(), _CLOSE_WITHIN_S)
        await self.client.close()


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """aiokafka's consumer (without a group), with the same kind of end."""

    async def end(self, flush_within_s: float) -> None:  # noqa: ARG002 -- it has nothing to flush
        # aiokafka cancels its own fetches and then awaits them, which raises CancelledError in whoever stops it. In a
        # task of its own that ends nobody else's work; a cancellation of the caller still does.
        stopping = asyncio.create_task(self.stop())
        try:
            await asyncio.wait({stopping}, timeout=_CLOSE_WITHIN_S)
        finally:
            stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        # A stop that broke off may not have come so far. Where it had, it took the connections' futures with it, and
        # waiting for those raises CancelledError in turn.
        await asyncio.gather(asyncio.create_task(self._client.close()), return_exceptions=True)


C = TypeVar("C", bound=Client)
R = TypeVar("R")


class Reconnecting(Generic[C]):
    """One client for all tasks of the process: connected at first use, made anew after ``discard``."""

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        self._client: C | None = None
        self._connecting: asyncio.Task[C] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> C | None:
        """The connected client, or None while there is none."""
        return self._client

    async def get(self) -> C:
        """The connected client; tries until the caller's own timeout. A cancelled caller disturbs no other one."""
        while True:
            if self._client is not None:
                return self._client
            if self._connecting is None or self._connecting.done():
                self._connecting = asyncio.create_task(self._connect())
                self._connecting.add_done_callback(_look_at)  # its waiters may be gone by then
            try:
                await asyncio.shield(self._connecting)
            except FAILURES as failure:
                logger.info("kafka is away", reason=describe(failure))
                await asyncio.sleep(RETRY_S)

    async def _connect(self) -> C:
        client = self._make()
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                await client.start()
        except BaseException:
            await client.end(0)
            raise
        self._client = client
        return client

    def discard(self, client: C) -> None:
        """Replace this client (unless that was done already); it ends in the background."""
        if self._client is client:
            self._client = None
            task = asyncio.create_task(client.end(0))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self, flush_within_s: float) -> None:
        """End the client, after delivering what it holds if that takes no longer than this."""
        if self._connecting is not None:
            await settle(self._connecting)
        if self._client is not None:
            client, self._client = self._client, None
            await client.end(flush_within_s)
        await asyncio.gather(*self._ending, return_exceptions=True)


def _look_at(done: "asyncio.Future[Any]") -> None:
    if not done.cancelled():
        done.exception()


async def settle(connecting: "asyncio.Task[Any]") -> None:
    """End a connection attempt. aiokafka forgets an open socket when it is cancelled, so it is given a moment first."""
    await asyncio.wait({connecting}, timeout=_CLOSE_WITHIN_S)
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)


async def within(timeout_s: float, work: Awaitable[R]) -> R:
    """The result of ``work``, or ``Unavailable`` after the time, or for a failure that names the broker's absence."""
    try:
        async with asyncio.timeout(timeout_s):
            return await work
    except FAILURES as failure:
        raise Unavailable("kafka", describe(failure) or f"no answer in {timeout_s:g} s") from failure


def describe(failure: BaseException) -> str:
    """Kind and words of a failure of aiokafka (they name brokers and topics, never values), at most a line."""
    if isinstance(failure, TimeoutError):
        return ""
    return f"{type(failure).__name__}: {failure}".strip(": ").replace("\n", " ")[:200]
