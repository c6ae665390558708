"""``/endpoints``: serverless endpoints, read. They are made and changed by ``openv endpoints``."""

import re
from dataclasses import replace

from operations.admin.answers import Endpoints, EndpointView
from operations.admin.operation import Answer, Call, Nothing, Operation, found, named
from operations.admin.refusals import Problem
from operations.endpoint_records import active_jobs, worker_keys
from schemas.endpoints import ENDPOINT_ID, ServerlessEndpoint
from schemas.shape import to_plain

_ID = re.compile(ENDPOINT_ID[1:-1])


async def list_endpoints(call: Call[Nothing, Nothing]) -> Answer:
    usable = [one for one in await call.desk.database.endpoints.endpoints() if one.deleted_at is None]
    return Answer(to_plain(Endpoints(endpoints=tuple(_view(one) for one in usable))))


async def show_endpoint(call: Call[Nothing, Nothing]) -> Answer:
    name = named(call, "endpoint_id", lambda text: _ID.fullmatch(text) is not None)
    database = call.desk.database
    stored = await database.endpoints.endpoint(name)
    one: ServerlessEndpoint = found(stored if stored is None or stored.deleted_at is None else None)
    jobs, keys = await active_jobs(database, name), await worker_keys(database, name)
    return Answer(to_plain(replace(_view(one), active_jobs=jobs, worker_keys=len(keys))))


def _view(one: ServerlessEndpoint) -> EndpointView:
    return EndpointView(
        endpoint=replace(one, webhook_secret=None),
        limits_of="deployment" if one.limits is None else "endpoint",
        signed_webhooks=one.webhook_secret is not None,
    )


OPERATIONS = (
    Operation(
        method="get",
        path="/endpoints",
        name="listEndpoints",
        tag="Endpoints",
        summary="All serverless endpoints that can be used",
        reply=Endpoints,
        handler=list_endpoints,
    ),
    Operation(
        method="get",
        path="/endpoints/{endpoint_id}",
        name="getEndpoint",
        tag="Endpoints",
        summary="One endpoint, its jobs under way, and how many keys its workers have",
        reply=EndpointView,
        problems=(Problem.NOT_FOUND,),
        handler=show_endpoint,
    ),
)
