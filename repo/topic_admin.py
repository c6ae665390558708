"""Makes Kafka's topics as the table in ``schemas/topics.py`` says (skeleton: being filled in)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from repo.settings import ServerSettings
from schemas.topics import TOPICS, Topic


@dataclass(frozen=True, slots=True)
class TopicState:
    name: str
    partitions: int | None
    kept: str
    differs: tuple[str, ...]


class TopicAdmin:
    def __init__(self, settings: ServerSettings, *, timeout_s: float = 30.0) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    async def apply(
        self, table: Mapping[str, Topic] = TOPICS, *, replication_factor: int | None = None
    ) -> list[str]: ...
    async def describe(self, table: Mapping[str, Topic] = TOPICS) -> list[TopicState]: ...
