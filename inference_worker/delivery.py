"""A finished video's way into the client's own bucket (RunPod's ``s3Config``), after it is stored with us.

One signed PUT through the same protection as webhooks, a few times. A client that asked for it expects the file there,
so an attempt whose video did not arrive has failed: for good where the bucket refuses it, for now where nobody answers.
Credentials are read from our store for as long as this takes; they are in no message, no log and no address.
"""

import asyncio
from typing import BinaryIO

import structlog
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from inference_worker.core.client_bucket import BadBucket, ClientBucket, bucket_of
from inference_worker.messages import MediaFile
from repo.core.addresses import Rules, wrong_with
from repo.outgoing import Answer, Outgoing, system_lookup
from repo.ports import Unavailable
from repo.stores import ObjectStores
from repo.values import LostValue, read_input
from schemas.dispatch import RunAttempt
from schemas.failures import FailureCode

PAUSES_S = (0.5, 2.0, 8.0)  # between four tries
TIMEOUT_S = 30.0
SLOWEST = 100_000  # bytes a second that a bucket must take
WORTH_ANOTHER_TRY = frozenset({408, 425, 429})

log = structlog.get_logger()


class NotDelivered(Exception):
    """The client's bucket has not got it. The message is for a person; ``code`` says whether another attempt may help,
    ``again`` whether another try of this one may."""

    def __init__(self, code: FailureCode, words: str, *, again: bool = False) -> None:
        super().__init__(f"The video was made, but {words}.")
        self.code = code
        self.again = again


class Deliveries:
    """For one worker. ``rules``: where strangers' addresses may lead. Whoever calls bounds nothing: this ends."""

    def __init__(
        self,
        stores: ObjectStores,
        rules: Rules | None = None,
        *,
        pauses_s: tuple[float, ...] = PAUSES_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._stores = stores
        self._rules = rules or Rules()
        self._pauses_s = pauses_s
        self._timeout_s = timeout_s
        self._lookup = system_lookup

    async def deliver(self, order: RunAttempt, video: MediaFile) -> None:
        """Put the video where the job's ``s3Config`` says, if it has one. Raises ``NotDelivered``."""
        if order.request.input_key is None:
            return
        bucket = await self._bucket(order)
        if bucket is None:
            return
        about = log.bind(job_id=order.job_id, attempt=order.attempt)
        timeout_s = self._timeout_s + video.bytes / SLOWEST
        async with Outgoing(self._rules, timeout_s=timeout_s, lookup=self._lookup) as outgoing:
            for pause_s in (*self._pauses_s, None):
                answer = await _put(outgoing, bucket, video)
                refused = _refusal(answer)
                if refused is None:
                    about.info("delivered_to_the_client")
                    return
                about.warning("client_bucket_refuses", reason=str(refused), last_try=pause_s is None)
                if pause_s is None or not refused.again:
                    raise refused
                await asyncio.sleep(pause_s)

    async def _bucket(self, order: RunAttempt) -> ClientBucket | None:
        asked = await self._asked(order)
        if "s3Config" not in asked:
            return None
        try:
            bucket = bucket_of(asked["s3Config"], order.job_id)
        except BadBucket as bad:
            raise NotDelivered(FailureCode.INVALID_INPUT, f"its s3Config {bad}") from None
        wrong = wrong_with(bucket.url, self._rules)
        if wrong is not None:
            raise NotDelivered(FailureCode.INVALID_INPUT, f"the address in its s3Config {wrong}")
        return bucket

    async def _asked(self, order: RunAttempt) -> dict[str, object]:
        """What the client gave, from our own store, which has just taken the video."""
        for pause_s in (*self._pauses_s, None):
            try:
                return await read_input(self._stores, order.request)
            except LostValue:
                raise NotDelivered(FailureCode.INVALID_INPUT, "its s3Config is no longer known") from None
            except (Unavailable, ValueError) as failure:
                if pause_s is None:
                    raise NotDelivered(FailureCode.STORAGE_UNAVAILABLE, "its s3Config could not be read") from None
                log.warning("request_not_read", job_id=order.job_id, reason=type(failure).__name__)
                await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")


async def _put(outgoing: Outgoing, bucket: ClientBucket, video: MediaFile) -> Answer:
    file = await asyncio.to_thread(video.path.open, "rb")
    try:
        headers = await asyncio.to_thread(signed, bucket, file, video.media_type)
        return await outgoing.put(bucket.url, headers, file)
    finally:
        await asyncio.to_thread(file.close)


def signed(bucket: ClientBucket, file: BinaryIO, media_type: str) -> dict[str, str]:
    """The headers of a PUT of the whole file, with its SHA-256 under the signature (AWS Signature 4, botocore's)."""
    request = AWSRequest("PUT", bucket.url, {"Content-Type": media_type}, file)
    S3SigV4Auth(Credentials(bucket.access_id, bucket.access_secret), "s3", bucket.region).add_auth(request)
    file.seek(0)
    return {name: str(value) for name, value in request.headers.items()}


def _refusal(answer: Answer) -> NotDelivered | None:
    """What the answer means; None: the bucket has it. Nothing that the other side has said is repeated.

    A host without a public address is tried again like one that is away, and refused in the end: names fail for a
    moment, and whoever chose the name learns nothing of what it means here.
    """
    if answer.status is None:
        code = FailureCode.INVALID_INPUT if answer.barred else FailureCode.STORAGE_UNAVAILABLE
        return NotDelivered(code, f"it could not be put into the bucket of s3Config: {answer.error}", again=True)
    if 200 <= answer.status < 300:
        not_s3 = NotDelivered(FailureCode.INVALID_INPUT, "what answers at the endpointUrl of s3Config is no S3 server")
        return None if answer.etag is not None else not_s3
    again = answer.status >= 500 or answer.status in WORTH_ANOTHER_TRY
    code = FailureCode.STORAGE_UNAVAILABLE if again else FailureCode.INVALID_INPUT
    return NotDelivered(code, f"the bucket of s3Config refused it: HTTP {answer.status}", again=again)
