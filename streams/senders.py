"""How one delivery reaches its endpoint: what is looked up first, and the one try that follows."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from standardwebhooks import Webhook

from repo.core.documents import DamagedDocumentError
from repo.deliveries import DeliveryStore
from repo.outgoing import Answer, Outgoing
from schemas.deliveries import Delivery, DeliveryKind, Endpoint
from streams.core.deliveries import Result, retry_after_ms

USER_AGENT = "OpenV-Webhooks/1.0"

Clock = Callable[[], int]
Try = Callable[[], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Skip:
    """It is not to be sent at all."""

    reason: str


class Sender(Protocol):
    """One way to tell somebody something."""

    async def prepare(self, delivery: Delivery) -> Try | Skip:
        """Look up what is needed; raises ``Unavailable``. The try itself never raises for what others do."""
        ...


class WebhookSender:
    """By HTTP, signed as Standard Webhooks 1.0.0 says."""

    def __init__(self, store: DeliveryStore, outgoing: Outgoing, clock: Clock) -> None:
        self._store = store
        self._outgoing = outgoing
        self._clock = clock

    async def prepare(self, delivery: Delivery) -> Try | Skip:
        """See ``Sender.prepare``."""
        try:
            endpoint = (await self._store.hooks(delivery.user_id)).endpoint(delivery.endpoint_id)
        except DamagedDocumentError:
            return Skip("The document of the user's endpoints can't be read.")
        if endpoint is None:
            return Skip("The endpoint was deleted.")
        if not endpoint.enabled and delivery.kind is not DeliveryKind.TEST:
            return Skip("The endpoint is disabled.")
        return lambda: self._post(delivery, endpoint)

    async def _post(self, delivery: Delivery, endpoint: Endpoint) -> Result:
        began = self._clock()
        body = delivery.body.encode()
        answer = await self._outgoing.post(endpoint.url, headers_of(delivery, endpoint, began), body)
        ended = self._clock()
        return Result(
            at=began,
            duration_ms=max(0, ended - began),
            status=answer.status,
            error=fault_of(answer),
            retry_after_ms=retry_after_ms(answer.retry_after, ended),
            put_off=answer.put_off,
        )


def headers_of(delivery: Delivery, endpoint: Endpoint, at: int) -> dict[str, str]:
    """The headers of a try at this time (ms); while a secret is being replaced, the old one signs too."""
    seconds = at // 1000
    secrets = [endpoint.secret, *(one.secret for one in endpoint.retired if at < one.until)]
    moment = datetime.fromtimestamp(seconds, UTC)
    signatures = [Webhook(secret).sign(delivery.delivery_id, moment, delivery.body) for secret in secrets]
    return {
        "webhook-id": delivery.delivery_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signatures),
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
    }


def fault_of(answer: Answer) -> str | None:
    """Why this answer does not count, None where it does: 2xx alone."""
    if answer.status is None:
        return answer.error or "no answer"
    if 200 <= answer.status < 300:
        return None
    if 300 <= answer.status < 400:
        return f"HTTP {answer.status}: redirects are not followed"
    return f"HTTP {answer.status}"
