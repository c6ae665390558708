"""``/doctor`` and ``/backups``. The work is in ``operations/doctor`` and ``operations/recovery``. Restoring is not done
over HTTP: what is restored is also what says who is an admin."""

import asyncio
from typing import Annotated, Any
from uuid import uuid4

from pydantic import Field

from operations.admin.answers import Backups, WorkView
from operations.admin.long_upkeep import BACKUP, described, folder_of
from operations.admin.operation import Answer, Asked, Call, Nothing, Operation
from operations.admin.refusals import Problem, Refused
from operations.admin.routes_works import BEGIN, begun
from operations.doctor.examine import CHECKS
from schemas.instants import to_datetime

P = Problem
EXAMINE, REPAIR, BACKUP_WORK = "doctor.examine", "doctor.repair", "backup.make"
Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(max_length=100)]


class Look(Asked):
    """``only``: these checks, else all. ``olderThanHours``: what is younger is nobody's stray yet."""

    only: Names = ()
    older_than_hours: int = Field(default=24, ge=1, le=24 * 365)


class Mend(Asked):
    """``only``: the checks whose findings are repaired: those that somebody has looked at. ``expect``: the ``digest``
    of an examination of the same; if anything else is to be repaired now, nothing is."""

    only: Annotated[Names, Field(min_length=1)]
    older_than_hours: int = Field(default=24, ge=1, le=24 * 365)
    expect: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None


class Newest(Asked):
    limit: int = Field(default=50, ge=1, le=200)


async def run_doctor(call: Call[Nothing, Look]) -> Answer:
    return await begun(call, EXAMINE, _arguments(call.body))


async def repair(call: Call[Nothing, Mend]) -> Answer:
    arguments = _arguments(call.body) | {"expect": call.body.expect}
    return await begun(call, REPAIR, arguments, ",".join(call.body.only)[:500])


def _arguments(asked: Look | Mend) -> dict[str, Any]:
    unknown = [name for name in asked.only if name not in CHECKS]
    if unknown:
        words = f"there is no such check; there are {', '.join(CHECKS)}"
        raise Refused(P.INVALID, details=[{"in": "body", "member": "only", "message": words}])
    return {"only": list(dict.fromkeys(asked.only)), "olderThanHours": asked.older_than_hours}


async def make_backup(call: Call[Nothing, Nothing]) -> Answer:
    folder_of(call.tools.settings)
    name = f"openv-{to_datetime(call.tools.now()):%Y-%m-%dT%H-%M-%S}-{uuid4().hex[:8]}.gz"
    return await begun(call, BACKUP_WORK, {"name": name}, name)


async def list_backups(call: Call[Newest, Nothing]) -> Answer:
    folder = folder_of(call.tools.settings)

    def look() -> list[dict[str, Any]]:
        files = [file for file in folder.iterdir() if BACKUP.fullmatch(file.name) and file.is_file()]
        return [described(file) for file in sorted(files, reverse=True)[: call.query.limit]]

    return Answer({"backups": await asyncio.to_thread(look)})


def _begins(path: str, name: str, tag: str, summary: str, body: type[Asked], handler: Any) -> Operation:
    return Operation(
        method="post",
        path=path,
        name=name,
        tag=tag,
        summary=summary,
        action=BEGIN,
        body=body,
        reply=WorkView,
        statuses=(202,),
        problems=(P.BUSY, P.REFUSED),
        handler=handler,
    )


OPERATIONS = (
    _begins(
        "/doctor", "runDoctor", "Doctor", "Look at everything; the work's result is the findings", Look, run_doctor
    ),
    _begins("/doctor/repair", "repair", "Doctor", "Look again, and repair what can be repaired of it", Mend, repair),
    _begins("/backups", "makeBackup", "Backups", "Back up MongoDB into the server's own folder", Nothing, make_backup),
    Operation(
        method="get",
        path="/backups",
        name="listBackups",
        tag="Backups",
        summary="The newest backups in the server's own folder",
        query=Newest,
        reply=Backups,
        problems=(P.REFUSED,),
        handler=list_backups,
    ),
)
