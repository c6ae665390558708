"""Runs roles: waits for the servers, starts one Faust app a role in this loop, watches over them, stops in time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from faust.types import TP

from repo.access import AccessStore
from repo.clock import now_ms
from repo.deliveries import DeliveryStore
from repo.endpoints import EndpointStore
from repo.ports import EventLog, JobStore, Unavailable
from repo.settings import ServerSettings
from repo.stores import ObjectStores
from repo.upkeep import UpkeepStore
from schemas.topics import COMMANDS, DISPATCH, EVENTS, Topic
from streams.agents import attach
from streams.app import App, is_member, make_app
from streams.board import Board
from streams.core.deliveries import SendingPolicy
from streams.deadletters import describe, stack_of
from streams.forgetting import Forgetting, Sweep
from streams.inspector import INSPECTED, Inspector, consumer_of
from streams.janitor import Janitor
from streams.ledger import Ledger
from streams.lookout import Lookout
from streams.metrics import StreamsMetrics
from streams.notifier import WANTED
from streams.offsets import AppliedOffsets
from streams.patience import Patience
from streams.pools import Pools
from streams.post_office import PostOffice, Stores
from streams.reader import Handler, Reader
from streams.settings import Role, StreamsSettings
from streams.sweeper import Sweeper
from streams.ticks import Ticker
from streams.vitals import Vitals, new_vitals
from streams.watchdog import Limits, Watchdog, end_process, wake

log = structlog.get_logger()

TOPIC_OF_ROLE = {Role.LEDGER: COMMANDS, Role.SCHEDULER: DISPATCH, Role.JANITOR: EVENTS, Role.NOTIFIER: EVENTS}
DISPATCH_REACH = 2_000  # records: half an hour of ticks; older heartbeats say nothing about now

_BEAT_S = 0.5
_SAVE_S = 0.2
_ASK_AGAIN_S = 0.5
_LEAVE_WITHIN_S = 0.8  # to store offsets and leave the groups, after the grace


@dataclass(frozen=True, slots=True)
class Ports:
    """What the process was given to work on, and how the job store is made ready (its indexes)."""

    log: EventLog
    store: JobStore
    access: AccessStore
    deliveries: DeliveryStore
    endpoints: EndpointStore
    upkeep: UpkeepStore
    objects: ObjectStores
    prepare_store: Callable[[], Awaitable[None]]
    aged: Mapping[str, Sweep]  # what operators' doings left behind, and what deletes it by its age alone


@dataclass(frozen=True, slots=True)
class Running:
    """A role at work."""

    reader: Reader
    app: App
    idle: Callable[[int], bool]


class Service:
    """All roles of one process."""

    def __init__(
        self,
        servers: ServerSettings,
        settings: StreamsSettings,
        ports: Ports,
        sending: SendingPolicy,
        metrics: StreamsMetrics | None = None,
    ) -> None:
        self._metrics = metrics or StreamsMetrics()
        self._servers = servers
        self._settings = settings
        self._ports = ports
        self._vitals: Vitals = new_vitals(settings.roles)
        self._metrics.watch(self._vitals)
        self._board = Board(self._vitals)
        self._stop = asyncio.Event()
        stores = Stores(ports.store, ports.access, ports.deliveries, ports.endpoints, ports.objects)
        self._post_office = PostOffice(settings, stores, sending, self._metrics)

    def stop(self) -> None:
        """Stop soon. To be called in the loop."""
        self._vitals.stopping = True
        self._stop.set()

    async def run(self) -> None:
        """Until ``stop``, or until something that must not end has ended: then the process ends."""
        if not await self._or_stopped(self._wait_for_servers()):
            return
        wake(self._vitals, self._vitals.clock())
        roles = [self._make(role) for role in self._settings.roles]
        watchdog = Watchdog(self._vitals, Limits(stall_s=self._settings.openv_streams_stall_seconds))
        watchdog.start()
        tasks = [asyncio.create_task(task) for task in self._tasks(roles)]
        try:
            if await self._or_stopped(_start(roles)):
                log.info("started", roles=[str(one.reader.role) for one in roles])
                await asyncio.wait([asyncio.create_task(self._stop.wait()), *tasks], return_when="FIRST_COMPLETED")
            _complain_of_ended(tasks)
            await self._leave(roles)
        finally:
            watchdog.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _or_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether the work was done before ``stop``; else it is given up."""
        doing, stopped = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait([doing, stopped], return_when="FIRST_COMPLETED")
        stopped.cancel()
        if doing.done():
            doing.result()
            return True
        doing.cancel()
        return False

    async def _wait_for_servers(self) -> None:
        await self._until_it_answers(self._ports.log.ping)
        await self._until_it_answers(self._ports.prepare_store)

    async def _until_it_answers(self, ask: Callable[[], Awaitable[None]]) -> None:
        said = ""
        while True:
            try:
                await ask()
            except Unavailable as absent:
                if str(absent) != said:
                    said = str(absent)
                    log.warning("waiting", server=absent.server, reason=absent.reason)
                    self._board.starting(f"waiting for {absent.server}: {absent.reason}")
                await asyncio.sleep(_ASK_AGAIN_S)
            else:
                return

    def _make(self, role: Role) -> Running:
        topic = TOPIC_OF_ROLE[role]
        offsets = AppliedOffsets(
            role,
            topic,
            self._ports.store,
            self._ports.log,
            reach=DISPATCH_REACH if role is Role.SCHEDULER else None,
        )
        vitals = self._vitals.roles[role]
        only = WANTED if role is Role.NOTIFIER else None
        reader = Reader(
            role,
            topic,
            self._handler(role),
            offsets,
            self._ports.log,
            self._board,
            vitals,
            only=only,
            metrics=self._metrics,
        )
        app = make_app(role, self._servers, self._settings)
        lanes = attach(app, reader)
        return Running(reader, app, lanes.is_idle)

    def _handler(self, role: Role) -> Handler:
        store, event_log = self._ports.store, self._ports.log
        match role:
            case Role.LEDGER:
                return Ledger(store, event_log, self._settings.policy(), metrics=self._metrics)
            case Role.SCHEDULER:
                reconcile_ms = round(self._settings.openv_streams_reconcile_seconds * 1000)
                pools = Pools(store, event_log, Patience(role, self._board), reconcile_ms=reconcile_ms)
                vitals = self._vitals.roles[role]
                self._metrics.watch_pools(lambda: pools.states_of(vitals.partitions))
                return pools
            case Role.JANITOR:
                return Janitor(
                    store,
                    self._ports.access,
                    self._ports.endpoints,
                    self._ports.objects,
                    deleted=self._metrics.files_deleted,
                )
            case Role.NOTIFIER:
                return self._post_office.notifier()

    def _inspector(self, topic: Topic, janitor: Reader) -> Inspector:
        offsets = AppliedOffsets(consumer_of(topic), topic, self._ports.store, self._ports.log)
        return Inspector(topic, janitor, offsets, self._ports.log, Patience(Role.JANITOR, self._board))

    def _sweeper(self) -> Sweeper:
        patience = Patience(Role.JANITOR, self._board)
        return Sweeper(self._ports.store, self._ports.endpoints, self._ports.log, patience, now_ms)

    def _forgetting(self) -> Forgetting:
        ports, patience = self._ports, Patience(Role.JANITOR, self._board)
        kept = self._settings.kept()
        return Forgetting(ports.store, ports.upkeep, ports.objects, ports.log, patience, now_ms, kept, ports.aged)

    def _tasks(self, roles: list[Running]) -> list[Coroutine[Any, Any, None]]:
        tasks = [_beat(self._vitals), _until_crashed([one.app for one in roles])]
        for one in roles:
            lookout = Lookout(
                one.reader,
                self._ports.log,
                self._board,
                committed=lambda app=one.app, topic=one.reader.topic.name: _committed(app, topic),  # type: ignore[misc]
                member=lambda app=one.app: is_member(app),  # type: ignore[misc]
                idle=one.idle,
            )
            tasks.append(lookout.run(self._settings.openv_streams_look_seconds))
            tasks.append(_save(one.reader.offsets))
            if one.reader.role is Role.SCHEDULER:
                ticker = Ticker(one.reader, self._ports.log)
                tasks.append(ticker.run(self._settings.openv_streams_tick_seconds))
            if one.reader.role is Role.JANITOR:
                tasks += [self._inspector(topic, one.reader).run() for topic in INSPECTED]
                tasks += [self._sweeper().run(), self._forgetting().run()]
            if one.reader.role is Role.NOTIFIER:
                tasks.append(self._post_office.run(Patience(Role.NOTIFIER, self._board)))
        return tasks

    def _grace(self, reader: Reader) -> float:
        """A role that waits for a server is not about to finish."""
        return 0.0 if reader.vitals.waiting_for else self._settings.openv_streams_grace_seconds

    async def _leave(self, roles: list[Running]) -> None:
        """Finish the running messages if that is soon done, store how far we got, and leave the groups.

        A role that does not finish is left as it stands: nothing of its message was acked, another process takes it.
        """
        sent = asyncio.create_task(self._post_office.stop(self._settings.openv_streams_grace_seconds))
        done = await asyncio.gather(*(one.reader.stop(self._grace(one.reader)) for one in roles))
        await sent
        finished = [one for one, is_done in zip(roles, done, strict=True) if is_done]
        for one in roles:
            if one not in finished:
                log.warning("stopped in the middle of a message; it will be read again", role=one.reader.role)
        leaving = [_leave_group(one) for one in finished]
        try:
            async with asyncio.timeout(_LEAVE_WITHIN_S):
                await asyncio.gather(*leaving, return_exceptions=True)
        except TimeoutError:
            log.warning("could not leave the consumer groups in time")


async def _leave_group(one: Running) -> None:
    await one.reader.offsets.save()
    await one.app.stop()


async def _start(roles: list[Running]) -> None:
    for one in roles:
        one.app.finalize()
    await asyncio.gather(*(one.app.start() for one in roles))


async def _beat(vitals: Vitals) -> None:
    while True:
        vitals.loop_beat = vitals.clock()
        await asyncio.sleep(_BEAT_S)


async def _save(offsets: AppliedOffsets) -> None:
    while True:
        await asyncio.sleep(_SAVE_S)
        try:
            await offsets.save()
        except Unavailable:
            continue  # the handlers wait for the same server, and say so


async def _until_crashed(apps: list[App]) -> None:
    """Faust marks a crash from whichever thread it happens in; nothing tells."""
    while True:
        await asyncio.sleep(_BEAT_S)
        if any(app.crashed for app in apps):
            return


def _committed(app: App, topic: str) -> dict[int, int]:
    offsets: dict[TP, int] = dict(app.monitor.tp_committed_offsets)
    return {at.partition: offset for at, offset in offsets.items() if at.topic == topic}


def _complain_of_ended(tasks: "list[asyncio.Task[None]]") -> None:
    """None of them ends while all is well. What ended may be what keeps us honest, so the process ends as well."""
    for task in tasks:
        if task.cancelled():  # by nobody here: a library that it waited for did so
            log.error("unexpected failure", cause="a background task was cancelled")
            end_process("a background task was cancelled")
        elif task.done():
            error = task.exception()
            if error is None:
                end_process("Faust crashed")
            else:
                log.error("unexpected failure", cause=describe(error), stack=stack_of(error))
                end_process(f"a background task failed: {describe(error)}")
