"""What the admin API answers. Times are RFC 3339 text on the wire; members that are not known are left out."""

from collections.abc import Mapping
from typing import Any

from schemas.audit import AuditEntry
from schemas.endpoints import ServerlessEndpoint
from schemas.instants import Instant
from schemas.shape import shape
from schemas.works import WorkState


@shape
class Problem:
    """Every refusal. ``code`` is for programs; ``details``: which members are wrong, without their values;
    ``missing``: which servers do not answer; ``job``: the job that it could not be done to, as it is; ``requestId``
    names it in the log."""

    error: str
    code: str | None = None
    details: tuple[Mapping[str, str], ...] | None = None
    missing: tuple[str, ...] | None = None
    limit_bytes: int | None = None
    job: Mapping[str, Any] | None = None
    request_id: str | None = None


@shape
class AuditRow:
    """``entry`` is absent where somebody put something into the topic that is none."""

    offset: int
    entry: AuditEntry | None = None


@shape
class AuditPage:
    """Newest first. ``before`` asks for the next page; absent at the end. A page may be short and yet have a next."""

    entries: tuple[AuditRow, ...]
    before: int | None = None


@shape
class PartitionState:
    """``start`` and ``end``: the first offset that is kept, and the next one to be written."""

    partition: int
    start: int
    end: int


@shape
class ReaderLag:
    """How many records a reader has not applied yet, by partition; all of a partition that it never began."""

    reader: str
    behind: int
    by_partition: Mapping[str, int]


@shape
class TopicView:
    """One topic of the table. ``records``: kept ones, as far as offsets tell."""

    name: str
    partitions: tuple[PartitionState, ...]
    records: int
    readers: tuple[ReaderLag, ...]


@shape
class Topics:
    """All of the table."""

    topics: tuple[TopicView, ...]


@shape
class EndpointView:
    """A serverless endpoint, without its secret: ``signedWebhooks`` says whether it has one. ``limitsOf``: whose limits
    hold there, ``endpoint`` or ``deployment``."""

    endpoint: ServerlessEndpoint
    limits_of: str
    signed_webhooks: bool
    active_jobs: int | None = None
    worker_keys: int | None = None


@shape
class Endpoints:
    """Those that can be used, by name. ``before`` and pages are not needed: operators make them by hand."""

    endpoints: tuple[EndpointView, ...]


@shape
class WorkView:
    """A long work. ``result`` when it is done, ``error`` when it failed; ``tries``: how often a process began it. A
    list has neither arguments nor results."""

    work_id: str
    kind: str
    state: WorkState
    asked_by: str
    created_at: Instant
    updated_at: Instant
    tries: int
    arguments: Mapping[str, Any] | None = None
    result: Any = None
    error: str = ""


@shape
class WorksPage:
    """Newest first. ``before`` asks for the next page; absent at the end."""

    works: tuple[WorkView, ...]
    before: str | None = None


Plain = dict[str, Any]  # as the command line's --json shows it


@shape
class JobView:
    """The document, without the address of its webhook."""

    job: Plain


@shape
class JobsPage:
    """Newest first. ``after`` asks for the next page; absent at the end."""

    jobs: tuple[Plain, ...]
    after: str | None = None


@shape
class LifeView:
    """All that is known of one job. ``gaps``: what could not be read, in words."""

    job: Plain
    trace_id: str
    attempts: tuple[Plain, ...]
    timeline: tuple[Plain, ...]
    files: tuple[Plain, ...]
    deliveries: tuple[Plain, ...]
    gaps: tuple[str, ...]


@shape
class Acted:
    """What came of it. ``decided`` false: it is recorded, and carried out when a ledger runs."""

    done: bool
    decided: bool
    words: str
    job: Plain


@shape
class WorkerView:
    """One worker as its newest word has it. ``state``: its own word, or ``silent``, or ``gone``."""

    pool: str
    worker_id: str
    session: str
    kind: str
    state: str
    since: Instant
    heard_at: Instant
    engine: str | None = None
    device: str | None = None
    job_id: str | None = None
    attempt: int | None = None


@shape
class Workers:
    """By pool and id. ``gap``: in words, where not all could be read."""

    workers: tuple[WorkerView, ...]
    gap: str | None = None


@shape
class DrainedView:
    """What came of it. ``told``: the scheduler has passed the order on; ``gone``: the session is over."""

    told: bool
    gone: bool
    words: str
    worker: WorkerView


@shape
class PoolView:
    """One queue. ``oldestAt``: when what waits longest was submitted."""

    pool: str
    waiting: int
    running: int
    workers: Mapping[str, int]
    oldest_at: Instant | None = None


@shape
class Pools:
    """By name."""

    pools: tuple[PoolView, ...]


@shape
class LettersPage:
    """The newest first; ``count``, ``states`` and ``groups`` are of all that are meant. ``waiting``: how many more a
    replay has that is not over, by its id."""

    letters: tuple[Plain, ...]
    count: int
    states: Mapping[str, int]
    waiting: Mapping[str, int]
    by: str
    groups: Mapping[str, int]


@shape
class ReplayPage:
    """The newest first."""

    replays: tuple[Plain, ...]


@shape
class BackupFile:
    """One backup, by its name."""

    name: str
    bytes: int
    created_at: Instant


@shape
class Backups:
    """The newest first."""

    backups: tuple[BackupFile, ...]


@shape
class UserView:
    """``account`` as it is stored; ``standing``: where the user stands, where a ledger answered in time; ``keys``: how
    many are good; ``jobs``: how many there are, by state."""

    account: Plain
    keys: int
    jobs: Mapping[str, int]
    standing: Plain | None = None


@shape
class UsersPage:
    """``after`` asks for the next page; absent at the end. ``damaged``: users whose documents can't be read, and are
    left out; absent where there are none."""

    users: tuple[Plain, ...]
    after: str | None = None
    damaged: tuple[str, ...] | None = None


@shape
class ChangedUser:
    """What came of it. ``decided`` false: it is recorded, and carried out when a ledger runs."""

    user: str
    decided: bool
    words: str
    account: Plain
    standing: Plain | None = None
