"""The workers: the real core (``inference_worker/core``), its effects performed one by one on simulated ports.

``Slot`` is a machine with a supervisor: after an end it starts another ``Run``, with a new session.
"""

from inference_worker.core.effects import (
    Clean,
    DropUpload,
    Effect,
    Exit,
    Generate,
    KillChild,
    Report,
    Say,
    Show,
    StartChild,
    StopChild,
    Upload,
)
from inference_worker.core.inputs import Acked, Input, Leave, NotStored, Stored, StoredSome, Tick
from inference_worker.core.limits import Identity, Limits
from inference_worker.core.step import step
from inference_worker.core.worker import Worker, new_worker
from repo.core.object_keys import file_key, session_keys
from repo.ports import Unavailable
from schemas.codec import Message, encode
from schemas.dispatch import DrainSession, RunAttempt, StopAttempt, WorkerBeat, WorkerState
from schemas.failures import FailureCode
from schemas.jobs import Output, StoredFile
from schemas.topics import ASSIGNMENTS
from tests.simulation.children import Child
from tests.simulation.processes import Servers, read
from tests.simulation.servers import LogPort, ObjectsPort
from tests.simulation.world import Process, Signal, Task, World

TICK_MS = 500
LAST_WORDS_MS = 700
UPLOAD_PATIENCE_MS = 40_000
FILES = ("video", "poster", "thumbnail")
# As in life, but that a stuck child is noticed sooner.
LIMITS = Limits(first_word_ms=30_000, stalled_ms=40_000, load_stalled_ms=40_000)


class Outbox:
    """As ``inference_worker/outbox.py``: in order, each until the log has it; with a slot, only the newest."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._waiting: list[tuple[Message, str | None]] = []
        self._put = Signal()

    @property
    def empty(self) -> bool:
        return not self._waiting

    def put(self, message: Message, slot: str | None = None) -> None:
        if slot is not None:
            self._waiting = [one for one in self._waiting if one[1] != slot]
        self._waiting.append((message, slot))
        self._put.give()

    async def send(self, *, acked: bool) -> None:
        run, delay = self._run, 200
        while True:
            while self._waiting:
                one = self._waiting[0]
                try:
                    await run.log.append(encode(one[0], source=run.source, at=run.world.now))
                except Unavailable:
                    await run.world.sleep(delay)
                    delay = min(5_000, 2 * delay)
                    continue
                delay = 200
                if one in self._waiting:
                    self._waiting.remove(one)
                if acked:
                    run.take(Acked(one[0].message_id))
            self._put = Signal()
            await self._put


class Run:
    """One process of a worker, from its start to its end.

    ``loose``: attempts of which files may be stored and nobody was told yet; ``given_up``: those that it could not
    delete.
    """

    def __init__(self, world: World, servers: Servers, identity: Identity) -> None:
        self.world = world
        self.process = Process(world, f"{identity.worker_id}/{identity.session}")
        self.source = f"/workers/{identity.worker_id}"
        self.log = LogPort(servers.broker)
        self.core: Worker = new_worker(identity, LIMITS, world.now)
        self.ended = Signal()
        self._servers = servers
        self._plan = servers.broker.plan
        self._objects = ObjectsPort(servers.bucket, self.process.name)
        self._reports, self._dispatch = Outbox(self), Outbox(self)
        self.loose: dict[tuple[str, int], RunAttempt] = {}
        self.given_up: list[RunAttempt] = []
        self._inbox: list[Input] = []
        self._mail = Signal()
        self._child: tuple[int, Child] | None = None
        self._uploads: dict[tuple[str, int], Task] = {}
        self._errands = 0
        self._dropping: set[tuple[str, int]] = set()
        self.process.spawn(self._serve())
        self.process.spawn(self._reports.send(acked=True))
        self.process.spawn(self._dispatch.send(acked=False))
        self.process.spawn(self._listen())

    def die(self) -> None:
        """SIGKILL: the child goes with it."""
        self.process.kill()
        if self._child:
            self._child[1].process.kill()
        self.ended.give()

    def post(self, given: Input) -> None:
        """From outside the process; taken when it runs."""
        self._inbox.append(given)
        self._mail.give()

    def take(self, given: Input) -> None:
        """Decide, and perform the effects in order; the process may die between any two."""
        if not self.process.alive:
            return
        before = self.core.state
        self.core, effects = step(self.core, given, self.world.now)
        if self.core.state is not before:
            attempt = self.core.attempt
            about = f"{attempt.order.job_id}:{attempt.order.attempt}" if attempt else ""
            self.world.note(self.process.name, self.core.state, about, type(given).__name__)
        for effect in effects:
            if self._plan.strikes("kill_between_effects"):
                self.world.note(self.process.name, "killed", "", f"before {type(effect).__name__}")
                self.die()
                return
            self._perform(effect)

    async def _listen(self) -> None:
        while True:
            while self._inbox:
                self.take(self._inbox.pop(0))
            self._mail = Signal()
            await self._mail

    async def _serve(self) -> None:
        """As the parent's: where orders will be is known before the first tick, so before the first READY."""
        name = self.core.identity.worker_id
        partition = self.log.partition_of(ASSIGNMENTS.name, name.encode())
        while True:
            try:
                start = (await self.log.ends(ASSIGNMENTS.name))[partition]
                break
            except Unavailable:
                await self.world.sleep(500)
        self.process.spawn(self._follow(partition, start))
        while True:
            self.take(Tick())
            await self.world.sleep(TICK_MS)

    async def _follow(self, partition: int, offset: int) -> None:
        broker = self._servers.broker
        key = self.core.identity.worker_id.encode()
        while True:
            lane = broker.lanes[ASSIGNMENTS.name, partition]
            if broker.away:
                await self.world.sleep(broker.away_until - self.world.now)
            elif self.log.is_cut:
                await self.world.sleep(500)
            elif offset < len(lane):
                record, offset = lane[offset], offset + 1
                message = read(record)
                if record.key == key and isinstance(message, RunAttempt | StopAttempt | DrainSession):
                    self.take(message)
            else:
                await broker.grown(ASSIGNMENTS.name, partition)
                await self.world.sleep(self.world.between(0, 5))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Say(message=message):
                self._dispatch.put(message, slot="beat" if isinstance(message, WorkerBeat) else None)
            case Report(command=command):
                self.world.note(self.process.name, "reports", command.subject, command.command_id)
                self._reports.put(command)
            case Upload(order=order):
                key = order.job_id, order.attempt
                self.loose[key] = order
                self._uploads[key] = self.process.spawn(self._upload(order))
            case Clean(job_id=job_id, attempt=number):
                if (job_id, number) not in self._dropping:
                    self.loose.pop((job_id, number), None)
            case DropUpload(order=order):
                self._dropping.add((order.job_id, order.attempt))
                self._errands += 1
                self.process.spawn(self._drop(order))
            case Exit(code=code):
                self.process.spawn(self._leave(code))
            case StartChild() | Generate() | StopChild() | KillChild():
                self._tell_child(effect)
            case Show():
                pass

    def _tell_child(self, effect: StartChild | Generate | StopChild | KillChild) -> None:
        if isinstance(effect, StartChild):
            self._child = effect.child, Child(self.world, self._plan, self.process.name, effect.child, self.post)
            return
        if self._child is None or self._child[0] != effect.child:
            return
        match effect:
            case Generate(order=order):
                self._child[1].generate(order)
            case StopChild(job_id=job_id, attempt=attempt):
                self._child[1].stop(job_id, attempt)
            case KillChild():
                self._child[1].kill()

    async def _upload(self, order: RunAttempt) -> None:
        """As ``files.FileStore`` with one store: file by file, each until it is stored or patience ends."""
        key = order.job_id, order.attempt
        until = self.world.now + UPLOAD_PATIENCE_MS
        files: dict[str, StoredFile] = {}
        for kind in FILES:
            name = file_key(order.user_id, order.job_id, order.attempt, order.worker_id, order.session, kind)
            while kind not in files:
                slow = self._plan.strikes("upload_slow")
                await self.world.sleep(self.world.between(2_000, 20_000) if slow else self.world.between(20, 400))
                if self.world.now >= until:
                    self.take(NotStored(*key, FailureCode.STORAGE_UNAVAILABLE, "It could not be stored in time."))
                    return
                try:
                    files[kind] = await self._objects.put_bytes(name, b"...", "video/mp4")
                except Unavailable:
                    continue
            self.take(StoredSome(*key, len(files), len(FILES)))
        self.take(Stored(*key, Output(**files)))  # type: ignore[arg-type]

    async def _drop(self, order: RunAttempt) -> None:
        upload = self._uploads.pop((order.job_id, order.attempt), None)
        if upload:
            upload.end()
        await self.world.sleep(60)  # what was on its way has arrived or never will
        keys = session_keys(order.user_id, order.job_id, order.attempt, order.worker_id, order.session)
        try:
            await self._objects.delete(keys)
        except Unavailable:
            self.world.note(self.process.name, "files left", order.job_id, "s3 away")
            self.given_up.append(order)
        self.loose.pop((order.job_id, order.attempt), None)
        self._errands -= 1

    async def _leave(self, code: int) -> None:
        """After the decision to end: for a moment, what was said is still sent."""
        until = self.world.now + (LAST_WORDS_MS if code == 0 else 0)
        while self.world.now < until and not (self._reports.empty and self._dispatch.empty and not self._errands):
            await self.world.sleep(20)
        self.world.note(self.process.name, "exits", f"code {code}")
        self.die()


class Slot:
    """A machine on which a worker is started again and again. ``gone``: never again."""

    def __init__(self, world: World, servers: Servers, name: str, pool: str) -> None:
        self.name, self.pool = name, pool
        self.gone = False
        self.runs: list[Run] = []
        self._world, self._servers = world, servers
        self._start()

    @property
    def run(self) -> Run:
        return self.runs[-1]

    @property
    def is_ready(self) -> bool:
        return self.run.process.alive and self.run.core.state is WorkerState.READY

    def kill(self) -> None:
        if self.run.process.alive:
            self._world.note(self.run.process.name, "killed", self.run.core.state)
            self.run.die()

    def end(self) -> None:
        """SIGTERM; after five seconds the supervisor's SIGKILL."""
        run = self.run
        if run.process.alive:
            self._world.note(run.process.name, "SIGTERM", run.core.state)
            run.post(Leave())
            self._world.at(5_000, run.die)

    def hang(self, for_ms: int) -> None:
        if self.run.process.alive:
            self._world.note(self.run.process.name, "hangs", f"{for_ms} ms", self.run.core.state)
            self.run.process.stand_still(for_ms)

    def cut_off(self, for_ms: int) -> None:
        """Its network to Kafka is gone for a while; it goes on working."""
        if self.run.process.alive:
            self._world.note(self.run.process.name, "cut off", f"{for_ms} ms", self.run.core.state)
            self.run.log.cut(for_ms)

    def orphans(self) -> list[str]:
        """Files of which no process is left that knows: it died, or could not delete them, before anyone was told."""
        orders = [order for run in self.runs for order in run.given_up]
        orders += [order for run in self.runs if not run.process.alive for order in run.loose.values()]
        return [key for o in orders for key in session_keys(o.user_id, o.job_id, o.attempt, o.worker_id, o.session)]

    def _start(self) -> None:
        identity = Identity(pool=self.pool, worker_id=self.name, session=f"s{len(self.runs) + 1}")
        self._world.note(self.name, "started", identity.session)
        run = Run(self._world, self._servers, identity)
        self.runs.append(run)
        run.ended.then(self._ended)

    def _ended(self) -> None:
        if not self.gone:
            self._world.at(self._world.between(200, 6_000), lambda: None if self.gone else self._start())
