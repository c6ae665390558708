"""The child's life as the worker sees it: absent, loading, up, dying; and when to give up on it or start another."""

from dataclasses import dataclass, replace
from enum import StrEnum

from inference_worker.core.limits import Limits
from inference_worker.messages import FromChild, Heartbeat, Loading


class ChildPhase(StrEnum):
    ABSENT = "absent"
    LOADING = "loading"
    UP = "up"
    DYING = "dying"  # killed, or about to end by itself: its end has not been seen yet


@dataclass(frozen=True, slots=True)
class ChildLife:
    """One child after the other. Times are milliseconds of the worker's clock."""

    start_at: int
    number: int = 0
    phase: ChildPhase = ChildPhase.ABSENT
    spoke: bool = False
    heard_at: int = 0
    moved_at: int = 0  # when a step was last done
    moved: int = 0  # the heartbeats' count of steps
    up_at: int = 0
    deaths: int = 0  # in a row, without a video in between
    excused: bool = False  # it was we who had no further use for it: its end is no sign of a fault
    unloadable: bool = False
    doubted: bool = False  # it failed an attempt and may be ending: not trusted until its heart beats again

    @property
    def here(self) -> bool:
        """Whether there is a process that should be speaking."""
        return self.phase in (ChildPhase.LOADING, ChildPhase.UP)

    def worn_out(self, limits: Limits) -> bool:
        """Whether another start is not expected to help."""
        return self.unloadable or self.deaths >= limits.deaths_most


def started(life: ChildLife, now: int) -> ChildLife:
    return replace(
        life,
        number=life.number + 1,
        phase=ChildPhase.LOADING,
        spoke=False,
        heard_at=now,
        moved_at=now,
        moved=0,
        excused=False,
        doubted=False,
    )


def heard(life: ChildLife, message: FromChild, now: int) -> ChildLife:
    """After any message: it lives. Heartbeats also say whether it gets on."""
    life = replace(life, spoke=True, heard_at=now)
    if isinstance(message, Heartbeat):
        life = replace(life, doubted=False)
        if message.progress == life.moved:
            return life
        return replace(life, moved=message.progress, moved_at=now)
    return replace(life, moved_at=now) if isinstance(message, Loading) else life


def up(life: ChildLife, now: int) -> ChildLife:
    return replace(life, phase=ChildPhase.UP, up_at=now, moved_at=now, unloadable=False)


def gone(life: ChildLife, now: int, limits: Limits) -> ChildLife:
    """After its end: when the next one starts. Each death in a row doubles the delay; a worn-out one waits longest."""
    proven = life.up_at and now - life.up_at >= limits.proven_ms
    deaths = life.deaths if life.excused else 1 if proven else life.deaths + 1
    life = replace(life, phase=ChildPhase.ABSENT, deaths=deaths, up_at=0, doubted=False)
    delay = 0
    if life.worn_out(limits):
        delay = limits.defunct_ms
    elif not life.excused:
        delay = min(limits.restart_most_ms, limits.restart_ms << (deaths - 1))
    return replace(life, start_at=now + delay)


def overdue(life: ChildLife, working: bool, now: int, limits: Limits) -> str | None:
    """Why it must be killed, in words, or None. ``working``: it has an attempt to make."""
    if not life.here:
        return None
    patience = limits.silent_ms if life.spoke else limits.first_word_ms
    if now - life.heard_at >= patience:
        return f"The model's process said nothing for {patience // 1000} s."
    loading = life.phase is ChildPhase.LOADING
    patience = limits.load_stalled_ms if loading else limits.stalled_ms
    if (loading or working) and now - life.moved_at >= patience:
        return f"The model's process lives but did not get on for {patience // 1000} s."
    return None


def excused_silence(life: ChildLife, now: int) -> ChildLife:
    """After this process itself stood still: what the child said meanwhile is yet to be read."""
    return replace(life, heard_at=now, moved_at=now)
