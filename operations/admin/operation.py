"""One row of the table of operations: a method at a path, what it takes, what it answers, what is written of it.

Whoever adds a route adds a row: the application is made of the rows, and so is its description (``openapi.py``).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from operations.admin.refusals import Problem, Refused
from operations.admin.settings import AdminSettings
from operations.admin.turns import Turns
from operations.admin.works import Works
from operations.audit.recording import Actor
from operations.desk import Desk
from operations.replay.room import Room
from repo.stores import ObjectStores
from schemas.ids import WORDS_MAX


class Asked(BaseModel):
    """What a query or a body may hold. Unknown members are refused; a body's are of the very type."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, allow_inf_nan=False, hide_input_in_errors=True
    )


Q = TypeVar("Q", bound=Asked)
B = TypeVar("B", bound=Asked)


@dataclass(frozen=True, slots=True)
class Tools:
    """What the handlers work with; one a process. ``now`` in ms; ``reading``: what reads much of the log."""

    desk: Desk
    room: Room
    objects: ObjectStores
    settings: AdminSettings
    works: Works
    now: Callable[[], int]
    reading: Turns


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """One request, read and checked. ``names``: what stands in the path."""

    tools: Tools
    actor: Actor
    names: Mapping[str, str]
    query: Q
    body: B

    @property
    def desk(self) -> Desk:
        """Where the work is done."""
        return self.tools.desk


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: data that JSON can hold, as the wire names it."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call[Any, Any]], Awaitable[Answer]]


class Nothing(Asked):
    """No member at all."""


class Why(Asked):
    """``reason`` is kept in the audit: no secrets."""

    reason: str = Field(default="", max_length=WORDS_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """``name`` is the operationId. ``action``: what the audit calls it. ``audited_if``: the flag of the query that asks
    for what users wrote; a GET is in the audit where it is asked with that, and only then. ``reply``: the model of
    what is answered with one of the ``statuses``; None: any object."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    handler: Handler
    words: str = ""
    action: str | None = None
    audited_if: str | None = None
    query: type[Asked] = Nothing
    body: type[Asked] = Nothing
    reply: Any = None
    statuses: tuple[int, ...] = (200,)
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        reads = self.method == "get"
        if not reads and (self.action is None or self.audited_if is not None):
            raise ValueError(f"{self.name}: what changes something is audited, however it is asked")
        if reads and (self.action is None) != (self.audited_if is None):
            raise ValueError(f"{self.name}: a GET is audited where its query asks for users' words, and only there")
        if self.audited_if is not None:
            member = self.query.model_fields.get(self.audited_if)
            if member is None or member.annotation is not bool or member.default is not False:
                raise ValueError(f"{self.name}: `{self.audited_if}` is no flag of its query that is false unless said")


def named(call: Call[Any, Any], name: str, is_one: Callable[[str], bool]) -> str:
    """What stands in the path under this name. Raises ``Refused``, 404, for what can't be the name of anything."""
    text = call.names[name]
    if not is_one(text):
        raise Refused(Problem.NOT_FOUND)
    return text


def found(value: Any | None) -> Any:
    """The value. Raises ``Refused``, 404, where there is none."""
    if value is None:
        raise Refused(Problem.NOT_FOUND)
    return cast("Any", value)
