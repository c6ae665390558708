"""What a replay writes to: topics or a file, bundle by bundle; how far a bundle that is durable reaches."""

from collections.abc import Mapping
from typing import Protocol

from operations.core.replay_records import Readable, Written
from operations.replay.files import LinesWriter, as_line
from operations.replay.sieve import Lanes
from repo.topic_writer import Sent, TopicWriter

Ends = Mapping[tuple[str, int], int]
DURABLE_WITHIN_S = 30.0


class Sink(Protocol):
    """``put`` records, ``send`` them as a bundle, then learn how far it reaches."""

    def put(self, record: Readable, judged: Written, partition: int) -> None:
        """Behind those put before."""
        ...

    async def send(self) -> object:
        """On its way; what ``durable`` is to be asked by. Raises ``Unavailable``, ``StackError``."""
        ...

    async def durable(self, sent: object) -> Ends:
        """Wait for it: by topic and partition the next position, where that is known. As ``send``."""
        ...


class TopicSink:
    """Topics: the target and the quarantine."""

    def __init__(self, writer: TopicWriter, lanes: Lanes) -> None:
        self._writer = writer
        self._lanes = lanes

    def put(self, record: Readable, judged: Written, partition: int) -> None:
        """See ``Sink.put``."""
        key = record.key
        lane = self._lanes.of(judged.topic, key, partition)
        self._writer.add(judged.topic, lane, key, record.value, judged.headers)

    async def send(self) -> object:
        """See ``Sink.send``."""
        return await self._writer.send()

    async def durable(self, sent: object) -> Ends:
        """See ``Sink.durable``."""
        assert isinstance(sent, Sent)  # noqa: S101 -- what ``send`` has given
        return await sent.landed(DURABLE_WITHIN_S)


class FileSink:
    """A file, of one partition."""

    def __init__(self, lines: LinesWriter, name: str) -> None:
        self._lines = lines
        self._name = name
        self._open: list[bytes] = []

    def put(self, record: Readable, judged: Written, partition: int) -> None:  # noqa: ARG002 -- it is kept as it is
        """See ``Sink.put``."""
        self._open.append(as_line(record))

    async def send(self) -> object:
        """See ``Sink.send``."""
        opened, self._open = self._open, []
        return self._lines.write(opened)

    async def durable(self, sent: object) -> Ends:
        """See ``Sink.durable``."""
        assert isinstance(sent, int)  # noqa: S101 -- what ``send`` has given
        self._lines.durable()
        return {(self._name, 0): sent}
