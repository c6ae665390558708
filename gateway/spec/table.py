"""Every operation of the HTTP API."""

from gateway.spec import clerk, live, openai, people, runpod, service, videos, webhooks, workers
from gateway.spec.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *videos.OPERATIONS,
    *live.OPERATIONS,
    *openai.OPERATIONS,
    *runpod.OPERATIONS,
    *webhooks.OPERATIONS,
    *people.OPERATIONS,
    *clerk.OPERATIONS,
    *service.OPERATIONS,
    *workers.OPERATIONS,
)
