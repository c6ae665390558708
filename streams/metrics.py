"""What the streams count (``docs/observability.md`` names every metric).

Counted here is what happens; how far each role is, and how the pools are, is read where it is kept, when it is asked
for. A process that dies leaves out what it had not counted: documents and topics are the record, these are the trend.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from repo.clock import now_ms
from repo.core.documents import DamagedDocumentError
from repo.deliveries import Backlog
from repo.metrics import LONG_S, SHORT_S, Known, Read, Sample, show_beat
from schemas.deliveries import DeliveryKind, DeliveryState
from schemas.events import CommandAnswered
from schemas.failures import FailureCode
from schemas.jobs import AttemptEnd, Job
from schemas.topics import ASSIGNMENTS, COMMANDS, DISPATCH, EVENTS, PROGRESS
from streams.core.deliveries import Result
from streams.core.measures import measures_of
from streams.core.pool_state import PoolState
from streams.deadletters import CannotProcess
from streams.pool_metrics import POOLS_MOST, PoolMetrics
from streams.settings import Role
from streams.vitals import PartitionVitals, Vitals

SERVERS = ("kafka", "mongodb", "s3", "s3_fallback")
UNREADABLE, DAMAGED, HANDLER = REASONS = ("unreadable", "damaged_document", "handler")
TOPICS_OF = {
    Role.LEDGER: (COMMANDS,),
    Role.SCHEDULER: (DISPATCH,),
    Role.JANITOR: (EVENTS, ASSIGNMENTS, PROGRESS),
    Role.NOTIFIER: (EVENTS,),
}
OPEN = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})
_OF_PARTITION = ("role", "partition")


class StreamsMetrics:
    """One process's."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """``registry``: the process's; None: one that nobody asks."""
        self.registry = CollectorRegistry(auto_describe=True) if registry is None else registry
        self._pool_named = Known(POOLS_MOST)
        self._read = Read(self.registry)
        self._handling = self._histogram(
            "openv_stream_handling_seconds", "A message, without waits for servers.", SHORT_S, "role", "type"
        )
        self._handling_of: dict[tuple[Role, str], Histogram] = {}
        self._buried = self._counter("openv_dead_letters_total", "Records put aside.", "role", "topic", "reason")
        self._begin_at_zero()
        self._read_back = self._counter("openv_stream_read_back_total", "Records that Faust left behind.", "role")
        self._answers = self._counter("openv_answers_total", "Answers to commands.", "outcome", "code")
        self._admitted = self._counter("openv_jobs_admitted_total", "Runs that were let in.", "pool")
        self._ended = self._counter("openv_jobs_ended_total", "Runs that ended.", "pool", "state", "code")
        self._attempts = self._counter("openv_attempts_total", "Attempts that ended.", "pool", "outcome", "code")
        self._waited = self._histogram("openv_job_wait_seconds", "From due to started.", LONG_S, "pool")
        self._ran = self._histogram("openv_job_run_seconds", "From started to completed.", LONG_S, "pool")
        self._took = self._histogram("openv_job_makespan_seconds", "From submitted to completed.", LONG_S, "pool")
        self._video = self._counter("openv_video_seconds_total", "Seconds of video, by what became of them.", "fate")
        self._tries = self._counter("openv_delivery_tries_total", "Tries to tell somebody.", "kind", "result")
        self._trying = self._histogram("openv_delivery_try_seconds", "One such try.", SHORT_S, "kind")
        self._over = self._counter("openv_deliveries_ended_total", "Deliveries that are over.", "kind", "state")
        self._due = self._gauge("openv_deliveries_due", "Deliveries that are due, up to 10,000.")
        self._oldest_due = self._gauge("openv_deliveries_oldest_due_seconds", "For how long the oldest has been due.")
        self._deleted = Counter("openv_files_deleted_total", "Files deleted by the janitor.", registry=self.registry)

    def _begin_at_zero(self) -> None:
        """A series that begins with 1 has never risen: an alert on its increase would not see the first."""
        for role, topics in TOPICS_OF.items():
            for topic in topics:
                for reason in REASONS:
                    self._buried.labels(role, topic.name, reason)

    def handled(self, role: Role, message_type: str, seconds: float) -> None:
        """A message was applied."""
        handling = self._handling_of.get((role, message_type))
        if handling is None:
            handling = self._handling_of[role, message_type] = self._handling.labels(role, message_type)
        handling.observe(seconds)

    def buried(self, role: Role, topic: str, failure: CannotProcess) -> None:
        """A record went to the dead letters."""
        self._buried.labels(role, topic, reason_class(failure)).inc()

    def read_back(self, role: Role) -> None:
        """A record was applied that Faust had not delivered."""
        self._read_back.labels(role).inc()

    def answered(self, answer: CommandAnswered) -> None:
        """The ledger said this of a command."""
        self._answers.labels(answer.outcome, answer.code or "").inc()

    def wrote(self, before: Job | None, after: Job) -> None:
        """The ledger replaced a job's document."""
        measures, pool = measures_of(before, after), self._pool_named(after.pool)
        if measures.admitted:
            self._admitted.labels(pool).inc()
            self._attempts.labels(pool, AttemptEnd.LOST, FailureCode.WORKER_LOST)  # from zero
        if measures.ended is not None:
            self._ended.labels(pool, *measures.ended).inc()
        for outcome, code in measures.attempts:
            self._attempts.labels(pool, outcome, code).inc()
        for histogram, ms in ((self._waited, measures.waited), (self._ran, measures.ran), (self._took, measures.took)):
            if ms is not None:
                histogram.labels(pool).observe(ms / 1000)
        for fate in ("reserved", "charged", "refunded"):
            if seconds := getattr(measures, fate):
                self._video.labels(fate).inc(seconds)

    def tried(self, kind: DeliveryKind, result: Result, state: DeliveryState) -> None:
        """A courier tried to tell somebody, and where that left the delivery."""
        said = "put_off" if result.put_off else "succeeded" if result.succeeded else "failed"
        self._tries.labels(kind, said).inc()
        if not result.put_off:
            self._trying.labels(kind).observe(result.duration_ms / 1000)
        if state not in OPEN:
            self._over.labels(kind, state).inc()

    def cancelled(self, kind: DeliveryKind) -> None:
        """A courier found that it is not to be sent any more."""
        self._over.labels(kind, DeliveryState.CANCELLED).inc()

    def backlog(self, found: Backlog, now: int) -> None:
        """So much was due at this time (ms)."""
        self._due.set(found.due)
        self._oldest_due.set(0.0 if found.oldest is None else max(0, now - found.oldest) / 1000)

    def files_deleted(self, count: int) -> None:
        """The janitor deleted so many."""
        self._deleted.inc(count)

    def watch(self, vitals: Vitals) -> None:
        """Show how the process's roles are. Once."""

        def each(number: Callable[[PartitionVitals], float]) -> Callable[[], Iterator[Sample]]:
            return lambda: (
                ((str(role), str(partition)), number(seen))
                for role, of in list(vitals.roles.items())
                for partition, seen in list(of.partitions.items())
            )

        gauge = self._read.gauge
        gauge("openv_stream_lag_records", "Records that wait to be applied.", each(lambda p: p.lag), _OF_PARTITION)
        gauge("openv_stream_applied_offset", "The last record applied.", each(lambda p: p.applied), _OF_PARTITION)
        gauge(
            "openv_stream_moved_age_seconds",
            "Since a record was applied, or since there was none to apply.",
            each(lambda p: vitals.clock() - p.moved_at if p.lag else 0.0),
            _OF_PARTITION,
        )
        gauge(
            "openv_stream_commit_age_seconds",
            "Since an offset was stored, while some are not.",
            each(lambda p: vitals.clock() - p.committed_at if p.uncommitted else 0.0),
            _OF_PARTITION,
        )
        gauge(
            "openv_stream_unassigned_seconds",
            "Since when a role has not been told its partitions; 0: it has.",
            lambda: [
                ((str(role),), vitals.clock() - of.unassigned_since if of.unassigned_since is not None else 0.0)
                for role, of in list(vitals.roles.items())
            ],
            ("role",),
        )
        gauge(
            "openv_stream_waiting_for_server",
            "1: the role waits for this server.",
            lambda: [
                ((str(role), server), float(of.waiting_for == server))
                for role, of in list(vitals.roles.items())
                for server in SERVERS
            ],
            ("role", "server"),
        )
        show_beat(self.registry, lambda: max(0.0, vitals.clock() - vitals.loop_beat))

    def watch_pools(self, states: Callable[[], list[PoolState]]) -> None:
        """Show the pools that this process schedules. Once."""
        self.registry.register(PoolMetrics(states, now_ms))

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(name, words, labels, registry=self.registry)

    def _gauge(self, name: str, words: str) -> Gauge:
        return Gauge(name, words, registry=self.registry)

    def _histogram(self, name: str, words: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, words, labels, buckets=buckets, registry=self.registry)


def reason_class(failure: CannotProcess) -> str:
    """Which sort of failure it was; its words are for the log."""
    match failure.cause:
        case None:
            return UNREADABLE
        case DamagedDocumentError():
            return DAMAGED
        case _:
            return HANDLER
