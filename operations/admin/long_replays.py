"""The long works about replays: a dry run, and an execution that any admin process goes on with.

An execution is known by the plan's own state and version: what somebody has paused, cancelled or ended since it was
asked for is left as it is.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from operations.admin.settings import AdminSettings
from operations.audit.recording import Actor
from operations.core.replay_names import NotAllowed
from operations.core.replay_scope import Asked, BadScope
from operations.desk import Desk
from operations.replay import views
from operations.replay.dry_run import DryRun
from operations.replay.dry_run import plan as dry_run
from operations.replay.execute import execute
from operations.replay.holder import is_gone
from operations.replay.pace import Wishes
from operations.replay.room import Room, room
from operations.replay.tenure import LEASE_MS, OustedError, found
from operations.stack.errors import StackError
from repo.clock import now_ms
from schemas.replay_plans import ReplayPlan, ReplayState

LOOK_EVERY_S = 1.0
LISTS = ("partitions", "keys", "users", "jobs", "types", "headers", "where")


async def plan(_: Desk, settings: AdminSettings, arguments: Mapping[str, Any], __: Actor) -> Any:
    """The dry run of ``asked``; what it stores is a plan, and nothing else."""
    said = {**arguments["asked"]}
    asked = Asked(**said | {name: tuple(said.get(name) or ()) for name in LISTS})
    async with room(settings.data_dir) as at:
        try:
            return views.plain(await dry_run(at, DryRun(asked, arguments["rehearse"])))
        except (NotAllowed, BadScope, ValueError) as error:
            raise StackError(str(error)) from None


async def carry_out(_: Desk, settings: AdminSettings, arguments: Mapping[str, Any], actor: Actor) -> Any:
    """Execute, or go on with, ``replay``, as it was at ``version`` when somebody asked for it."""
    replay_id = arguments["replay"]
    async with room(settings.data_dir) as at:
        before = await _when_free(at, replay_id)
        if before.version != arguments["version"] and before.state is not ReplayState.RUNNING:
            return views.plain(before)
        wishes = Wishes(rate=arguments["rate"], canary=arguments["canary"], came_back_max=arguments["cameBackMax"])
        try:
            ended = await execute(at, replay_id, None, actor, wishes)
        except OustedError:
            stands = await found(at.database.replays, replay_id)
            if stands.state is ReplayState.RUNNING:
                raise
            return views.plain(stands)
        except (NotAllowed, BadScope) as error:
            raise StackError(str(error)) from None
    return {**views.plain(ended.plan), "cameBack": ended.came_back}


async def _when_free(at: Room, replay_id: str) -> ReplayPlan:
    """The plan, once whoever executed it before has let go of it, or its lease is over."""
    deadline = now_ms() + 2 * LEASE_MS
    while True:
        plan = await found(at.database.replays, replay_id)
        lease = plan.lease
        if lease is None or lease.until <= now_ms() or is_gone(lease.holder) or now_ms() > deadline:
            return plan
        await asyncio.sleep(LOOK_EVERY_S)
