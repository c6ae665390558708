"""The Starlette application: every route is a row of the table, and passes the same steps.

Who asks → what is asked, checked to the last member → the work, which writes its own entries into the audit → JSON.
Nothing of a body is read before its sender is known.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import structlog
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.http.bodies import BodyTooLargeError, whole_body
from gateway.middleware import Envelope
from operations.admin.door import Door
from operations.admin.health import health_routes
from operations.admin.metrics import AdminMetrics
from operations.admin.operation import Asked, Call, Nothing, Operation, Tools
from operations.admin.refusals import Problem, Refused, answer
from operations.admin.settings import AdminSettings
from operations.admin.table import KINDS, OPERATIONS, KindOfWork
from operations.admin.turns import Turns
from operations.admin.works import Kind, Works
from operations.core.damage import sentence
from operations.desk import Desk, UncertainError
from operations.replay.room import Room
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.core.documents import DamagedDocumentError
from repo.database import Database
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.ports import EventLog, Unavailable
from repo.settings import ServerSettings
from repo.stores import ObjectStores

JSON = "application/json"
DETAILS_MAX = 20
READ_AT_ONCE, READERS_WAIT = 2, 20
logger = structlog.get_logger()


def create_app(
    log: EventLog,
    database: Database,
    objects: ObjectStores,
    settings: AdminSettings,
    servers: ServerSettings | None = None,
    now: Callable[[], int] = now_ms,
    operations: Iterable[Operation] = OPERATIONS,
    kinds: Mapping[str, KindOfWork] = KINDS,
    metrics: AdminMetrics | None = None,
) -> Starlette:
    """The admin API over these ports. It serves at once; while a server is away, what needs it is answered 503.

    ``servers``: where Kafka is, for those routes that read more of a topic than the port of the log offers.
    """
    metrics = metrics or AdminMetrics()
    desk = Desk(log, database)
    room = Room(cast("ServerSettings", servers), cast("KafkaEventLog", log), cast("MongoDatabase", database))
    doing = {name: Kind(partial(one.run, desk, settings), one.resumable, one.alone) for name, one in kinds.items()}
    door = Door(database, settings.admin_failed_tries, now)
    works = Works(database.works, doing, now, metrics, door.lets_in)
    tools = Tools(desk, room, objects, settings, works, now, Turns(READ_AT_ONCE, READERS_WAIT))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with tools.works.running():
            yield

    app = Starlette(
        routes=[*(_route(one, tools, door) for one in operations), *health_routes(log, database)],
        middleware=[Middleware(Envelope, metrics=metrics.requests)],
        exception_handlers=dict.fromkeys((Refused, Unavailable, StackError, DamagedDocumentError, HTTPException), _say),
        lifespan=lifespan,
    )
    # A redirect would be built of the client's Host and lead a key astray.
    app.router.redirect_slashes = False
    return app


def _route(row: Operation, tools: Tools, door: Door) -> Route:
    async def endpoint(request: Request) -> Response:
        actor = await door.admin(request)
        query = _query(request, row.query)
        body = await _body(request, row.body, tools.settings.admin_body_bytes)
        done = await row.handler(Call(tools, actor, request.path_params, query, body))
        return JSONResponse(done.body, status_code=done.status, headers=dict(done.headers))

    return Route(row.path, endpoint, methods=[row.method.upper()], name=row.name)


def _query(request: Request, model: type[Asked]) -> Asked:
    """Raises ``Refused`` for what is not as the model says, and for a name that comes twice."""
    given = request.query_params.multi_items()
    names = [name for name, _ in given]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(names) <= DETAILS_MAX else names[:1]
    if twice:
        raise Refused(Problem.INVALID, details=[{"in": "query", "member": twice[0][:100], "message": "once is enough"}])
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise _invalid(error, "query") from None


async def _body(request: Request, model: type[Asked], limit: int) -> Asked:
    """The body, read no further than ``limit`` bytes. An empty one is an empty object. Raises ``Refused``."""
    raw = await _read(request, limit)
    if raw and request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Refused(Problem.NOT_JSON)
    if not raw and model is Nothing:
        return Nothing()
    try:
        return model.model_validate_json(raw or b"{}", strict=True)
    except ValidationError as error:
        raise _invalid(error, "body") from None
    except RecursionError:  # of a value that is nested without end
        raise Refused(Problem.INVALID) from None


async def _read(request: Request, limit: int) -> bytes:
    try:
        return await whole_body(request, limit)
    except BodyTooLargeError:
        raise Refused(Problem.TOO_LARGE, limitBytes=limit) from None
    except ClientDisconnect:
        raise Refused(Problem.BAD_BODY) from None


def _invalid(error: ValidationError, where: str) -> Refused:
    """Which members are wrong and how, without their values, which may be secrets."""
    found = error.errors(include_input=False, include_url=False, include_context=False)[:DETAILS_MAX]
    return Refused(Problem.INVALID, details=[_detail(one, where) for one in found])


def _detail(one: Any, where: str) -> dict[str, str]:
    member = ".".join(str(part)[:100] for part in one["loc"])[:200]
    return {"in": where, "member": member, "message": one["msg"].removeprefix("Value error, ")}


async def _say(_: Request, error: Exception) -> Response:
    """The response for what a handler raised."""
    match error:
        case Refused():
            return answer(error)
        case Unavailable():
            logger.warning("request_unavailable", server=error.server, reason=error.reason)
            return answer(Refused(Problem.UNAVAILABLE, missing=[error.server]))
        case UncertainError():
            return answer(Refused(Problem.NOT_DECIDED, words=str(error)))
        case StackError():
            return answer(Refused(Problem.REFUSED, words=str(error)))
        case DamagedDocumentError():
            logger.error("document_damaged", reason=str(error))
            return answer(Refused(Problem.DAMAGED, words=sentence(error)))
        case HTTPException():
            problem = {404: Problem.NO_ROUTE, 405: Problem.NO_METHOD}.get(error.status_code, Problem.BAD_BODY)
            response = answer(Refused(problem))
            response.headers.update(error.headers or {})
            return response
        case _:
            raise error
