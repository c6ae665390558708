"""What each message says of a job, in a few words: never its prompt, its input, or what a worker wrote."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from schemas.audit import AuditEntry
from schemas.codec import Record, type_of
from schemas.commands import (
    AttemptFailed,
    AttemptHandedBack,
    AttemptLost,
    AttemptSucceeded,
    CancelJob,
    DeleteJob,
    JobExpired,
    RetryJob,
    SubmitJob,
)
from schemas.dispatch import AssignmentDeclined, JobMoved, RemoteMoved, RunAttempt, StopAttempt, WorkerBeat
from schemas.events import CommandAnswered, FilesDiscarded, JobEvent
from schemas.instants import to_iso
from schemas.jobs import Job, Output
from schemas.letters import letter_of
from schemas.progress import AttemptPreview, AttemptProgress, QueuePlace, WorkerUpdate


@dataclass(frozen=True, slots=True)
class Said:
    """``sum_of``: of what there are many, told once for all of this name."""

    what: str
    words: str = ""
    attempt: int | None = None
    worker: str | None = None
    sum_of: tuple[object, ...] | None = None


def said_of(message: Any, job_id: str) -> Said | None:
    """What the message says of this job; None where it is about another one after all."""
    if isinstance(message, AuditEntry):
        return _audited(message) if message.target == job_id else None
    of = message.job.job_id if isinstance(message, JobEvent) else getattr(message, "job_id", None)
    if of != job_id:
        return None
    told = _SAYS.get(type(message))
    if told is not None:
        return told(message)
    name = type_of(message).removeprefix("dev.openv.").rsplit(".", 2)[-2]
    return Said(name, "", getattr(message, "attempt", None), getattr(message, "worker_id", None))


def signs_of(record: Record) -> Said:
    """A dead letter's headers: why, and where it lay."""
    letter = letter_of(record.headers)
    what = (record.header("ce_type") or "?").removeprefix("dev.openv.")
    reason = letter.reason or letter.message or "?"
    return Said(what, f"of {letter.origin or letter.topic or '?'}, put aside by {letter.group or '?'}: {reason}")


def _submitted(it: SubmitJob) -> Said:
    on = f", endpoint {it.endpoint}" if it.endpoint else ""
    return Said("submit", f"pool {it.pool}{on}, from {it.origin}; to be recorded by {to_iso(it.append_by)}")


def _answered(it: CommandAnswered) -> Said:
    code = f" ({it.code})" if it.code else ""
    return Said(f"{it.outcome}{code}", f"to {it.command_id}, version {it.version}")


def _became(it: JobEvent) -> Said:
    job = it.job
    parts = [f"version {job.version}", f"run {job.run}", f"try {job.tries} of {job.max_retries + 1}"]
    if job.failure is not None:
        parts.append(f"{job.failure.code}: {job.failure.message}" if job.failure.message else str(job.failure.code))
    if job.refusal is not None:
        parts.append(f"refused: {job.refusal.code}")
    parts.append(_charge(job))
    return Said(str(job.state), ", ".join(parts), job.attempt, job.worker_id)


def _charge(job: Job) -> str:
    paid = f" and {job.charge.credits:g} credits" if job.charge.credits else ""
    return f"{job.charge.seconds:g} s{paid} {job.charge.state}"


def _ended(what: str) -> Callable[[Any], Said]:
    def says(it: Any) -> Said:
        words = ": ".join(filter(None, (str(getattr(it, "code", "")), getattr(it, "message", ""))))
        return Said(what, words or getattr(it, "reason", ""), it.attempt, it.worker_id)

    return says


def _delivered(it: AttemptSucceeded) -> Said:
    return Said("succeeded", _files(it.output), it.attempt, it.worker_id)


def _files(output: Output) -> str:
    files = [one for one in (output.video, output.poster, output.thumbnail) if one is not None]
    kept = f"{len(files)} files, {sum(one.bytes for one in files)} bytes"
    return f"{kept}, kept elsewhere" if output.remote_url else kept


def _moved(it: JobMoved) -> Said:
    return Said("job moved", f"{it.state}, version {it.version}, due {to_iso(it.due_at)}", it.attempt, it.worker_id)


def _beat(it: WorkerBeat) -> Said:
    of = ("beat", it.worker_id, it.session, it.attempt)
    return Said("heartbeat", f"{it.state}, session {it.session}", it.attempt, it.worker_id, of)


def _run(it: RunAttempt) -> Said:
    within = f"within {it.execution_timeout_ms / 1000:g} s"
    return Said("run", f"session {it.session}, run {it.run}, {within}", it.attempt, it.worker_id)


def _progress(it: AttemptProgress) -> Said:
    waits = f", waits for {it.waits_for}" if it.waits_for else ""
    words = f"{it.phase} {it.step}/{it.steps}, {it.fraction:.0%}{waits}"
    return Said("progress", words, it.attempt, it.worker_id, ("progress", it.attempt, it.worker_id))


def _preview(it: AttemptPreview) -> Said:
    words = f"step {it.step}/{it.steps}"
    return Said("preview", words, it.attempt, it.worker_id, ("preview", it.attempt, it.worker_id))


def _place(it: QueuePlace) -> Said:
    return Said("place in the queue", str(it.place), it.attempt, None, ("place", it.attempt))


def _update(it: WorkerUpdate) -> Said:
    words = f"{len(it.value)} characters of its own"
    return Said("update", words, it.attempt, it.worker_id, ("update", it.attempt, it.worker_id))


def _audited(it: AuditEntry) -> Said:
    more = "".join(f"; {name}: {value}" for name, value in (it.detail or {}).items())
    reason = f", because: {it.reason}" if it.reason else ""
    return Said(f"{it.action} {it.stage}", f"{it.actor} by {it.via} from {it.address}{reason}{more}")


_SAYS: Mapping[type, Callable[[Any], Said]] = MappingProxyType(
    {
        SubmitJob: _submitted,
        RetryJob: lambda it: Said("retry", f"of run {it.run}"),
        CancelJob: lambda it: Said("cancel", f"of {f'run {it.run}' if it.run else 'whichever run is active'}"),
        DeleteJob: lambda it: Said("delete", f"if it had ended by {to_iso(it.ended_by)}" if it.ended_by else ""),
        JobExpired: lambda it: Said("expired", f"run {it.run}: {it.code}", it.attempt),
        AttemptSucceeded: _delivered,
        AttemptFailed: _ended("failed"),
        AttemptHandedBack: _ended("handed back"),
        AttemptLost: _ended("lost"),
        CommandAnswered: _answered,
        JobEvent: _became,
        FilesDiscarded: lambda it: Said("files discarded", "", it.attempt, it.worker_id),
        JobMoved: _moved,
        WorkerBeat: _beat,
        AssignmentDeclined: lambda it: Said("declined", it.reason, it.attempt, it.worker_id),
        RunAttempt: _run,
        StopAttempt: lambda it: Said("stop", it.reason, it.attempt, it.worker_id),
        RemoteMoved: lambda it: Said("remote moved", f"call {it.call_id}", it.attempt, it.worker_id),
        AttemptProgress: _progress,
        AttemptPreview: _preview,
        QueuePlace: _place,
        WorkerUpdate: _update,
    }
)
