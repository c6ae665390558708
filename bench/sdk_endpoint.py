"""The endpoint that the measurements of RunPod's protocol use, and the key of its workers."""

from bench.driver import Failed
from bench.world import World
from gateway.identity.keys import new_key
from repo.clock import now_ms
from schemas.access import KeyKind
from schemas.endpoints import EndpointKind, EndpointLimits, ServerlessEndpoint, external_pool

NAME = "bench"
AT = f"/v2/{NAME}"
UNLIMITED = EndpointLimits(max_active=1_000_000, rate_limit=1_000_000)


async def open_endpoint(world: World) -> None:
    """There from now on; it may be there already."""
    if await world.endpoints.endpoint(NAME) is not None:
        return
    endpoint = ServerlessEndpoint(
        endpoint_id=NAME,
        kind=EndpointKind.EXTERNAL,
        pool=external_pool(NAME),
        version=1,
        created_at=now_ms(),
        updated_at=now_ms(),
        limits=UNLIMITED,
    )
    if not await world.endpoints.store_endpoint(endpoint, expected=0):
        raise Failed(f"the endpoint {NAME} could not be made")


async def worker_key(world: World) -> str:
    """A new one."""
    secret, key = new_key("operator", now=now_ms(), kind=KeyKind.WORKER, endpoint=NAME)
    await world.access.store_api_key(key)
    return secret
