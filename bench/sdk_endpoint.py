"""Endpoints for the measurements of RunPod's protocol, one each, and the keys of their workers."""

from bench.driver import Failed
from bench.world import World
from gateway.identity.keys import new_key
from repo.clock import now_ms
from schemas.access import KeyKind
from schemas.endpoints import EndpointKind, EndpointLimits, ServerlessEndpoint, external_pool

UNLIMITED = EndpointLimits(max_active=1_000_000, rate_limit=1_000_000)


def at(name: str) -> str:
    """The base address of an endpoint, without its host."""
    return f"/v2/{name}"


async def open_endpoint(world: World, name: str) -> None:
    """There from now on; it may be there already."""
    if await world.endpoints.endpoint(name) is not None:
        return
    endpoint = ServerlessEndpoint(
        endpoint_id=name,
        kind=EndpointKind.EXTERNAL,
        pool=external_pool(name),
        version=1,
        created_at=now_ms(),
        updated_at=now_ms(),
        limits=UNLIMITED,
    )
    if not await world.endpoints.store_endpoint(endpoint, expected=0):
        raise Failed(f"the endpoint {name} could not be made")


async def worker_key(world: World, name: str) -> str:
    """A new one of this endpoint."""
    secret, key = new_key("operator", now=now_ms(), kind=KeyKind.WORKER, endpoint=name)
    await world.access.store_api_key(key)
    return secret
