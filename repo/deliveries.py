"""The port of what users are told: their webhook endpoints and the deliveries. Shapes: ``schemas/deliveries.py``.

As the other ports (``repo/ports.py``): every method raises ``Unavailable``, every write may be repeated.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from schemas.deliveries import Delivery, Hooks

BACKLOG_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """Deliveries that are due: how many (of more than ``BACKLOG_MOST``, so many), and since when the oldest is (ms)."""

    due: int
    oldest: int | None


class DeliveryStore(Protocol):
    """MongoDB. Many writers: gateways and notifiers; each write is one document, compared."""

    async def hooks(self, user_id: str) -> Hooks:
        """All endpoints of a user; version 0 where there never were any."""
        ...

    async def store_hooks(self, hooks: Hooks, expected: int) -> bool:
        """Compare-and-set: True if the stored version was ``expected`` (0: none) and now is this one's.

        Also True where this very document is stored already. Raises ValueError unless its version is higher.
        """
        ...

    async def add(self, delivery: Delivery) -> bool:
        """Store it unless there is one of that id, whatever became of that; whether it is stored by this call.

        False as well where an earlier call stored it and its answer was lost.
        """
        ...

    async def delivery(self, delivery_id: str) -> Delivery | None:
        """The newest version."""
        ...

    async def store_delivery(self, delivery: Delivery, expected: int) -> bool:
        """Compare-and-set, as ``store_hooks``; False where it is gone. Never adds one."""
        ...

    async def due(
        self, now: int, limit: int, *, not_of: Collection[str] = (), not_to: Collection[str] = ()
    ) -> list[Delivery]:
        """Those with ``next_at`` up to ``now``, the longest due first: to be sent, or claimed by somebody dead.

        ``not_of`` leaves out users, ``not_to`` endpoints and servers (``Delivery.to``). One that can't be read is set
        aside: due no more.
        """
        ...

    async def due_to(self, endpoint_id: str, now: int, limit: int) -> list[Delivery]:
        """As ``due``, those to this endpoint alone: mails, which wait behind no webhook."""
        ...

    async def deliveries_of(
        self,
        user_id: str,
        endpoint_id: str,
        *,
        before: tuple[int, str] | None = None,
        limit: int = 50,
        job_id: str | None = None,
    ) -> list[Delivery]:
        """To one endpoint of a user, newest first by (created_at, delivery_id); ``before`` pages.

        ``job_id``: those about that job alone.
        """
        ...

    async def of_job(self, job_id: str, *, limit: int = 100) -> list[Delivery]:
        """Those about a job, to whomever, oldest first by (created_at, delivery_id); at most ``limit``."""
        ...

    async def open_of_job(self, job_id: str) -> list[Delivery]:
        """Those about a job that are not over."""
        ...

    async def forget_job(self, job_id: str) -> None:
        """Delete all deliveries to the address that this job came with."""
        ...

    async def forget_endpoint(self, user_id: str, endpoint_id: str) -> None:
        """Delete all deliveries to it."""
        ...

    async def forget_deliveries(self, user_id: str, before: int) -> None:
        """Delete all deliveries to a user that were made before ``before`` (ms)."""
        ...

    async def backlog(self, now: int) -> Backlog:
        """How much is due."""
        ...

    async def sweep(self, now: int) -> int:
        """Delete those whose ``delete_at`` has come; how many there were."""
        ...
