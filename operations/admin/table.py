"""All operations of the admin API, and all kinds of long works."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from operations.admin import (
    long_letters,
    long_replays,
    long_upkeep,
    long_users,
    routes_audit,
    routes_endpoints,
    routes_jobs,
    routes_keys,
    routes_letters,
    routes_replays,
    routes_topics,
    routes_upkeep,
    routes_users,
    routes_workers,
    routes_works,
)
from operations.admin.openapi import with_openapi
from operations.admin.operation import Operation
from operations.admin.settings import AdminSettings
from operations.audit.recording import Actor
from operations.desk import Desk


@dataclass(frozen=True, slots=True)
class KindOfWork:
    """``run(desk, settings, arguments, actor)`` does it; ``resumable`` and ``alone`` as in
    ``operations/admin/works.py``."""

    run: Callable[[Desk, AdminSettings, Mapping[str, Any], Actor], Awaitable[Any]]
    resumable: bool
    alone: bool = False


KINDS: Mapping[str, KindOfWork] = MappingProxyType(
    {
        # One that is cut off is a replay by then, which `/replays/{replay_id}/continue` goes on with.
        routes_letters.REDRIVE: KindOfWork(long_letters.send_back, resumable=False),
        routes_letters.DISCARD: KindOfWork(long_letters.throw_away, resumable=True),
        routes_replays.PLAN: KindOfWork(long_replays.plan, resumable=True),
        routes_replays.EXECUTE: KindOfWork(long_replays.carry_out, resumable=True),
        routes_upkeep.EXAMINE: KindOfWork(long_upkeep.doctor, resumable=True, alone=True),
        routes_upkeep.REPAIR: KindOfWork(long_upkeep.mend, resumable=True, alone=True),
        # Cut off after it has deleted, it would find nothing to reset.
        routes_users.RESET: KindOfWork(long_users.reset, resumable=False),
        routes_upkeep.BACKUP_WORK: KindOfWork(long_upkeep.back_up, resumable=True, alone=True),
    }
)
OPERATIONS: tuple[Operation, ...] = with_openapi(
    (
        *routes_jobs.OPERATIONS,
        *routes_workers.OPERATIONS,
        *routes_users.OPERATIONS,
        *routes_keys.OPERATIONS,
        *routes_letters.OPERATIONS,
        *routes_replays.OPERATIONS,
        *routes_topics.OPERATIONS,
        *routes_upkeep.OPERATIONS,
        *routes_endpoints.OPERATIONS,
        *routes_works.OPERATIONS,
        *routes_audit.OPERATIONS,
    )
)
