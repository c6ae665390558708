"""Who a worker is, and how long it waits for what. All times are milliseconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """``session`` is new at each start: orders for another one are not for this process."""

    pool: str
    worker_id: str
    session: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The worker's patience. The defaults suit a supervisor that kills five seconds after SIGTERM."""

    beat_ms: int = 5_000
    # A stop is obeyed at the next denoising step; after this the child is killed.
    stop_grace_ms: int = 10_000
    # The scheduler ends an attempt at its execution timeout; this worker does so a little later, should nobody else.
    overtime_ms: int = 10_000
    # A child says nothing while the interpreter starts; after that its heart beats every second.
    first_word_ms: int = 120_000
    silent_ms: int = 30_000
    # Alive, but no step done: the longest denoising step of the largest video takes well under a minute on a GPU.
    stalled_ms: int = 900_000
    load_stalled_ms: int = 3_600_000
    # After SIGTERM: when a running upload is given up, and when this process ends whatever is not yet acknowledged.
    leave_upload_ms: int = 1_250
    leave_ms: int = 2_500
    restart_ms: int = 1_000
    restart_most_ms: int = 60_000
    defunct_ms: int = 60_000
    deaths_most: int = 5
    # A child that held out this long was not broken from the start.
    proven_ms: int = 600_000
    # Two ticks further apart than this: the whole process stood still, and nobody's silence counts.
    blind_ms: int = 5_000
    progress_ms: int = 250
    preview_ms: int = 1_000
    # How often watchers are told that the attempt still waits.
    waiting_ms: int = 5_000
    # How many attempts of this session are remembered, so that a repeated order runs none of them twice.
    remembered: int = 256
