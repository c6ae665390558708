"""The long works of upkeep: examining, repairing, backing up. Each may be begun again without harm."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from operations.admin.settings import AdminSettings
from operations.audit.recording import Actor
from operations.core.findings import digest
from operations.desk import Desk
from operations.doctor import views
from operations.doctor.examine import examine
from operations.doctor.repair import repair
from operations.doctor.surroundings import surroundings
from operations.recovery.backup import backup
from operations.recovery.place import place
from operations.stack.errors import StackError
from repo.topic_admin import TopicError
from schemas.instants import to_iso

BACKUP = re.compile(r"openv-[0-9A-Za-z-]{1,80}\.gz")
HOUR_MS = 3_600_000


async def doctor(_: Desk, settings: AdminSettings, arguments: Mapping[str, Any], __: Actor) -> Any:
    """Look, and change nothing."""
    async with surroundings(settings.data_dir, older_than_ms=arguments["olderThanHours"] * HOUR_MS) as around:
        return views.plain(await examine(around, arguments["only"]), [])


async def mend(_: Desk, settings: AdminSettings, arguments: Mapping[str, Any], actor: Actor) -> Any:
    """Look, repair what can be repaired of it, and look again."""
    async with surroundings(settings.data_dir, older_than_ms=arguments["olderThanHours"] * HOUR_MS) as around:
        found = [one for one in await examine(around, arguments["only"]) if one.repair is not None]
        expected = arguments["expect"]
        if expected is not None and expected != digest(found):
            raise StackError(
                "Nothing was repaired: what there is to repair is not what that examination found. Look again."
            )
        try:
            done = await repair(around, found, actor)
        except TopicError as error:
            raise StackError(str(error)) from None
        return views.plain(await examine(around, arguments["only"]), done)


async def back_up(_: Desk, settings: AdminSettings, arguments: Mapping[str, Any], actor: Actor) -> Any:
    """Into the folder of the settings, under a name that was chosen when it was asked for."""
    folder = folder_of(settings)
    file = folder / str(arguments["name"])
    if not file.exists():  # else a process that ended before it could say so has made it
        for left in await asyncio.to_thread(lambda: list(folder.glob(f".{file.name}.*.partial"))):
            left.unlink(missing_ok=True)
        async with place(settings.data_dir) as at:
            await backup(at, actor, file)
    return described(file)


def folder_of(settings: AdminSettings) -> Path:
    """Raises ``StackError`` where none is named, or it is none."""
    folder = settings.admin_backup_dir
    if folder is None:
        raise StackError("No folder for backups is named: set OPENV_ADMIN_BACKUP_DIR for the admin process.")
    if not folder.is_dir():
        raise StackError("OPENV_ADMIN_BACKUP_DIR is no folder that the admin process can see.")
    return folder


def described(file: Path) -> dict[str, Any]:
    """A backup by its name, without its folder."""
    about = file.stat()
    return {"name": file.name, "bytes": about.st_size, "createdAt": to_iso(about.st_mtime_ns // 1_000_000)}
