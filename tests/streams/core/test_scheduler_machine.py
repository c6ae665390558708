"""The scheduler against a small world of a ledger, workers and unreliable topics, drawn by hypothesis.

Dispatch messages are lost, repeated and overtaken (across producers); assignments and commands are lost and repeated;
workers die, restart, decline, answer late; the scheduler forgets everything. After faults stop, all must settle.
"""

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schemas.dispatch import (
    DrainSession,
    DrainWorker,
    RunAttempt,
    StopAttempt,
    Tick,
    WorkerBeat,
    WorkerKind,
    WorkerState,
)
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State
from streams.core.effects import Look, Offer, Order, SchedulerEffect, Tell
from streams.core.leases import TELL_AGAIN_MS
from streams.core.places import is_heard, is_waiting
from streams.core.pool_state import Loaded, Phase, PoolState, Seen, empty_pool
from streams.core.scheduler import PoolEvent, step
from tests.streams.core.pool_actors import SLOT, Ledger, SimSlot, SimWorker
from tests.streams.core.pool_steps import POOL, T0, job_of

WORKERS = ("w1", "w2", "w3")


class World(RuleBasedStateMachine):
    """Faults first; ``teardown`` is the other half: none, and everything settles."""

    @initialize(sdk=st.booleans(), clock=st.sampled_from([-50, -1, 0, 1, 50]))
    def begin(self, sdk: bool, clock: int) -> None:
        self.now = T0
        self.state: PoolState = empty_pool(POOL)
        self.ledger = Ledger()
        self.workers = {w: SimWorker(w, WorkerKind.NATIVE) for w in WORKERS}
        if sdk:
            self.workers["w3"] = SimSlot(SLOT, WorkerKind.SDK, clock=clock)
        self.inbox: list[RunAttempt | StopAttempt | DrainSession] = []
        self.told: dict[tuple[str, str, int], int] = {}
        self.tells: list[tuple[str, str, int, str]] = []
        self.newest: dict[tuple[str, str], tuple[int, bool]] = {}
        self.read: list[PoolEvent] = []
        self.submitted = 0
        self._load()

    # ---- the scheduler's shell

    def _feed(self, event: PoolEvent) -> None:
        if isinstance(event, WorkerBeat):
            self._note(event)
        self.state, effects = step(self.state, event, self.now)
        self._check_effects(effects)
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: SchedulerEffect) -> None:
        match effect:
            case Offer(worker_id=worker_id, session=session, job_id=job_id, attempt=attempt):
                job = self.ledger.jobs.get(job_id)
                if job and job.state is State.QUEUED and job.attempt == attempt and job.due_at <= self.now:
                    self.inbox.append(_run(job, worker_id, session, self.now))
                else:
                    self._feed(Seen(job_id, job))
            case Order(message=message):
                self.inbox.append(message)
            case Tell(kind=kind, job_id=job_id, attempt=attempt, worker_id=worker_id):
                self.tells.append((kind, job_id, attempt, worker_id))
            case Look(job_id=job_id):
                self._feed(Seen(job_id, self.ledger.jobs.get(job_id)))

    def _addressed(self, order: RunAttempt | StopAttempt | DrainSession) -> SimWorker:
        return next(worker for worker in self.workers.values() if worker.worker_id == order.worker_id)

    def _check_effects(self, effects: tuple[SchedulerEffect, ...]) -> None:
        offered = [effect for effect in effects if isinstance(effect, Offer)]
        assert len({effect.worker_id for effect in offered}) == len(offered)
        assert len({effect.job_id for effect in offered}) == len(offered)
        for offer in offered:
            assert self.newest[offer.worker_id, offer.session][1], "offered to one whose newest beat is not READY"
        for effect in effects:
            if isinstance(effect, Tell):
                key = (effect.kind, effect.job_id, effect.attempt)
                assert self.now - self.told.get(key, -TELL_AGAIN_MS) >= TELL_AGAIN_MS, "told too often"
                self.told[key] = self.now

    def _note(self, beat: WorkerBeat) -> None:
        """The newest beat of each session that the scheduler, since it started, has read."""
        session = (beat.worker_id, beat.session)
        if beat.worker_id == SLOT and beat.state is WorkerState.BUSY:
            return  # a ping, which is in no order with what the slot's gateway says
        if beat.sequence > self.newest.get(session, (0, False))[0]:
            self.newest[session] = (beat.sequence, beat.state is WorkerState.READY)

    def _load(self) -> None:
        active = sorted((j for j in self.ledger.jobs.values() if j.state in ACTIVE), key=lambda j: j.job_id)
        self._feed(Loaded(tuple(active)))

    def _tick(self, ms: int = 1_000) -> None:
        self.now += ms
        self._feed(Tick(tick_id=str(self.now)))

    # ---- what happens

    @rule(user=st.sampled_from(["ann", "bob"]), priority=st.integers(0, 1), timeout=st.sampled_from([8_000, 600_000]))
    def submit(self, user: str, priority: int, timeout: int) -> None:
        self.submitted += 1
        job_id = f"j{self.submitted:03}"
        self.ledger.write(
            job_of(
                job_id,
                user,
                priority=priority,
                created_at=self.now,
                due_at=self.now,
                expires_at=self.now + 3_600_000,
                execution_timeout_ms=timeout,
            )
        )

    @rule(ms=st.sampled_from([500, 1_000, 1_000, 4_000, 600_000]))
    def time(self, ms: int) -> None:
        self._tick(ms)

    @rule(data=st.data(), fault=st.sampled_from(["none", "none", "lose", "repeat"]))
    def news_arrives(self, data: st.DataObject, fault: str) -> None:
        if self.ledger.news:
            self._arrive(self.ledger.news, data.draw(st.integers(0, min(3, len(self.ledger.news) - 1))), fault)

    @rule(worker=st.sampled_from(WORKERS), fault=st.sampled_from(["none", "none", "lose", "repeat"]))
    def word_arrives(self, worker: str, fault: str) -> None:
        if self.workers[worker].said:
            self._arrive(self.workers[worker].said, 0, fault)

    def _arrive(self, queue: list[PoolEvent], place: int, fault: str) -> None:
        event = queue[place] if fault == "repeat" else queue.pop(place)
        if fault != "lose":
            self.read.append(event)
            self._feed(event)

    @rule(data=st.data())
    def something_old_is_read_again(self, data: st.DataObject) -> None:
        if self.read:
            self._feed(data.draw(st.sampled_from(self.read)))

    @rule(data=st.data(), fault=st.sampled_from(["none", "none", "lose", "repeat"]))
    def order_arrives(self, data: st.DataObject, fault: str) -> None:
        if self.inbox:
            place = data.draw(st.integers(0, min(2, len(self.inbox) - 1)))
            order = self.inbox[place] if fault == "repeat" else self.inbox.pop(place)
            if fault != "lose":
                self._addressed(order).read(order)

    @rule(worker=st.sampled_from(WORKERS))
    def report_arrives(self, worker: str) -> None:
        reports = self.workers[worker].reports
        if reports:
            self.ledger.report(*reports.pop(0), now=self.now)

    @rule(fault=st.sampled_from(["none", "lose"]))
    def tell_arrives(self, fault: str) -> None:
        if self.tells:
            told = self.tells.pop(0)
            if fault == "none":
                self.ledger.report(*told, now=self.now)

    @rule(worker=st.sampled_from(WORKERS), does=st.sampled_from(["beat", "beat", "succeed", "succeed", "start", "die"]))
    def worker_does(self, worker: str, does: str) -> None:
        getattr(self.workers[worker], does)()

    @rule(worker=st.sampled_from(WORKERS), now=st.booleans(), leave=st.booleans())
    def worker_drains(self, worker: str, now: bool, leave: bool) -> None:
        if leave:
            self.workers[worker].leave()
        else:
            self._feed(DrainWorker(command_id="d", pool=POOL, worker_id=self.workers[worker].worker_id, now=now))

    @precondition(lambda self: self.ledger.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.ledger.cancel(data.draw(st.sampled_from(sorted(self.ledger.jobs))))

    @rule(
        seconds=st.sampled_from([1, 6, 12, 30, 50]),
        mute=st.sets(st.sampled_from(WORKERS)),
        deaf=st.sets(st.sampled_from(WORKERS)),
        ledger=st.booleans(),
    )
    def a_while(self, seconds: int, mute: set[str], deaf: set[str], ledger: bool) -> None:
        """Workers run and beat, some unheard, some without their orders; the ledger may be away."""
        for _ in range(seconds):
            self._tick()
            for worker in self.workers.values():
                if self.now // 1_000 % 5 == 0:
                    worker.beat()
                while worker.said and worker not in [self.workers[w] for w in mute]:
                    self._feed(worker.said.pop(0))
            for order in [
                order
                for order in self.inbox
                if self._addressed(order).worker_id not in {self.workers[w].worker_id for w in deaf}
            ]:
                self.inbox.remove(order)
                self._addressed(order).read(order)
            if ledger:
                self._ledger_works()

    def _ledger_works(self) -> None:
        for worker in self.workers.values():
            while worker.reports:
                self.ledger.report(*worker.reports.pop(0), now=self.now)
        while self.tells:
            self.ledger.report(*self.tells.pop(0), now=self.now)
        while self.ledger.news:
            self._feed(self.ledger.news.pop(0))

    @rule()
    def reconcile(self) -> None:
        self._load()

    @rule()
    def scheduler_restarts(self) -> None:
        self.state = empty_pool(POOL)
        self.told.clear()
        self.newest.clear()
        self._load()

    # ---- what must always be true

    @invariant()
    def no_worker_idles_while_a_job_is_due(self) -> None:
        if not hasattr(self, "state"):
            return
        offered = {e.lease.worker_id for e in self.state.jobs.values() if e.lease and e.lease.phase is Phase.OFFERED}
        idle = [
            w
            for w in self.state.workers.values()
            if w.asking and is_heard(w, self.state.ear) and w.worker_id not in offered
        ]
        waiting = [entry for entry in self.state.jobs.values() if is_waiting(entry, self.state.now)]
        assert not idle or not waiting

    @invariant()
    def a_worker_has_one_offer_at_most(self) -> None:
        """A slot's former poll may have been answered with a job whose end is not known yet."""
        if hasattr(self, "state"):
            held = Counter(
                e.lease.worker_id
                for e in self.state.jobs.values()
                if e.lease and e.lease.phase is Phase.OFFERED and (e.state is State.QUEUED or e.lease.worker_id != SLOT)
            )
            assert all(count == 1 for count in held.values())

    @invariant()
    def an_attempt_is_started_once(self) -> None:
        if hasattr(self, "ledger"):
            assert all(count == 1 for count in self.ledger.ran.values())

    # ---- faults stop

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        for worker in self.workers.values():
            if not worker.alive or worker.state is WorkerState.DRAINING:
                worker.start()
        for second in range(240):
            self._healthy_second(second)
            if second > 120 and not self._open():
                break
        assert self._open() == [], "jobs that no one will ever end"
        assert dict(self.state.jobs) == {}, "ended jobs that the scheduler still holds"
        for worker in self.workers.values():
            assert worker.running is None, "a worker still runs what is over"

    def _open(self) -> list[str]:
        return [job.job_id for job in self.ledger.jobs.values() if job.state in ACTIVE]

    def _healthy_second(self, second: int) -> None:
        """Everything that was said arrives; workers beat every five seconds and finish what they run within four."""
        self._tick()
        if second % 60 == 30:
            self._load()
        for place, worker in enumerate(self.workers.values()):
            if second % 5 == place:
                worker.beat()
            if second % 4 == place and worker.running is not None:
                worker.succeed()
            elif worker.state is WorkerState.DRAINING and worker.running is None:
                worker.leave()
                worker.start()
        self._drain_queues()

    def _drain_queues(self) -> None:
        busy = True
        while busy:
            queues = [self.ledger.news, *(worker.said for worker in self.workers.values())]
            busy = any(queues) or bool(self.inbox or self.tells) or any(w.reports for w in self.workers.values())
            self._ledger_works()
            for queue in queues:
                while queue:
                    self._feed(queue.pop(0))
            while self.inbox:
                order = self.inbox.pop(0)
                self._addressed(order).read(order)


def _run(job: Job, worker_id: str, session: str, now: int) -> RunAttempt:
    return RunAttempt(
        worker_id=worker_id,
        session=session,
        pool=POOL,
        job_id=job.job_id,
        user_id=job.user_id,
        run=job.run,
        attempt=job.attempt,
        request=job.request,
        execution_timeout_ms=job.execution_timeout_ms,
        assigned_at=now,
    )


World.TestCase.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestWorld = World.TestCase
