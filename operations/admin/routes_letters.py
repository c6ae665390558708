"""``/deadletters``: list, show, redrive, discard, edit. The work is in ``operations/deadletters``."""

from typing import Annotated, Any

import orjson
from pydantic import Field

from operations.admin.answers import LettersPage, WorkView
from operations.admin.long_letters import sought
from operations.admin.operation import Answer, Asked, Call, Nothing, Operation, found, named
from operations.admin.refusals import Problem, Refused
from operations.admin.routes_works import BEGIN, begun
from operations.audit.recording import READ_LETTER, reading_words
from operations.core.dead_letters import RATE, By, Seen, Standing
from operations.core.dead_letters import parsed_place as place_in
from operations.deadletters import views
from operations.deadletters.editing import prepared, send
from operations.deadletters.reading import listing
from operations.deadletters.reading import named as letters_named
from operations.stack.errors import StackError
from schemas.ids import WORDS_MAX
from schemas.topics import DEADLETTER

P = Problem
REDRIVE, DISCARD = "deadletters.redrive", "deadletters.discard"
Word = Annotated[str, Field(min_length=1, max_length=500)]
Words = Annotated[tuple[Word, ...], Field(max_length=100)]
States = Annotated[tuple[Word, ...], Field(max_length=10)]
Place = Annotated[str, Field(pattern=r"^[0-9]{1,6}:[0-9]{1,18}$")]


class WantedLetters(Asked):
    """Which; ``reason`` and ``type`` match as file names do, and parts suffice. ``state``: ``open`` unless another is
    said, or ``all``. ``by``: what all that are meant are counted by."""

    reason: Word | None = None
    topic: Word | None = None
    type: Word | None = None
    user: Word | None = None
    since: Word | None = None
    until: Word | None = None
    state: Word | None = None
    by: By = By.REASON
    limit: int = Field(default=50, ge=1, le=200)


class Shown(Asked):
    """``value``: with the value of the record, which may hold a prompt; that is in the audit before it is shown."""

    value: bool = False


class Which(Asked):
    """``letters``: these, by id; or those that all other members mean, or with ``all`` every open one. ``execute``
    false: it is only said what would be done. ``reason`` is kept in the audit."""

    letters: Annotated[tuple[Place, ...], Field(max_length=1_000)] = ()
    reasons: Words = ()
    topics: Words = ()
    types: Words = ()
    users: Words = ()
    since: Word | None = None
    until: Word | None = None
    states: States = ()
    all: bool = False
    execute: bool = False
    reason: str = Field(default="", max_length=500)


class Redriven(Which):
    """``replay``: with ``execute``, those that this dry run found, and no others; ``letters`` need no dry run, others
    are executed only if they are what a dry run found. ``rate``: records a second; ``canary``: stop after so many;
    ``cameBackMax``: stop when more of them came back than the dry run said."""

    replay: Annotated[str, Field(pattern=r"^r-[a-z0-9]{1,40}$")] | None = None
    rate: float = Field(default=RATE, ge=0.01)
    canary: int | None = Field(default=None, ge=1)
    came_back_max: int = Field(default=10, ge=0)


class Discarded(Which):
    """``expect``: of the dry run's result, where they are not ``letters``: if others are meant now, nothing is done."""

    expect: Annotated[str, Field(pattern=r"^[0-9]{1,12}-[0-9]{1,15}-[0-9a-f]{16}$")] | None = None
    reason: str = Field(min_length=1, max_length=500)


class Edited(Asked):
    """``value``: what is sent instead, checked as its reader will; ``type``: of another type; ``again``: also where it
    was redriven or discarded before."""

    value: dict[str, Any]
    type: Word | None = None
    again: bool = False
    reason: str = Field(default="", max_length=WORDS_MAX)


async def list_letters(call: Call[WantedLetters, Nothing]) -> Answer:
    asked = call.query
    said = {
        "reasons": _one(asked.reason),
        "topics": _one(asked.topic),
        "types": _one(asked.type),
        "users": _one(asked.user),
        "states": _one(asked.state),
        "since": asked.since,
        "until": asked.until,
    }
    try:
        meant = sought(said)
    except StackError as error:
        raise Refused(P.INVALID, words=str(error)) from None
    async with call.tools.reading.turn():
        found_ones = await listing(call.tools.room, meant, asked.by, asked.limit)
    return Answer(views.listing_plain(found_ones, asked.by))


async def show_letter(call: Call[Shown, Nothing]) -> Answer:
    seen, value = await _letter(call), call.query.value
    async with reading_words(call.desk.log, call.actor, READ_LETTER, seen.place, shown=value):
        return Answer(views.letter_plain(seen, value=value))


async def edit_letter(call: Call[Nothing, Edited]) -> Answer:
    """The letter stays as it is; what is sent instead goes where it came from."""
    asked, seen = call.body, await _letter(call)
    if seen.standing is not Standing.OPEN and not asked.again:
        raise Refused(P.REFUSED, words=f"{seen.place} is {seen.standing}: say again if it is to go once more.")
    edit = prepared(seen, orjson.dumps(asked.value), kind=asked.type)
    await send(call.tools.room, edit, call.actor, again=asked.again, reason=asked.reason)
    return Answer({"letter": seen.place, "edit": edit.edit_id, "topic": edit.record.topic})


async def redrive(call: Call[Nothing, Redriven]) -> Answer:
    return await _begun(call, REDRIVE)


async def discard(call: Call[Nothing, Discarded]) -> Answer:
    return await _begun(call, DISCARD)


async def _begun(call: Call[Nothing, Any], kind: str) -> Answer:
    asked: Which = call.body
    arguments = asked.model_dump(mode="json", by_alias=True)
    every = arguments.pop("all")
    filters = ("reasons", "topics", "types", "users", "since", "until")
    planned = arguments.get("replay") is not None
    ways = (bool(asked.letters), any(arguments[name] for name in filters), every, planned)
    if sum(ways) != 1 or (planned and not asked.execute):
        words = "either letters, or filters, or all; or of a redrive that is executed, replay"
        raise Refused(P.INVALID, details=[{"in": "body", "member": "letters", "message": words}])
    try:
        sought(arguments)
    except StackError as error:
        raise Refused(P.INVALID, words=str(error)) from None
    shown = arguments.get("replay") or ",".join(asked.letters[:10]) + ("…" if len(asked.letters) > 10 else "")
    return await begun(call, kind, arguments, shown or "as sought", asked.reason)


async def _letter(call: Call[Any, Any]) -> Seen:
    place = named(call, "place", _is_place)
    try:
        (seen,) = await letters_named(call.tools.room, [place])
    except StackError:
        seen = found(None)
    return seen


def _is_place(text: str) -> bool:
    try:
        partition, _ = place_in(text)
    except ValueError:
        return False
    return partition < DEADLETTER.partitions


def _one(word: str | None) -> tuple[str, ...]:
    return () if word is None else (word,)


def _begins(path: str, name: str, summary: str, body: Any, handler: Any) -> Operation:
    return Operation(
        method="post",
        path=path,
        name=name,
        tag="Dead letters",
        summary=summary,
        words="Without `execute` the work's `result` says what would be done, and nothing is.",
        action=BEGIN,
        body=body,
        reply=WorkView,
        statuses=(202,),
        problems=(P.BUSY,),
        handler=handler,
    )


OPERATIONS = (
    Operation(
        method="get",
        path="/deadletters",
        name="listDeadLetters",
        tag="Dead letters",
        summary="The newest dead letters, and counts of all that are meant",
        words="`until` with the time of the last one asks for older ones.",
        query=WantedLetters,
        reply=LettersPage,
        problems=(P.BUSY, P.REFUSED),
        handler=list_letters,
    ),
    Operation(
        method="get",
        path="/deadletters/{place}",
        name="getDeadLetter",
        tag="Dead letters",
        summary="One dead letter: headers, trace, what became of it; its value where that is asked for",
        action=READ_LETTER,
        audited_if="value",
        query=Shown,
        problems=(P.NOT_FOUND,),
        handler=show_letter,
    ),
    Operation(
        method="post",
        path="/deadletters/{place}/edit",
        name="editDeadLetter",
        tag="Dead letters",
        summary="Send another value to the topic that it came from",
        action="deadletters.edit",
        body=Edited,
        problems=(P.NOT_FOUND,),
        handler=edit_letter,
    ),
    _begins("/deadletters/redrive", "redriveDeadLetters", "Send them where they came from", Redriven, redrive),
    _begins("/deadletters/discard", "discardDeadLetters", "Nothing more is done with them", Discarded, discard),
)
