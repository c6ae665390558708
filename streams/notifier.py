"""The notifier: writes down whom to tell of a job's end, and takes back what nobody is to be told any more.

It only writes documents; the couriers beside it send them, so that one dead endpoint delays nobody. A record that is
read again meets the documents that are there, and adds none.
"""

from collections.abc import Callable
from dataclasses import replace

from repo.core.documents import DamagedDocumentError
from repo.deliveries import DeliveryStore
from repo.ports import JobStore
from schemas.accounts import Account
from schemas.codec import Message, Record
from schemas.deliveries import Delivery
from schemas.events import AccountEvent, JobEvent
from schemas.jobs import Job
from schemas.lifecycle import State
from streams.core.deliveries import cancelled
from streams.core.notices import EVENT_OF, deliveries_of, job_delivery
from streams.deadletters import CannotProcess

WANTED = frozenset(
    {
        *(f"dev.openv.job.{state}.v1" for state in (*EVENT_OF, State.DELETED)),
        AccountEvent.TYPES[1],
    }
)


class Notifier:
    """Handles those of ``openv.events`` that are ``WANTED``. ``mail``: whether mails can be sent at all."""

    def __init__(
        self,
        jobs: JobStore,
        deliveries: DeliveryStore,
        clock: Callable[[], int],
        wake: Callable[[], None],
        *,
        origin: str | None,
        mail: bool,
    ) -> None:
        self._jobs = jobs
        self._deliveries = deliveries
        self._clock = clock
        self._wake = wake
        self._origin = origin
        self._mail = mail

    async def handle(self, message: Message, record: Record, generation: int) -> None:  # noqa: ARG002 -- keeps nothing
        """See ``Handler.handle``."""
        try:
            match message:
                case JobEvent(job=job) if job.state is State.DELETED:
                    await self._take_back(job)
                case JobEvent(job=job) if job.state in EVENT_OF:
                    await self._tell(job)
                case AccountEvent(account=account) if account.deleted_at is not None:
                    await self._forget(account)
        except DamagedDocumentError as error:
            raise CannotProcess(f"whom to tell can't be found out: {error}", error) from error

    async def _tell(self, job: Job) -> None:
        hooks = await self._deliveries.hooks(job.user_id)
        made = deliveries_of(job, hooks, self._clock(), origin=self._origin, mail=self._mail)
        for delivery in made:
            await self._deliveries.add(delivery)
        own = job_delivery(job, self._clock())
        if own is not None and await self._is_there(job):
            await self._deliveries.add(own)
        if made or own is not None:
            self._wake()

    async def _is_there(self, job: Job) -> bool:
        """Or an event that is read again would bring back the address of a job that was deleted since."""
        standing = await self._jobs.job(job.job_id)
        return standing is not None and standing.state is not State.DELETED

    async def _take_back(self, job: Job) -> None:
        await self._deliveries.forget_job(job.job_id)
        for delivery in await self._deliveries.open_of_job(job.job_id):
            standing: Delivery | None = delivery
            while standing is not None:
                after = cancelled(standing, "The video was deleted.")
                if after is None or await self._deliveries.store_delivery(after, standing.version):
                    break
                standing = await self._deliveries.delivery(standing.delivery_id)  # a courier was first

    async def _forget(self, told: Account) -> None:
        """A user who came back since keeps what is from after the deletion; else all goes that is there."""
        asked_at = self._clock()
        account = await self._jobs.account(told.user_id)
        is_gone = account is None or account.deleted_at is not None
        before = asked_at if is_gone else told.deleted_issued_at
        while True:
            hooks = await self._deliveries.hooks(told.user_id)
            kept = tuple(one for one in hooks.endpoints if one.created_at >= before)
            if kept == hooks.endpoints:
                break
            if await self._deliveries.store_hooks(
                replace(hooks, version=hooks.version + 1, endpoints=kept), hooks.version
            ):
                break
        await self._deliveries.forget_deliveries(told.user_id, before)
