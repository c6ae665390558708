"""``/topics``: what each holds, and how far behind its readers are."""

import asyncio

from operations.admin.answers import PartitionState, ReaderLag, Topics, TopicView
from operations.admin.operation import Answer, Call, Nothing, Operation
from operations.core.readers import READERS, behind
from operations.desk import Desk
from schemas.shape import to_plain
from schemas.topics import TOPICS


async def list_topics(call: Call[Nothing, Nothing]) -> Answer:
    views = await asyncio.gather(*(_view(call.desk, name) for name in TOPICS))
    return Answer(to_plain(Topics(topics=tuple(views))))


async def _view(desk: Desk, name: str) -> TopicView:
    starts, ends = await asyncio.gather(desk.log.starts(name), desk.log.ends(name))
    readers = []
    for reader in sorted(reader for reader, topic in READERS.items() if topic == name):
        late = behind(await desk.database.jobs.applied_offsets(reader), starts, ends)
        by_partition = {str(partition): count for partition, count in late.items()}
        readers.append(ReaderLag(reader=reader, behind=sum(late.values()), by_partition=by_partition))
    return TopicView(
        name=name,
        partitions=tuple(PartitionState(partition=at, start=starts[at], end=ends[at]) for at in sorted(ends)),
        records=sum(ends[at] - starts[at] for at in ends),
        readers=tuple(readers),
    )


OPERATIONS = (
    Operation(
        method="get",
        path="/topics",
        name="listTopics",
        tag="Topics",
        summary="What each topic holds, and how far behind its readers are",
        reply=Topics,
        handler=list_topics,
    ),
)
