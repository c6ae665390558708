"""What is said to the scheduler of the slots of SDK workers, and how an order is declined."""

from collections.abc import Callable

from gateway.core.handouts import HandOuts
from gateway.workers.outbox import Outbox
from schemas.dispatch import AssignmentDeclined, RunAttempt, WorkerBeat, WorkerGone, WorkerKind, WorkerState
from schemas.slots import Slot

ENGINE = "runpod-sdk"


class Words:
    """One a process; every word of a slot has its next sequence."""

    def __init__(self, outbox: Outbox, handed: HandOuts, now: Callable[[], int]) -> None:
        self._outbox = outbox
        self._handed = handed
        self.now = now

    def ready(self, slot: Slot, pool: str, sequence: int, name: str) -> None:
        """It asks for a job; ``name`` stays the same for as long as it was given nothing."""
        self._beat(slot, pool, sequence, WorkerState.READY, name)

    def away(self, slot: Slot, pool: str, sequence: int) -> None:
        """It asks for nothing."""
        self._beat(slot, pool, sequence, WorkerState.DEFUNCT, None)

    def gone(self, slot: Slot, pool: str, sequence: int) -> None:
        """Nobody will ever wait in it again: its gateway ends."""
        self._outbox.say(
            WorkerGone(pool=pool, worker_id=slot.worker_id, session=slot.gateway, sequence=sequence),
        )

    def decline(self, slot: Slot, order: RunAttempt, sequence: int) -> None:
        """It was not handed over, and never will be."""
        self._handed.drop(slot.endpoint_id, slot.pod_id, order.job_id)
        self._outbox.say(
            AssignmentDeclined(
                pool=order.pool,
                worker_id=slot.worker_id,
                session=slot.gateway,
                sequence=sequence,
                job_id=order.job_id,
                attempt=order.attempt,
                reason="its poll was over",
            )
        )

    def _beat(self, slot: Slot, pool: str, sequence: int, state: WorkerState, name: str | None) -> None:
        self._outbox.say(
            WorkerBeat(
                pool=pool,
                worker_id=slot.worker_id,
                session=slot.gateway,
                sequence=sequence,
                state=state,
                kind=WorkerKind.SDK,
                poll_id=name,
                engine=ENGINE,
            )
        )
