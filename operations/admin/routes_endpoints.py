"""``/endpoints``: list, show, make, change, delete; keys for their workers. The work is in ``operations/endpoints``."""

import re
from dataclasses import replace
from typing import Any

from pydantic import Field

from operations.admin.answers import Endpoints, EndpointView
from operations.admin.answers_access import ChangedEndpoint, DeletedEndpoint, MadeWorkerKey
from operations.admin.endpoint_bodies import EndpointWish, WantedEndpoint, wishes_of
from operations.admin.key_views import key_view
from operations.admin.operation import Answer, Call, Nothing, Operation, Why, found, named
from operations.admin.refusals import Problem, Refused
from operations.endpoints.changes import (
    KNOWN_WITHIN_S,
    NameTakenError,
    change_endpoint,
    delete_endpoint,
    make_endpoint,
)
from operations.endpoints.keys import NewWorkerKey, make_worker_key
from operations.endpoints.records import active_jobs, gateway_base, worker_keys
from operations.endpoints.wishes import Wishes, new_endpoint, require_sense
from operations.endpoints.words import doubt, limits_moved, under_way
from operations.keys import LABEL_MAX
from operations.stack.errors import StackError
from operations.worker_environment import is_loopback
from repo.environment import SettingsError
from schemas.endpoints import ENDPOINT_ID, ServerlessEndpoint
from schemas.shape import to_plain

P = Problem
_ID = re.compile(ENDPOINT_ID[1:-1])


class WantedWorkerKey(Why):
    """``url``: where the worker reaches the gateway; ``podId``: made up where it is left out; ``expiresDays``: for ever
    where it is left out."""

    name: str = Field(default="", max_length=LABEL_MAX)
    url: str | None = Field(default=None, min_length=1, max_length=2_000)
    pod_id: str | None = Field(default=None, min_length=1, max_length=64)
    expires_days: int | None = Field(default=None, ge=1, le=36_500)


async def list_endpoints(call: Call[Nothing, Nothing]) -> Answer:
    usable = [one for one in await call.desk.database.endpoints.endpoints() if one.deleted_at is None]
    return Answer(to_plain(Endpoints(endpoints=tuple(_view(one) for one in usable))))


async def show_endpoint(call: Call[Nothing, Nothing]) -> Answer:
    one = await _usable(call)
    database, name = call.desk.database, one.endpoint_id
    jobs, keys = await active_jobs(database, name), await worker_keys(database, name)
    return Answer(to_plain(replace(_view(one), active_jobs=jobs, worker_keys=len(keys))))


async def create_endpoint(call: Call[Nothing, WantedEndpoint]) -> Answer:
    asked = call.body
    wishes, secret = wishes_of(asked)
    try:
        wanted = new_endpoint(asked.endpoint_id, wishes, call.tools.now())
    except StackError as error:
        raise _senseless(str(error)) from None
    try:
        made = await make_endpoint(call.desk, call.actor, wanted, asked.reason)
    except NameTakenError:
        name = wanted.endpoint_id
        words = f"There is an endpoint {name} already: PATCH /endpoints/{name} changes it."
        raise Refused(P.REFUSED, words=words) from None
    return Answer(_changed(None, made, secret), 201, {"Location": f"/endpoints/{made.endpoint_id}"})


async def update_endpoint(call: Call[Nothing, EndpointWish]) -> Answer:
    name = (await _usable(call)).endpoint_id
    wishes, secret = wishes_of(call.body)
    if wishes == Wishes():
        raise _senseless("at least one member that changes something")
    try:
        require_sense(wishes)
    except StackError as error:
        raise _senseless(str(error)) from None
    before, after = await change_endpoint(call.desk, call.actor, name, wishes, call.body.reason)
    return Answer(_changed(before, after, secret))


async def remove_endpoint(call: Call[Nothing, Why]) -> Answer:
    name = (await _usable(call)).endpoint_id
    jobs = await delete_endpoint(call.desk, call.actor, name, call.body.reason)
    return Answer(to_plain(DeletedEndpoint(endpoint_id=name, active_jobs=jobs, words=under_way(jobs))))


async def create_worker_key(call: Call[Nothing, WantedWorkerKey]) -> Answer:
    """What can't be is refused before there is a key that nobody would get to see."""
    name, asked = (await _usable(call)).endpoint_id, call.body
    try:
        base = gateway_base(call.tools.settings.data_dir) if asked.url is None else asked.url
        wanted = NewWorkerKey(
            endpoint_id=name, url=base, label=asked.name, pod_id=asked.pod_id, expires_days=asked.expires_days
        )
    except (StackError, SettingsError) as error:
        raise _senseless(str(error)) from None
    made = await make_worker_key(call.desk, call.actor, wanted, asked.reason)
    notes = ["The key is shown once. Give each further container a RUNPOD_POD_ID of its own."]
    if is_loopback(base):
        notes.append(f"{base} is this machine alone: for a container say url, or run it with --network host.")
    view = key_view(made.stored, call.tools.now())
    return Answer(to_plain(MadeWorkerKey(key=view, environment=made.environment, notes=tuple(notes))), 201)


async def _usable(call: Call[Any, Any]) -> ServerlessEndpoint:
    """That of the path. Raises ``Refused``, 404, also for a deleted one."""
    name = named(call, "endpoint_id", lambda text: _ID.fullmatch(text) is not None)
    stored = await call.desk.database.endpoints.endpoint(name)
    one: ServerlessEndpoint = found(stored if stored is None or stored.deleted_at is None else None)
    return one


def _senseless(words: str) -> Refused:
    return Refused(P.INVALID, details=[{"in": "body", "member": "", "message": words}])


def _changed(before: ServerlessEndpoint | None, after: ServerlessEndpoint, secret: str | None) -> Any:
    """``secret``: the one that was made for it; one that came with the request is known to whoever sent it."""
    notes = [] if before is None else _moved(before, after)
    words = doubt(after)
    if words is not None and (before is None or doubt(before) != words):
        notes.append(words)
    view = _view(after)
    return to_plain(
        ChangedEndpoint(
            endpoint=view.endpoint,
            limits_of=view.limits_of,
            signed_webhooks=view.signed_webhooks,
            notes=tuple(notes),
            webhook_secret=secret,
        )
    )


def _moved(before: ServerlessEndpoint, after: ServerlessEndpoint) -> list[str]:
    notes = [f"Gateways know it within {KNOWN_WITHIN_S:g} seconds."]
    if (before.pool, before.kind) != (after.pool, after.kind):
        notes.append(
            f"Jobs that come until then go to the pool {before.pool}: keep its workers until those have ended."
        )
    if (moved := limits_moved(before.limits, after.limits)) is not None:
        notes.append(moved)
    return notes


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
    Operation(
        method="post",
        path="/endpoints",
        name="createEndpoint",
        tag="Endpoints",
        summary="Make an endpoint, also where a deleted one had the name",
        words="409: there is one of that name. A webhook secret that is made for it is shown once.",
        action="endpoints.create",
        body=WantedEndpoint,
        reply=ChangedEndpoint,
        statuses=(201,),
        handler=create_endpoint,
    ),
    Operation(
        method="patch",
        path="/endpoints/{endpoint_id}",
        name="updateEndpoint",
        tag="Endpoints",
        summary="Change what is named, and nothing else",
        words="Of two changes at once both hold; of one member the later one. 409: it has jobs under way, and can't "
        "change its pool or its kind of workers.",
        action="endpoints.update",
        body=EndpointWish,
        reply=ChangedEndpoint,
        problems=(P.NOT_FOUND,),
        handler=update_endpoint,
    ),
    Operation(
        method="delete",
        path="/endpoints/{endpoint_id}",
        name="deleteEndpoint",
        tag="Endpoints",
        summary="Let nobody use it any more; its jobs go on",
        action="endpoints.delete",
        body=Why,
        reply=DeletedEndpoint,
        problems=(P.NOT_FOUND,),
        handler=remove_endpoint,
    ),
    Operation(
        method="post",
        path="/endpoints/{endpoint_id}/keys",
        name="createWorkerKey",
        tag="Endpoints",
        summary="Make a key for its workers, shown once within the environment that they need",
        words="Listed and revoked as keys of the user `endpoint:NAME`. 409: its workers are ours and need none.",
        action="endpoints.key",
        body=WantedWorkerKey,
        reply=MadeWorkerKey,
        statuses=(201,),
        problems=(P.NOT_FOUND,),
        handler=create_worker_key,
    ),
)
