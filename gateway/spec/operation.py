"""One row of the table of operations: a method at a path, what it takes, what it answers, and how it may refuse.

Whoever adds a route adds a row to one of the tables that ``gateway/spec/table.py`` joins; a test compares rows and
routes both ways, and another what a row says it refuses with what its code can raise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gateway.errors import Problem
from gateway.refusals import Form, form_at
from schemas.access import Scope

P = Problem
SAFE = frozenset({"get", "head", "options"})


class Access(Enum):
    """Who may call: anyone, the endpoint's workers, or whoever's credential has the scope.

    ``MAKE`` asks for a role that may make videos.
    """

    OPEN = None
    WORKER = "worker"
    READ = Scope.READ
    WRITE = Scope.WRITE
    MAKE = "make"
    ADMIN = Scope.ADMIN

    @property
    def scope(self) -> Scope | None:
        """The scope that a user's credential needs; None: no user's credential is looked at."""
        return Scope.WRITE if self is Access.MAKE else self.value if isinstance(self.value, Scope) else None


@dataclass(frozen=True, slots=True)
class Parameter:
    """Of the query or a header. ``schema`` is a JSON Schema. Those of the path are in ``PATH_PARAMETERS``."""

    name: str
    words: str
    schema: Mapping[str, Any]
    where: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is no refusal. ``model``: any annotation that pydantic can describe; None: no JSON body.

    ``media``: the type of a body that is not JSON. ``headers`` by name, with words. ``links``: operations that go on
    from here, by name, with where their parameters are found.
    """

    words: str
    model: Any = None
    media: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    example: Any = None
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """``name`` is the operationId. ``body``: what the request's JSON must be; ``problems``: refusals of its own, beside
    those that come with ``access`` and ``body``. ``nobody`` and ``terms`` as for ``gateway.identity.guard.caller``.
    ``body_media``: the types in which the body may come, one model for all."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    words: str = ""
    access: Access = Access.READ
    nobody: Problem = P.UNAUTHORIZED
    terms: bool = True
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    body_required: bool = True
    body_example: Any = None
    body_media: tuple[str, ...] = ("application/json",)
    replies: Mapping[int, Reply]
    problems: tuple[Problem, ...] = ()

    @property
    def form(self) -> Form:
        """In which form it refuses."""
        return form_at(self.path)

    def refusals(self) -> Iterator[Problem]:
        """Every way in which it may refuse, once each."""
        yield from dict.fromkeys((*self.at_the_door(), *((P.TOO_LARGE,) if self.body else ()), *self.problems))

    def at_the_door(self) -> Iterator[Problem]:
        """Those that the guard gives, before anything of the operation is looked at."""
        if self.access is Access.OPEN:
            return
        if self.access is Access.WORKER:
            yield from (P.NO_WORKER_KEY, P.NO_ENDPOINT, P.UNAVAILABLE)
            return
        yield from (self.nobody, P.SCOPE, P.UNAVAILABLE)
        if self.terms:
            yield P.TERMS
        if self.access is Access.ADMIN:
            yield P.ADMIN_ONLY
        if self.method not in SAFE:
            yield P.FORBIDDEN_ORIGIN
        if self.access is Access.MAKE:
            yield from (P.RESTRICTED, P.BLOCKED)


PATH_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "code": {
        "description": "A voucher's code, exactly as it was given.",
        "schema": {"type": "string", "minLength": 1},
        "example": "SPRING-2026",
    },
    "endpoint_id": {
        "description": "The name of a serverless endpoint. `mochi-1` is there from the start.",
        "schema": {"type": "string", "minLength": 1},
        "example": "mochi-1",
    },
    "pod_id": {
        "description": "A worker's own name, `RUNPOD_POD_ID`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64},
        "example": "pod-1",
    },
    "job_id": {
        "description": "The id of a video, `jobId` in its row.",
        "schema": {"type": "string", "minLength": 1},
        "example": "6f1c2a52-3f0e-4e0c-9f5e-2c8c6f1d7a10",
    },
    "webhook_id": {
        "description": "The id of a webhook.",
        "schema": {"type": "string", "minLength": 1},
        "example": "wh_0b5c1d7e2f3a4b5c6d7e8f9a0b1c2d3e",
    },
    "delivery_id": {
        "description": "The id of a delivery: the `webhook-id` of every try.",
        "schema": {"type": "string", "minLength": 1},
        "example": "msg_2f3a4b5c6d7e8f9a0b1c2d3e0b5c1d7e",
    },
    "video_id": {
        "description": "The id of a video: `video_` and its `jobId`.",
        "schema": {"type": "string", "minLength": 1},
        "example": "video_6f1c2a52-3f0e-4e0c-9f5e-2c8c6f1d7a10",
    },
    "model_id": {
        "description": "The name of a model.",
        "schema": {"type": "string", "minLength": 1},
        "example": "mochi-1",
    },
    "character_id": {
        "description": "The id of a character.",
        "schema": {"type": "string", "minLength": 1},
        "example": "char_1",
    },
    "kind": {
        "description": "Which of its files.",
        "schema": {"type": "string", "enum": ["video", "poster", "thumbnail"]},
        "example": "video",
    },
}
