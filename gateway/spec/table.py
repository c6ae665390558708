"""Every operation of the HTTP API."""

from gateway.spec import clerk, live, people, service, videos, webhooks
from gateway.spec.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *videos.OPERATIONS,
    *live.OPERATIONS,
    *webhooks.OPERATIONS,
    *people.OPERATIONS,
    *clerk.OPERATIONS,
    *service.OPERATIONS,
)
