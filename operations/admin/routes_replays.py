"""``/replays``: dry run, execute, pause, go on, cancel, look. The work is in ``operations/replay``.

Of topics alone: files are this machine's, and stay with those who have an account on it.
"""

import re
from typing import Annotated, Any

import orjson
from pydantic import Field, model_validator

from operations.admin.answers import ReplayPage, WorkView
from operations.admin.operation import Answer, Asked, Call, Nothing, Operation, found, named
from operations.admin.refusals import Problem, Refused
from operations.admin.routes_works import BEGIN, begun
from operations.audit.recording import audited
from operations.core.replay_names import NotAllowed, check, is_file
from operations.core.replay_names import named as topic_named
from operations.core.replay_scope import Asked as Scope
from operations.core.replay_scope import BadScope, checks_of
from operations.replay.tenure import cancel, pause
from operations.replay.views import plain
from schemas.replay_plans import ReplayFact, ReplayPlan, ReplayState, moved
from schemas.replays import MOST_REPLAYS

P = Problem
_ID = re.compile(r"r-[a-z0-9]{1,40}")
Word = Annotated[str, Field(min_length=1, max_length=500)]
Words = Annotated[tuple[Word, ...], Field(max_length=1_000)]
PLAN, EXECUTE = "replay.plan", "replay.execute"


class Planned(Asked):
    """The scope, as of ``openv replay``. ``into``: a topic, or ``origin`` for dead letters. ``from`` and ``to`` as
    times, or so long ago; ``types``: parts, or with ``*``; ``headers`` as NAME=VALUE; ``where``: JMESPath on the value.
    ``rehearse``: also say what would change."""

    source: Word
    into: Word
    since: Word | None = Field(default=None, alias="from")
    until: Word | None = Field(default=None, alias="to")
    first_offset: int | None = Field(default=None, ge=0, alias="fromOffset")
    end_offset: int | None = Field(default=None, ge=0, alias="toOffset")
    partitions: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=1_000)] = ()
    keys: Words = ()
    users: Words = ()
    jobs: Words = ()
    types: Words = ()
    headers: Words = ()
    where: Annotated[tuple[Word, ...], Field(max_length=20)] = ()
    max_replays: int = Field(default=MOST_REPLAYS, ge=1, le=1_000)
    rehearse: bool = True

    @model_validator(mode="after")
    def _makes_sense(self) -> "Planned":
        try:
            scope = self.scope()
            if is_file(scope.source) or is_file(scope.target):
                raise NotAllowed("files are replayed on the command line alone")
            check(scope.source, scope.target)
            checks_of(scope)
        except (NotAllowed, BadScope) as error:
            raise ValueError(str(error)) from None
        return self

    def scope(self) -> Scope:
        """As the work functions take it."""
        return Scope(
            source=topic_named(self.source),
            target=topic_named(self.into),
            since=self.since,
            until=self.until,
            first_offset=self.first_offset,
            end_offset=self.end_offset,
            partitions=self.partitions,
            keys=self.keys,
            users=self.users,
            jobs=self.jobs,
            types=self.types,
            headers=self.headers,
            where=self.where,
            max_replays=self.max_replays,
        )


class GoOn(Asked):
    """``rate``: records a second; ``canary``: stop after so many; ``cameBackMax``: stop when more of them came back as
    dead letters than the dry run said."""

    rate: float | None = Field(default=None, ge=0.01)
    canary: int | None = Field(default=None, ge=1)
    came_back_max: int = Field(default=10, ge=0)


class Execute(GoOn):
    """``digest``: the dry run's, so that what is executed is what was looked at."""

    digest: Word


class Newest(Asked):
    limit: int = Field(default=50, ge=1, le=200)


async def plan_replay(call: Call[Nothing, Planned]) -> Answer:
    scope = call.body.scope()
    said = {name: getattr(scope, name) for name in Scope.__dataclass_fields__ if name != "chosen"}
    arguments = {"asked": orjson.loads(orjson.dumps(said)), "rehearse": call.body.rehearse}
    return await begun(call, PLAN, arguments, f"{scope.source} → {scope.target}")


async def execute_replay(call: Call[Nothing, Execute]) -> Answer:
    plan = await _plan(call)
    if plan.state is not ReplayState.PLANNED:
        raise Refused(P.REFUSED, words=f"{plan.replay_id} is {plan.state}; one that waits is continued.")
    if not plan.in_scope:
        raise Refused(P.REFUSED, words=f"The dry run of {plan.replay_id} found nothing that matches.")
    if plan.digest != call.body.digest:
        raise Refused(P.REFUSED, words="That is not the digest of this dry run: look at it again.")
    return await _carry_out(call, plan)


async def continue_replay(call: Call[Nothing, GoOn]) -> Answer:
    plan = await _plan(call)
    if plan.state is ReplayState.PLANNED or moved(plan.state, ReplayFact.STARTED) is None:
        raise Refused(P.REFUSED, words=f"{plan.replay_id} is {plan.state}: there is nothing to go on with.")
    return await _carry_out(call, plan)


async def _carry_out(call: Call[Nothing, Any], plan: ReplayPlan) -> Answer:
    asked: GoOn = call.body
    arguments = {
        "replay": plan.replay_id,
        "version": plan.version,
        "rate": asked.rate,
        "canary": asked.canary,
        "cameBackMax": asked.came_back_max,
    }
    return await begun(call, EXECUTE, arguments, plan.replay_id)


async def pause_replay(call: Call[Nothing, Nothing]) -> Answer:
    plan = await _plan(call)
    async with audited(call.desk.log, call.actor, "replay.pause", target=plan.replay_id) as action:
        after = await pause(call.desk.database.replays, plan.replay_id)
        action.detail["written"] = str(after.checkpoint.written if after.checkpoint else 0)
    return Answer(plain(after))


async def cancel_replay(call: Call[Nothing, Nothing]) -> Answer:
    plan = await _plan(call)
    async with audited(call.desk.log, call.actor, "replay.cancel", target=plan.replay_id) as action:
        after = await cancel(call.desk.database.replays, plan.replay_id)
        action.detail["written"] = str(after.checkpoint.written if after.checkpoint else 0)
    return Answer(plain(after))


async def list_replays(call: Call[Newest, Nothing]) -> Answer:
    return Answer({"replays": [plain(one) for one in await call.desk.database.replays.replays(call.query.limit)]})


async def show_replay(call: Call[Nothing, Nothing]) -> Answer:
    return Answer(plain(await _plan(call)))


async def _plan(call: Call[Any, Any]) -> ReplayPlan:
    replay_id = named(call, "replay_id", lambda text: _ID.fullmatch(text) is not None)
    plan: ReplayPlan = found(await call.desk.database.replays.replay(replay_id))
    return plan


def _begins(path: str, name: str, summary: str, body: Any, handler: Any, words: str) -> Operation:
    return Operation(
        method="post",
        path=path,
        name=name,
        tag="Replays",
        summary=summary,
        words=words,
        action=BEGIN,
        body=body,
        reply=WorkView,
        statuses=(202,),
        problems=(P.NOT_FOUND, P.BUSY),
        handler=handler,
    )


def _ends(word: str, summary: str, handler: Any) -> Operation:
    return Operation(
        method="post",
        path=f"/replays/{{replay_id}}/{word}",
        name=f"{word}Replay",
        tag="Replays",
        summary=summary,
        action=f"replay.{word}",
        problems=(P.NOT_FOUND,),
        handler=handler,
    )


OPERATIONS = (
    Operation(
        method="get",
        path="/replays",
        name="listReplays",
        tag="Replays",
        summary="The newest replays: dry runs, and what was executed",
        query=Newest,
        reply=ReplayPage,
        handler=list_replays,
    ),
    _begins(
        "/replays",
        "planReplay",
        "Dry run: what would be written, and what would change",
        Planned,
        plan_replay,
        "The work's `result` is the replay, with its id and the digest that executing it takes.",
    ),
    Operation(
        method="get",
        path="/replays/{replay_id}",
        name="getReplay",
        tag="Replays",
        summary="One replay: its scope, what the dry run found, how far it is",
        problems=(P.NOT_FOUND,),
        handler=show_replay,
    ),
    _begins(
        "/replays/{replay_id}/execute",
        "executeReplay",
        "Write what its dry run found",
        Execute,
        execute_replay,
        "Goes on by its checkpoint in another process, if this one ends.",
    ),
    _begins(
        "/replays/{replay_id}/continue",
        "continueReplay",
        "Go on with one that waits: after a canary, a pause, or errors",
        GoOn,
        continue_replay,
        "Goes on by its checkpoint in another process, if this one ends.",
    ),
    _ends("pause", "Stop it where it is, whichever process executes it", pause_replay),
    _ends("cancel", "End it for good; what it has written stays", cancel_replay),
)
