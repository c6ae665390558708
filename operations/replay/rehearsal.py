"""What would change: the real ledger and the real notifier, over a copy. Nothing is written anywhere, nor traced: what
is only tried out is no part of any job's life."""

from collections.abc import Callable, Collection, Sequence
from typing import cast

import orjson

from operations.core.replay_report import Effects
from operations.replay.overlay import OverlayJobStore
from repo import tracing
from repo.core.documents import DamagedDocumentError
from repo.deliveries import DeliveryStore
from repo.ports import EventLog, JobStore, Position
from schemas.codec import Encoded, Record, Unreadable, decode
from schemas.deliveries import Delivery, Hooks
from schemas.events import CommandAnswered
from schemas.topics import COMMANDS, DISPATCH, EVENTS
from streams.core.policy import Policy
from streams.deadletters import CannotProcess
from streams.ledger import Ledger
from streams.notifier import WANTED, Notifier

REHEARSED = frozenset({COMMANDS.name, EVENTS.name, DISPATCH.name})
ADDED_KEPT = 50_000
_GENERATION = 1


class _DeliveriesOverlay:
    """Of ``DeliveryStore``, what the notifier uses: what it would add is counted, what it would take back is not."""

    def __init__(self, real: DeliveryStore, effects: Effects) -> None:
        self._real = real
        self._effects = effects
        self._added: set[str] = set()

    async def hooks(self, user_id: str) -> Hooks:
        """As they are."""
        return await self._real.hooks(user_id)

    async def add(self, delivery: Delivery) -> bool:
        """Whether it would be a new one."""
        if delivery.delivery_id in self._added or await self._real.delivery(delivery.delivery_id) is not None:
            return False
        if len(self._added) < ADDED_KEPT:
            self._added.add(delivery.delivery_id)
        else:
            self._effects.forgotten += 1
        self._effects.deliveries.add(f"{delivery.kind} {delivery.type}")
        return True

    async def open_of_job(self, _job_id: str) -> Collection[Delivery]:
        """None is taken back here."""
        return ()

    async def forget_job(self, _job_id: str) -> None:
        """Nothing is forgotten here."""

    async def forget_deliveries(self, _user_id: str, _before: int) -> None:
        """Nothing is forgotten here."""

    async def store_hooks(self, _hooks: Hooks, _expected: int) -> bool:
        """Nothing is stored here."""
        return True


class _Announced:
    """Of ``EventLog``, what the ledger uses: announcements are counted, and passed on to the notifier."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self.told: list[Encoded] = []

    async def append_all(self, messages: Sequence[Encoded]) -> list[Position]:
        """Counted; nothing is appended."""
        for message in messages:
            name = next(value.decode() for name, value in message.headers if name == "ce_type")
            self._effects.announced.add(name)
            if name == CommandAnswered.TYPE:
                answer = orjson.loads(message.value)
                self._effects.outcomes.add(answer["outcome"])
                if answer.get("code"):
                    self._effects.refusals.add(answer["code"])
            elif name in WANTED:
                self.told.append(message)
        return [Position(0, 0) for _ in messages]


class Rehearsal:
    """``take`` each record as it would be written. ``effects`` has what came of them."""

    def __init__(
        self,
        jobs: JobStore,
        deliveries: DeliveryStore,
        policy: Policy,
        clock: Callable[[], int],
        *,
        origin: str | None,
        mail: bool,
    ) -> None:
        self.effects = Effects()
        copy = cast("JobStore", OverlayJobStore(jobs, self.effects))
        self._announced = _Announced(self.effects)
        self._ledger = Ledger(copy, cast("EventLog", self._announced), policy, clock=clock)
        self._notifier = Notifier(
            copy,
            cast("DeliveryStore", _DeliveriesOverlay(deliveries, self.effects)),
            clock,
            lambda: None,
            origin=origin,
            mail=mail,
        )

    async def take(self, record: Record) -> None:
        """Raises ``Unavailable``."""
        self.effects.decided += 1
        message = decode(record)
        if isinstance(message, Unreadable):
            self.effects.dead_letters.add(message.reason)
            return
        try:
            with tracing.muted():
                if record.topic == COMMANDS.name:
                    await self._ledger.handle(message, record, _GENERATION)
                    await self._tell(record)
                elif record.topic == EVENTS.name and record.header("ce_type") in WANTED:
                    await self._notifier.handle(message, record, _GENERATION)
        except CannotProcess as failure:
            self.effects.dead_letters.add(failure.reason)
        except DamagedDocumentError:
            self.effects.dead_letters.add("a document that it names is damaged")

    async def _tell(self, cause: Record) -> None:
        """What was announced, to the notifier."""
        told, self._announced.told = self._announced.told, []
        for one in told:
            record = Record(one.topic, 0, 0, cause.timestamp, one.key, one.value, one.headers)
            message = decode(record)
            if not isinstance(message, Unreadable):
                await self._notifier.handle(message, record, _GENERATION)
