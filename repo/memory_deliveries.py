"""The memory twin of ``DeliveryStore``."""

from collections.abc import Collection

from repo.core.documents import to_document
from repo.deliveries import BACKLOG_MOST, Backlog
from repo.ports import Unavailable
from schemas.deliveries import JOBS, Delivery, Hooks


class MemoryDeliveryStore:
    """Implements ``DeliveryStore``. ``away = True`` is an outage."""

    def __init__(self) -> None:
        self.away = False
        self._hooks: dict[str, Hooks] = {}
        self._deliveries: dict[str, Delivery] = {}

    def _check(self) -> None:
        if self.away:
            raise Unavailable("mongodb", "switched off by a test")

    async def hooks(self, user_id: str) -> Hooks:
        """See ``DeliveryStore.hooks``."""
        self._check()
        return self._hooks.get(user_id, Hooks(user_id=user_id))

    async def store_hooks(self, hooks: Hooks, expected: int) -> bool:
        """See ``DeliveryStore.store_hooks``."""
        self._check()
        _storable(hooks, hooks.user_id, expected)
        stored = self._hooks.get(hooks.user_id)
        if (stored.version if stored else 0) == expected:
            self._hooks[hooks.user_id] = hooks
            return True
        return stored == hooks

    async def add(self, delivery: Delivery) -> bool:
        """See ``DeliveryStore.add``."""
        self._check()
        to_document(delivery, delivery.delivery_id)
        if delivery.delivery_id in self._deliveries:
            return False
        self._deliveries[delivery.delivery_id] = delivery
        return True

    async def delivery(self, delivery_id: str) -> Delivery | None:
        """See ``DeliveryStore.delivery``."""
        self._check()
        return self._deliveries.get(delivery_id)

    async def store_delivery(self, delivery: Delivery, expected: int) -> bool:
        """See ``DeliveryStore.store_delivery``."""
        self._check()
        _storable(delivery, delivery.delivery_id, expected)
        stored = self._deliveries.get(delivery.delivery_id)
        if stored is not None and stored.version == expected:
            self._deliveries[delivery.delivery_id] = delivery
            return True
        return stored == delivery

    async def due(
        self, now: int, limit: int, *, not_of: Collection[str] = (), not_to: Collection[str] = ()
    ) -> list[Delivery]:
        """See ``DeliveryStore.due``."""
        self._check()
        found = [
            (one.next_at, one)
            for one in self._deliveries.values()
            if one.next_at is not None
            and one.next_at <= now
            and one.user_id not in not_of
            and {one.endpoint_id, one.to}.isdisjoint(not_to)
        ]
        return [one for _, one in sorted(found, key=lambda pair: pair[0])][:limit]

    async def due_to(self, endpoint_id: str, now: int, limit: int) -> list[Delivery]:
        """See ``DeliveryStore.due_to``."""
        return [one for one in await self.due(now, len(self._deliveries)) if one.endpoint_id == endpoint_id][:limit]

    async def deliveries_of(
        self,
        user_id: str,
        endpoint_id: str,
        *,
        before: tuple[int, str] | None = None,
        limit: int = 50,
        job_id: str | None = None,
    ) -> list[Delivery]:
        """See ``DeliveryStore.deliveries_of``."""
        self._check()
        found = [
            one
            for one in self._deliveries.values()
            if (one.user_id, one.endpoint_id) == (user_id, endpoint_id)
            and (before is None or (one.created_at, one.delivery_id) < before)
            and job_id in (None, one.job_id)
        ]
        return sorted(found, key=lambda one: (one.created_at, one.delivery_id), reverse=True)[:limit]

    async def of_job(self, job_id: str, *, limit: int = 100) -> list[Delivery]:
        """See ``DeliveryStore.of_job``."""
        self._check()
        found = [one for one in self._deliveries.values() if one.job_id == job_id]
        return sorted(found, key=lambda one: (one.created_at, one.delivery_id))[: max(0, limit)]

    async def open_of_job(self, job_id: str) -> list[Delivery]:
        """See ``DeliveryStore.open_of_job``."""
        self._check()
        return [one for one in self._deliveries.values() if one.job_id == job_id and one.next_at is not None]

    async def forget_job(self, job_id: str) -> None:
        """See ``DeliveryStore.forget_job``."""
        self._check()
        self._drop([one for one in self._deliveries.values() if (one.job_id, one.endpoint_id) == (job_id, JOBS)])

    async def forget_endpoint(self, user_id: str, endpoint_id: str) -> None:
        """See ``DeliveryStore.forget_endpoint``."""
        self._check()
        self._drop(
            [one for one in self._deliveries.values() if (one.user_id, one.endpoint_id) == (user_id, endpoint_id)]
        )

    async def forget_deliveries(self, user_id: str, before: int) -> None:
        """See ``DeliveryStore.forget_deliveries``."""
        self._check()
        self._drop([one for one in self._deliveries.values() if one.user_id == user_id and one.created_at < before])

    async def backlog(self, now: int) -> Backlog:
        """See ``DeliveryStore.backlog``."""
        self._check()
        due = [one.next_at for one in self._deliveries.values() if one.next_at is not None and one.next_at <= now]
        return Backlog(min(len(due), BACKLOG_MOST), min(due, default=None))

    async def sweep(self, now: int) -> int:
        """See ``DeliveryStore.sweep``."""
        self._check()
        return self._drop([one for one in self._deliveries.values() if one.delete_at <= now])

    def _drop(self, gone: list[Delivery]) -> int:
        for one in gone:
            del self._deliveries[one.delivery_id]
        return len(gone)


def _storable(value: Hooks | Delivery, key: str, expected: int) -> None:
    if value.version <= expected:
        raise ValueError(f"version {value.version} does not come after {expected}")
    to_document(value, key)
