"""The endpoint ``echo`` of the tests, whose jobs external workers run."""

from dataclasses import replace
from typing import Any

from schemas.endpoints import EndpointKind, ServerlessEndpoint, external_pool

ENDPOINT = "echo"


def endpoint(endpoint_id: str = ENDPOINT, **changes: Any) -> ServerlessEndpoint:
    made = ServerlessEndpoint(
        endpoint_id=endpoint_id,
        kind=EndpointKind.EXTERNAL,
        pool=external_pool(endpoint_id),
        version=1,
        created_at=1,
        updated_at=1,
    )
    return replace(made, **changes)
