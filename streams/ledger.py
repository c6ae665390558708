"""The ledger's shell: load what is known, let the core decide, write, announce; in that order, until it holds."""

from collections.abc import Callable
from typing import cast

from repo.clock import now_ms
from repo.core.documents import DamagedDocumentError
from repo.ports import EventLog, JobStore, Unavailable
from schemas.codec import Message, Record
from schemas.commands import AnyCommand, AskUsage, AttemptReport, JobExpired
from schemas.events import CommandAnswered, Outcome
from streams.core.apply import applied
from streams.core.effects import Decision, UserView, WriteAccount
from streams.core.ledger import decide
from streams.core.policy import Policy
from streams.core.recorded import first_recorded
from streams.deadletters import CannotProcess, describe
from streams.metrics import StreamsMetrics
from streams.perform import LEDGER, announce, job_messages, messages_of, write
from streams.tracing import decided
from streams.views import UserViews

LOST_IN_A_ROW = 10


class Ledger:
    """Handles ``openv.commands``. ``clock`` stamps writes; decisions take the record's time, and for a repetition its
    origin's where they ask what its sender can have known (``core/recorded.py``)."""

    def __init__(
        self,
        store: JobStore,
        log: EventLog,
        policy: Policy,
        *,
        clock: Callable[[], int] = now_ms,
        metrics: StreamsMetrics | None = None,
    ) -> None:
        self._store = store
        self._log = log
        self._policy = policy
        self._clock = clock
        self._metrics = metrics or StreamsMetrics()
        self._views = UserViews(store, policy)

    async def handle(self, message: Message, record: Record, generation: int) -> None:
        """See ``Handler.handle``."""
        command = cast("AnyCommand", message)
        try:
            await self._handle(command, record, generation)
        except BaseException as error:
            # What was written, if anything, is not known: the next try reads it.
            self._views.drop(command.user_id)
            if isinstance(error, DamagedDocumentError):
                await self._say_set_aside(command, record)
                if isinstance(command, AskUsage):
                    return  # that was the answer: asked again another time, it needs no redrive
                raise CannotProcess(str(error), error) from error
            if isinstance(error, ValueError):  # the store refuses the document; the error's text may quote it
                raise CannotProcess(f"its document can't be stored: {describe(error)}", error) from error
            raise

    async def _say_set_aside(self, command: AnyCommand, record: Record) -> None:
        """Whoever waits hears why nothing comes of it now. It is only said: the command, sent again once the document
        is mended, is decided as if it had not been. Raises ``Unavailable``."""
        if isinstance(command, AttemptReport | JobExpired):
            return  # nobody waits for these
        job_id = getattr(command, "job_id", None)
        answer = CommandAnswered(
            command_id=command.command_id, user_id=command.user_id, outcome=Outcome.SET_ASIDE, job_id=job_id
        )
        traceparent = record.header("traceparent")
        await announce(self._log, [answer], source=LEDGER, at=record.timestamp, traceparent=traceparent)
        self._metrics.answered(answer)

    async def _handle(self, command: AnyCommand, record: Record, generation: int) -> None:
        traceparent = record.header("traceparent")
        lost, again = 0, False
        while True:
            loaded = await self._views.ready(command, record.timestamp, generation, again=again)
            if loaded.completed:
                said = job_messages(loaded.completed)
                await announce(self._log, said, source=LEDGER, at=record.timestamp)
            decision = self._decide(loaded.view, command, record)
            if not await write(self._store, decision):
                self._views.drop(command.user_id)
                lost, again = lost + 1, False
                if lost >= LOST_IN_A_ROW:
                    raise Unavailable("mongodb", f"another writer was first {lost} times in a row")
                continue
            self._count(loaded.view, decision)
            if _changes_what_counts(decision):
                self._views.drop(command.user_id)
            else:
                self._views.keep(command, applied(loaded.view, decision), record.timestamp)
            said = messages_of(decision)
            await announce(self._log, said, source=LEDGER, at=record.timestamp, traceparent=traceparent)
            decided(command, decision, record.timestamp)
            if decision.answer is not None:
                self._metrics.answered(decision.answer)
            if not decision.again:
                return
            lost, again = 0, True

    def _count(self, before: UserView, decision: Decision) -> None:
        """A document was written: once, however often its command is read."""
        job = decision.write.job if decision.write is not None else None
        if job is not None:
            self._metrics.wrote(before.own(job.job_id), job)

    def _decide(self, view: UserView, command: AnyCommand, record: Record) -> Decision:
        try:
            return decide(view, command, record.timestamp, self._policy, self._clock(), first_recorded(record))
        except Exception as error:
            raise CannotProcess(f"the ledger could not decide: {describe(error)}", error) from error


def _changes_what_counts(decision: Decision) -> bool:
    """A grant or an override may make older jobs count, which were not loaded."""
    return isinstance(decision.write, WriteAccount) and decision.write.job is None
