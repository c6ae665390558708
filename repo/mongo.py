"""The job store on MongoDB (skeleton: being filled in)."""

from types import TracebackType
from typing import Self

from repo.settings import ServerSettings


class MongoJobStore:
    def __init__(self, settings: ServerSettings, *, timeout_s: float = 5.0) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    async def prepare(self) -> None: ...
