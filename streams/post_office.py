"""The notifier with its couriers and their senders, wired together from the settings."""

from dataclasses import dataclass

from repo.access import AccessStore
from repo.clock import now_ms
from repo.deliveries import DeliveryStore
from repo.endpoints import EndpointStore
from repo.outgoing import Outgoing
from repo.ports import JobStore
from repo.stores import ObjectStores
from schemas.deliveries import DeliveryKind
from streams.core.deliveries import SendingPolicy
from streams.couriers import Couriers
from streams.job_sender import JobSender, Sources
from streams.mail import MailSender
from streams.metrics import StreamsMetrics
from streams.notifier import Notifier
from streams.patience import Patience
from streams.senders import Sender, WebhookSender
from streams.settings import StreamsSettings


@dataclass(frozen=True, slots=True)
class Stores:
    """What it reads and writes."""

    jobs: JobStore
    access: AccessStore
    deliveries: DeliveryStore
    endpoints: EndpointStore
    objects: ObjectStores


class PostOffice:
    """One process's. It does nothing until ``run``."""

    def __init__(
        self, settings: StreamsSettings, stores: Stores, policy: SendingPolicy, metrics: StreamsMetrics | None = None
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._policy = policy
        self._metrics = metrics or StreamsMetrics()
        self._couriers: Couriers | None = None

    def notifier(self) -> Notifier:
        """The handler of ``openv.events``."""
        return Notifier(
            self._stores.jobs,
            self._stores.deliveries,
            now_ms,
            self._wake,
            origin=self._settings.openv_public_url,
            mail=self._settings.mailing is not None,
        )

    async def run(self, patience: Patience) -> None:
        """Send what is due, for ever."""
        timeout_s = self._policy.timeout_ms / 1000
        async with Outgoing(self._settings.webhook_rules, timeout_s=timeout_s) as outgoing:
            senders = self._senders(outgoing)
            self._couriers = Couriers(
                self._stores.deliveries, senders, self._policy, patience, now_ms, metrics=self._metrics
            )
            await self._couriers.run()

    async def stop(self, within_s: float) -> None:
        """Begin no more tries; wait for those under way, but not longer than this."""
        if self._couriers is not None:
            await self._couriers.stop(within_s)

    def _wake(self) -> None:
        if self._couriers is not None:
            self._couriers.wake()

    def _senders(self, outgoing: Outgoing) -> dict[DeliveryKind, Sender]:
        stores = self._stores
        webhooks = WebhookSender(stores.deliveries, outgoing, now_ms)
        sources = Sources(stores.jobs, stores.endpoints, stores.objects)
        senders: dict[DeliveryKind, Sender] = {
            DeliveryKind.WEBHOOK: webhooks,
            DeliveryKind.TEST: webhooks,
            DeliveryKind.JOB: JobSender(sources, outgoing, now_ms, self._policy),
        }
        mailing = self._settings.mailing
        if mailing is not None:
            origin = self._settings.openv_public_url
            senders[DeliveryKind.MAIL] = MailSender(stores.access, mailing, origin, now_ms)
        return senders
