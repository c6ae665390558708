"""Completion webhooks as RunPod sends them: how a job ended, to the address that its client gave.

The body is made when it is sent, from the job's document and the object store. How many large ones are in memory at a
time is bounded, and users take turns at that, so that whoever reads slowly delays others by one try at most.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

import structlog

from repo.core.documents import DamagedDocumentError
from repo.endpoints import EndpointStore
from repo.outgoing import Answer, Outgoing
from repo.ports import JobStore, Unavailable
from repo.stores import ObjectStores
from repo.values import LostValue, UnknownStore, stored_input, stored_word, video_address
from schemas.api.runpod import RESULT_URL_S
from schemas.deliveries import Delivery
from schemas.jobs import Job
from streams.core.deliveries import Result, SendingPolicy
from streams.core.job_calls import body_of, not_told, signed_headers
from streams.senders import USER_AGENT, Clock, Skip, Try, fault_of

log = structlog.get_logger()

OK = 200


class LargeBodies:
    """``places`` at a time, one of a user."""

    def __init__(self, places: int, within_ms: int) -> None:
        self._free = asyncio.Semaphore(places)
        self._within_s = within_ms / 1000
        self._of_user: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def place(self, user_id: str) -> AsyncIterator[bool]:
        """Whether there was one in time; held until the end."""
        mine = self._of_user.setdefault(user_id, asyncio.Lock())
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._within_s):
                    await held.enter_async_context(mine)
                    await held.enter_async_context(self._free)
            except TimeoutError:
                is_held = False
            else:
                is_held = True
            yield is_held


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the body comes from."""

    jobs: JobStore
    endpoints: EndpointStore
    objects: ObjectStores


class JobSender:
    """By HTTP; signed besides, as Standard Webhooks 1.0.0 says, where the job's endpoint has a secret."""

    def __init__(self, sources: Sources, outgoing: Outgoing, clock: Clock, policy: SendingPolicy) -> None:
        self._sources = sources
        self._outgoing = outgoing
        self._clock = clock
        self._policy = policy
        self._large = LargeBodies(policy.large, policy.large_ms)

    async def prepare(self, delivery: Delivery) -> Try | Skip:
        """See ``Sender.prepare``. The object store is not waited for here: other deliveries have no need of it."""
        try:
            job = await self._sources.jobs.job(delivery.job_id or "")
            reason = not_told(delivery, job)
            if reason is not None or job is None:
                return Skip(reason or "")
            secret = await self._secret_of(job)
        except DamagedDocumentError:
            return Skip("The document of the job, or of its endpoint, can't be read.")
        return lambda: self._try(delivery, job, secret)

    async def _secret_of(self, job: Job) -> str | None:
        endpoint = await self._sources.endpoints.endpoint(job.endpoint) if job.endpoint is not None else None
        return endpoint.webhook_secret if endpoint is not None else None

    async def _try(self, delivery: Delivery, job: Job, secret: str | None) -> Result:
        if not is_large(job):
            return await self._make_and_post(delivery, job, secret)
        async with self._large.place(job.user_id) as is_held:
            if not is_held:
                return self._not_now("too many large ones are being sent")
            return await self._make_and_post(delivery, job, secret)

    async def _make_and_post(self, delivery: Delivery, job: Job, secret: str | None) -> Result:
        try:
            async with asyncio.timeout(self._policy.large_ms / 1000):
                body = await self._body(job)
        except Unavailable as absent:
            return self._not_now(f"{absent.server} does not answer")
        except TimeoutError:
            return self._not_now("the object store is too slow")
        except LostValue:
            return self._failed("what the worker answered, or was given, is not stored any more")
        except ValueError:
            return self._failed("what the worker answered, or was given, can't be read")
        began = self._clock()
        if began + self._policy.timeout_ms > (delivery.next_at or 0):
            return self._not_now("it took too long to make")  # the lease would be over before the try
        headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
        if secret is not None:
            try:
                headers |= await asyncio.to_thread(signed_headers, secret, delivery.delivery_id, began, body)
            except ValueError:
                log.error("the webhook secret of an endpoint can't be used", endpoint=job.endpoint)
                return self._failed("the endpoint's webhook secret can't be used")
        return await self._post(job.webhook or "", headers, body, began)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes, began: int) -> Result:
        answer = await self._outgoing.post(url, headers, body)
        return Result(
            at=began,
            duration_ms=max(0, self._clock() - began),
            status=answer.status,
            error=fault_of_200(answer),
            put_off=answer.put_off,
        )

    async def _body(self, job: Job) -> bytes:
        """Raises ``Unavailable``, ``LostValue`` and ValueError."""
        if not job.external:
            return body_of(job, given=None, word=None, result=await self._address_of(job))
        objects = self._sources.objects
        given = await stored_input(objects, job.request)
        word = await stored_word(objects, job.output)
        return await asyncio.to_thread(body_of, job, given=given, word=word, result=None)

    async def _address_of(self, job: Job) -> str | None:
        try:
            return await video_address(self._sources.objects, job, expires_s=RESULT_URL_S)
        except UnknownStore as error:
            log.error("this store is not known here: set S3_FALLBACK_* as on the workers", store=error.name)
            raise LostValue from None

    def _not_now(self, why: str) -> Result:
        return Result(at=self._clock(), duration_ms=0, error=why, put_off=True)

    def _failed(self, why: str) -> Result:
        return Result(at=self._clock(), duration_ms=0, error=why, final=True)


def is_large(job: Job) -> bool:
    """Whether some of what is sent lies in the object store, and so may be large."""
    return job.external and (
        job.request.input_key is not None or (job.output is not None and job.output.value_key is not None)
    )


def fault_of_200(answer: Answer) -> str | None:
    """Why this answer does not count, None where it does: 200 alone, as RunPod wants it."""
    if answer.status == OK:
        return None
    return fault_of(answer) or f"HTTP {answer.status}: only 200 counts"
