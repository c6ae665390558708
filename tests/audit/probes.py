"""Probes: records for the scheduler and the janitor whose effect nothing else can bring about.

Scheduler: a beat of a new session that names a job which nobody knows is answered with an order to stop, to that
session, whatever the scheduler knows or has forgotten. Janitor: an attempt's files are discarded whose object was
stored before; then it is gone.
"""

import asyncio
from collections.abc import Sequence
from random import Random

from repo.clock import now_ms
from repo.core.object_keys import file_key, user_prefix
from repo.ports import ObjectStore, Position, Unavailable
from schemas.dispatch import StopAttempt, WorkerBeat, WorkerState
from schemas.events import FilesDiscarded
from schemas.topics import DISPATCH, EVENTS
from tests.audit.judge import Judge, Key, Place
from tests.audit.post import Post
from tests.streams.submissions import new_id


def stop_key(order: StopAttempt) -> Key:
    """What the judge knows a probe's order by."""
    return ("", "stop", f"{order.session} to stop {order.job_id}")


def gone_key(object_key: str) -> Key:
    """What the judge knows a deleted object by."""
    return ("", "gone", f"the deletion of {object_key}")


class Probes:
    """Sends probes for ever, into every partition by and by, and looks which objects are gone."""

    def __init__(self, post: Post, judge: Judge, objects: ObjectStore, pools: Sequence[str], chance: Random) -> None:
        self._post = post
        self._judge = judge
        self._objects = objects
        self._pools = pools
        self._chance = chance
        self._run = new_id("probe-")
        self._users = [f"{self._run}-{number}" for number in range(2 * EVENTS.partitions)]
        self._stored: dict[str, set[str]] = {user: set() for user in self._users}
        self.sent = 0

    async def run(self, every_s: float) -> None:
        """A probe of each kind, again and again."""
        while True:
            await self._ask_scheduler()
            await self._ask_janitor()
            await asyncio.sleep(every_s * self._chance.uniform(0.5, 1.5))

    async def look(self) -> None:
        """Take in which of the stored objects are gone."""
        for user, keys in self._stored.items():
            gone = keys - set(await self._objects.list_keys(user_prefix(user))) if keys else set()
            for key in gone:
                self._judge.effect(gone_key(key), None, None)
            keys.difference_update(gone)

    async def _ask_scheduler(self) -> None:
        pool = self._chance.choice(self._pools)
        beat = WorkerBeat(
            pool=pool,
            worker_id=f"{self._run}-{pool}",
            session=new_id(),
            sequence=1,
            state=WorkerState.BUSY,
            job_id=new_id(),
            attempt=1,
        )
        order = StopAttempt(worker_id=beat.worker_id, session=beat.session, job_id=beat.job_id or "", attempt=1)
        self._await(DISPATCH.name, await self._post.send(beat), stop_key(order))

    async def _ask_janitor(self) -> None:
        user = self._chance.choice(self._users)
        word = FilesDiscarded(user_id=user, job_id=new_id(), attempt=1, worker_id="probe")
        key = file_key(user, word.job_id, 1, "probe", "session", "video")
        try:
            await self._objects.put_bytes(key, b"a video", "video/mp4")
        except Unavailable:
            return  # a slow moment of the object store; there are more probes
        self._stored[user].add(key)
        self._await(EVENTS.name, await self._post.send(word), gone_key(key))

    def _await(self, topic: str, positions: Sequence[Position], key: Key) -> None:
        for position in positions:
            self.sent += 1
            self._judge.await_effect(Place(topic, position.partition, position.offset), key, now_ms())
