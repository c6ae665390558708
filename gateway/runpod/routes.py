"""The addresses of RunPod's client API. ``GET`` and ``POST`` where RunPod's documents have had either."""

from starlette.routing import Route

from gateway.runpod import health, jobs, purging, stream, submission

_BASE = "/v2/{endpoint_id}"

ROUTES = [
    Route(f"{_BASE}/run", submission.run, methods=["POST"]),
    Route(f"{_BASE}/runsync", submission.runsync, methods=["POST"]),
    Route(f"{_BASE}/status/{{job_id}}", jobs.status, methods=["GET"]),
    Route(f"{_BASE}/status/{{job_id}}", jobs.status, methods=["POST"]),
    Route(f"{_BASE}/status-sync/{{job_id}}", jobs.status_sync, methods=["GET"]),
    Route(f"{_BASE}/status-sync/{{job_id}}", jobs.status_sync, methods=["POST"]),
    Route(f"{_BASE}/stream/{{job_id}}", stream.stream, methods=["GET"]),
    Route(f"{_BASE}/stream/{{job_id}}", stream.stream, methods=["POST"]),
    Route(f"{_BASE}/cancel/{{job_id}}", jobs.cancel, methods=["POST"]),
    Route(f"{_BASE}/retry/{{job_id}}", jobs.retry, methods=["POST"]),
    Route(f"{_BASE}/purge-queue", purging.purge, methods=["POST"]),
    Route(f"{_BASE}/health", health.health, methods=["GET"]),
]
