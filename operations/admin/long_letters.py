"""The long works about dead letters: a redrive, which is a replay of just these, and discarding."""

from collections.abc import Mapping
from typing import Any

from operations.admin.settings import AdminSettings
from operations.audit.recording import Actor
from operations.core.dead_letters import Sought
from operations.deadletters import views
from operations.deadletters.commands import sought_of
from operations.deadletters.discarding import Expected, discard
from operations.deadletters.planned import wanted
from operations.deadletters.redriving import choose, plan, redrive
from operations.desk import Desk
from operations.replay import views as replays
from operations.replay.pace import Wishes
from operations.replay.room import room
from operations.stack.errors import StackError
from repo.clock import now_ms


async def send_back(_: Desk, settings: AdminSettings, arguments: Mapping[str, Any], actor: Actor) -> Any:
    """The dry run; with ``execute`` what it found is written. One that is cut off is a replay that can be continued."""
    async with room(settings.data_dir) as at:
        places = [arguments["replay"]] if arguments.get("replay") else arguments["letters"]
        if arguments["execute"]:
            meant = await wanted(at, places, sought(arguments), lambda _: None)
        else:
            meant = await plan(at, await choose(at, places, sought(arguments)), lambda _: None)
        told = views.redrive_plain(meant)
        if not arguments["execute"] or meant.plan is None:
            return told
        wishes = Wishes(rate=arguments["rate"], canary=arguments["canary"], came_back_max=arguments["cameBackMax"])
        ended = await redrive(at, meant, actor, wishes, lambda _: None, reason=arguments["reason"])
    return told | {"replay": replays.plain(ended.plan), "cameBack": ended.came_back}


async def throw_away(_: Desk, settings: AdminSettings, arguments: Mapping[str, Any], actor: Actor) -> Any:
    """Say of them that nothing will be done; without ``execute`` they are only counted."""
    try:
        expected = Expected.parsed(arguments["expect"]) if arguments.get("expect") else None
    except ValueError as error:
        raise StackError(str(error)) from None
    as_of = now_ms() if expected is None else expected.at
    async with room(settings.data_dir) as at:
        came = await discard(
            at,
            arguments["letters"],
            sought(arguments, as_of),
            actor,
            arguments["reason"],
            execute=arguments["execute"],
            at=as_of,
            expected=expected,
        )
    return views.discarded_plain(came, executed=arguments["execute"])


def sought(said: Mapping[str, Any], at: int | None = None) -> Sought:
    """Which are meant; their times as of ``at`` (ms), or now. Raises ``StackError``."""
    try:
        return sought_of(
            said["reasons"],
            said["topics"],
            said["types"],
            said["users"],
            said["since"],
            said["until"],
            said["states"],
            at or now_ms(),
        )
    except ValueError as error:
        raise StackError(str(error)) from None
