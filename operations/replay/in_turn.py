"""A source whose partitions are read by turns, so that what is written slowly is spread over all who read it."""

from operations.replay.sources import Chunk, Source

_AHEAD = 20_000  # records: what one fetch brings of all partitions


class InTurn:
    """Of another source: the order within each partition stays."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._waiting: dict[int, Chunk] = {}

    async def next(self, at_most: int) -> list[Chunk] | None:
        """See ``Source.next``. Who was read last is read again when all others have been."""
        if not self._waiting:
            chunks = await self._source.next(_AHEAD)
            if chunks is None:
                return None
            self._waiting = {chunk.partition: chunk for chunk in chunks}
        taken: list[Chunk] = []
        share = -(-at_most // max(1, len(self._waiting)))
        for partition, chunk in list(self._waiting.items()):
            count = min(share, at_most, len(chunk.records))
            if not count:
                break
            at_most -= count
            del self._waiting[partition]
            first, rest = _cut(chunk, count)
            taken.append(first)
            if rest.records:
                self._waiting[partition] = rest
        return taken

    def close(self) -> None:
        """See ``Source.close``."""
        self._source.close()


def _cut(chunk: Chunk, count: int) -> tuple[Chunk, Chunk]:
    records, places = chunk.records, chunk.places
    after = places[count] if count < len(records) else chunk.after
    rest = Chunk(chunk.partition, records[count:], places[count:], chunk.after)
    return Chunk(chunk.partition, records[:count], places[:count], after), rest
