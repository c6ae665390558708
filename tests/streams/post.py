"""Couriers over memory twins, with a sender that does what a test says, and a clock that a test moves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from repo.memory import MemoryDatabase
from schemas.deliveries import Delivery, DeliveryKind, Endpoint, Hooks, WebhookEvent
from streams.board import Board
from streams.core.deliveries import Result, SendingPolicy
from streams.couriers import Couriers
from streams.notifier import Notifier
from streams.patience import Patience
from streams.senders import Skip, Try
from streams.settings import Role
from streams.vitals import new_vitals

NOW = 1_790_000_000_000
QUICK = SendingPolicy(look_ms=5)


def fine(_: Delivery) -> Result:
    return Result(at=NOW, duration_ms=1, status=200)


def broken(_: Delivery) -> Result:
    return Result(at=NOW, duration_ms=0, status=500, error="HTTP 500")


@dataclass
class FakeSender:
    """Notes what is sent. ``answer`` decides; ``hold`` keeps a try under way for as long as it is not set."""

    answer: Callable[[Delivery], Result] = fine
    skip: str | None = None
    sent: list[Delivery] = field(default_factory=list)
    held: Callable[[Delivery], "asyncio.Event | None"] = lambda _: None

    async def prepare(self, delivery: Delivery) -> Try | Skip:
        if self.skip is not None:
            return Skip(self.skip)

        async def send() -> Result:
            self.sent.append(delivery)
            event = self.held(delivery)
            if event is not None:
                await event.wait()
            return self.answer(delivery)

        return send


class Post:
    """One deployment's database; any number of couriers."""

    def __init__(self) -> None:
        self.now = NOW
        self.database = MemoryDatabase()
        self.store = self.database.deliveries
        self.sender = FakeSender()
        self.woken = 0

    def couriers(
        self, policy: SendingPolicy = QUICK, sender: FakeSender | None = None, *, mail: bool = False
    ) -> Couriers:
        board = Board(new_vitals((Role.NOTIFIER,)), ready=lambda _: None, waiting=lambda _: None)
        used = sender or self.sender
        senders = {DeliveryKind.WEBHOOK: used, DeliveryKind.TEST: used, DeliveryKind.JOB: used}
        if mail:
            senders[DeliveryKind.MAIL] = used
        return Couriers(self.store, senders, policy, Patience(Role.NOTIFIER, board), lambda: self.now, lambda: 0.0)

    def notifier(self, *, mail: bool = False) -> Notifier:
        def wake() -> None:
            self.woken += 1

        return Notifier(self.database.jobs, self.store, lambda: self.now, wake, origin="https://v.example", mail=mail)

    async def endpoint(self, user_id: str = "ann", endpoint_id: str = "wh_1", **changes: Any) -> Endpoint:
        """One more endpoint of the user, listening to everything since ever."""
        values: dict[str, Any] = {
            "endpoint_id": endpoint_id,
            "url": "https://example.org",
            "listens": dict.fromkeys(WebhookEvent, 0),
            "secret": "whsec_c2VjcmV0",
            "created_at": 1,
            "updated_at": 1,
        }
        made = Endpoint(**(values | changes))
        hooks = await self.store.hooks(user_id)
        more = Hooks(user_id=user_id, version=hooks.version + 1, endpoints=(*hooks.endpoints, made))
        assert await self.store.store_hooks(more, hooks.version)
        return made

    async def add(self, delivery_id: str, user_id: str = "ann", endpoint_id: str = "wh_1", **changes: Any) -> Delivery:
        """Something to be sent now."""
        values: dict[str, Any] = {
            "delivery_id": delivery_id,
            "user_id": user_id,
            "endpoint_id": endpoint_id,
            "kind": DeliveryKind.WEBHOOK,
            "type": "video.failed",
            "body": "{}",
            "version": 1,
            "created_at": self.now,
            "delete_at": self.now + 10**10,
            "next_at": self.now,
        }
        made = Delivery(**(values | changes))
        assert await self.store.add(made)
        return made

    async def looked(self, times: int = 3) -> None:
        """Couriers have looked for what is due so often since."""
        seen, due = 0, self.store.due

        async def counting(*arguments: Any, **how: Any) -> list[Delivery]:
            nonlocal seen
            seen += 1
            return await due(*arguments, **how)

        self.store.due = counting  # type: ignore[method-assign]
        try:
            await until(lambda: seen > times)  # the last of them has been answered, and what it found begun
        finally:
            self.store.due = due  # type: ignore[method-assign]

    async def got(self, delivery_id: str) -> Delivery:
        found = await self.store.delivery(delivery_id)
        assert found is not None
        return found


@asynccontextmanager
async def working(*couriers: Couriers) -> AsyncIterator[None]:
    """They run; afterwards they are cancelled."""
    tasks = [asyncio.create_task(one.run()) for one in couriers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def until(true: Callable[[], Awaitable[Any] | Any], within_s: float = 20.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(within_s):
        while True:
            answer = true()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.002)
