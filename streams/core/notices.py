"""What a job's end is to those who want to be told: which deliveries, and the body that is signed and sent.

The body is a function of the document, and holds no prompt: it goes to a server that keeps logs of its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from schemas.api.webhooks import Told, ToldFailure, ToldVideo
from schemas.deliveries import (
    JOB_TOLD_WITHIN_MS,
    JOBS,
    MAIL,
    TOLD_WITHIN_MS,
    Delivery,
    DeliveryKind,
    Endpoint,
    Hooks,
    WebhookEvent,
    delivery_id_of,
    kept_ms,
    place_of_server,
)
from schemas.documents import job_document
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.shape import to_json

MAILED_WITHIN_MS = 86_400_000  # nobody wants to be told of last month's failures when mail is first set up
WORDS_MAX = 500

EVENT_OF: Mapping[State, WebhookEvent] = MappingProxyType(
    {
        State.COMPLETED: WebhookEvent.COMPLETED,
        State.FAILED: WebhookEvent.FAILED,
        State.TIMED_OUT: WebhookEvent.FAILED,
        State.CANCELLED: WebhookEvent.CANCELLED,
    }
)


def ended_at(job: Job) -> int:
    """When it ended (ms)."""
    return job.finished_at if job.finished_at is not None else job.updated_at


def deliveries_of(job: Job, hooks: Hooks, now: int, *, origin: str | None, mail: bool) -> list[Delivery]:
    """All that is to be told of this job's end, to its user's endpoints and, with ``mail``, by mail.

    ``origin``: the gateway's public address; None: links in the body are paths. Nothing for a job that goes on, and
    nothing for one of external workers, which is no video. See ``job_delivery`` for the job's own address.
    """
    event = EVENT_OF.get(job.state)
    age = now - ended_at(job)
    if event is None or age > TOLD_WITHIN_MS or job.external:
        return []
    body = body_of(job, event, origin)
    listening = [one for one in hooks.endpoints if listens(one, event, ended_at(job))]
    made = [_delivery(job, DeliveryKind.WEBHOOK, one.endpoint_id, event.value, body, now) for one in listening]
    if mail and event is WebhookEvent.FAILED and age <= MAILED_WITHIN_MS:
        made.append(_delivery(job, DeliveryKind.MAIL, MAIL, event.value, body, now))
    return made


def job_delivery(job: Job, now: int) -> Delivery | None:
    """The call to the address that the job came with, of whatever kind; None where there is none to be made."""
    if job.webhook is None or job.state not in EVENT_OF or now - ended_at(job) > JOB_TOLD_WITHIN_MS:
        return None
    made = _delivery(job, DeliveryKind.JOB, JOBS, f"job.{job.state}", "", now)
    return replace(made, run=job.run, url=job.webhook, to=place_of_server(job.user_id, job.webhook))


def listens(endpoint: Endpoint, event: WebhookEvent, at: int) -> bool:
    """Whether the endpoint wants to be told of such an event of this time."""
    since = endpoint.listens.get(event)
    return endpoint.enabled and since is not None and since <= at


def body_of(job: Job, event: WebhookEvent, origin: str | None) -> str:
    """``schemas.api.webhooks.Told``: JSON, below 20 kB as the Standard Webhooks specification wants it."""
    document = job_document(job)
    places = {name: document.get(name) for name in ("url", "posterUrl", "thumbnailUrl")}
    whole = {name: f"{origin or ''}{place}" for name, place in places.items() if place}
    video = ToldVideo(
        job_id=job.job_id,
        status=document["status"],
        state=job.state,
        run=job.run,
        frames=document["frames"],
        created_at=job.created_at,
        updated_at=job.updated_at,
        finished_at=job.finished_at,
        url=whole.get("url"),
        poster_url=whole.get("posterUrl"),
        thumbnail_url=whole.get("thumbnailUrl"),
        error=ToldFailure(code=job.failure.code, message=job.failure.message[:WORDS_MAX]) if job.failure else None,
    )
    return to_json(Told(type=event, timestamp=ended_at(job), data=video)).decode()


def _delivery(job: Job, kind: DeliveryKind, endpoint_id: str, name: str, body: str, now: int) -> Delivery:
    return Delivery(
        delivery_id=delivery_id_of(job.job_id, job.run, endpoint_id),
        user_id=job.user_id,
        endpoint_id=endpoint_id,
        kind=kind,
        type=name,
        body=body,
        version=1,
        created_at=now,
        delete_at=now + kept_ms(kind),
        next_at=now,
        job_id=job.job_id,
    )
