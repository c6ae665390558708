"""Serverless endpoints, as RunPod calls them: a name that clients post jobs to, and the pool whose workers run them.

Written by operators (``openv endpoints``); gateways read them. What of them decides a job travels with its command.
"""

from dataclasses import field
from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

from schemas.ids import PoolName
from schemas.instants import Instant
from schemas.numbers import Count, Duration, Positive
from schemas.requests import MODEL
from schemas.shape import shape

ENDPOINT_ID = r"^[a-z0-9][a-z0-9-]{0,39}$"  # what a path and a host name carry as they are
EndpointId = Annotated[str, StringConstraints(pattern=ENDPOINT_ID)]

SECOND = 1_000
DAY = 86_400 * SECOND
# RunPod's ranges and defaults of a request's ``policy``, ms.
EXECUTION_TIMEOUT_MS = (5 * SECOND, 7 * DAY)
TTL_MS = (10 * SECOND, 7 * DAY)
EXECUTION_TIMEOUT_DEFAULT_MS = 600 * SECOND
TTL_DEFAULT_MS = DAY


class EndpointKind(StrEnum):
    """Whose workers run its jobs."""

    ENGINE = "engine"  # ours: the input is worker-mochi's, the result a video
    EXTERNAL = "external"  # anybody's, built on RunPod's worker SDK: any JSON in, any JSON out


@shape
class EndpointLimits:
    """What one user may have on an endpoint, in place of the deployment's limits of the same names."""

    max_active: Count = 1_000
    rate_limit: Positive = 1_000
    rate_window_ms: Duration = 10_000


@shape
class ServerlessEndpoint:
    """One endpoint. Times in ms.

    ``limits`` None: the deployment's hold, counted with all else that those hold for: nobody gets around them here.
    ``users`` are those who may use it, None: whoever has a key. ``result_ms``: how long a result can be asked for after
    the job has ended, as RunPod's 30 minutes. ``webhook_secret`` signs completion webhooks (Standard Webhooks, besides
    what RunPod sends). ``deleted_at``: nobody may use it any more; its jobs go on.
    """

    endpoint_id: EndpointId
    kind: EndpointKind
    pool: PoolName
    version: int
    created_at: Instant
    updated_at: Instant
    limits: EndpointLimits | None = None
    max_retries: Count = 2
    execution_timeout_ms: Duration = EXECUTION_TIMEOUT_DEFAULT_MS
    ttl_ms: Duration = TTL_DEFAULT_MS
    result_ms: Duration = 1_800 * SECOND
    users: tuple[str, ...] | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    description: str = ""
    deleted_at: Instant | None = None

    def admits(self, user_id: str) -> bool:
        """Whether this user may use it; to anybody else it does not exist."""
        return self.deleted_at is None and (self.users is None or user_id in self.users)


# There from the start, on the pool that the web API uses, unless an operator changes or deletes it.
BUILT_IN = ServerlessEndpoint(
    endpoint_id=MODEL, kind=EndpointKind.ENGINE, pool=MODEL, version=0, created_at=0, updated_at=0, limits=None
)


_EXTERNAL = "endpoint."


def external_pool(endpoint_id: str) -> str:
    """The pool of an endpoint whose workers are not ours: nobody else's jobs are in it."""
    return f"{_EXTERNAL}{endpoint_id}"


def is_external_pool(pool: str) -> bool:
    """Whether it is one of those."""
    return pool.startswith(_EXTERNAL)
