"""What the process says of itself: to the watchdog through the vitals, to its supervisor through ``repo.notify``."""

from collections.abc import Callable, Iterable

from repo import notify
from streams.settings import Role
from streams.vitals import PartitionVitals, Vitals, excuse


class Board:
    """Kept by the event loop. READY is said once: when every role has been assigned its partitions."""

    def __init__(
        self,
        vitals: Vitals,
        *,
        ready: Callable[[str], None] = notify.ready,
        waiting: Callable[[str], None] = notify.waiting,
    ) -> None:
        self._vitals = vitals
        self._ready = ready
        self._waiting = waiting
        self._was_ready = False
        self._said = ""
        self._waiters: dict[Role, dict[object, str]] = {role: {} for role in vitals.roles}

    def now(self) -> float:
        """The vitals' clock: monotonic seconds."""
        return self._vitals.clock()

    def starting(self, status: str) -> None:
        """What the process waits for before it has any partitions."""
        self._say(status)

    def assigned(self, role: Role, partitions: Iterable[int]) -> None:
        """The role belongs to its group and owns these partitions; there may be none to own."""
        now = self._vitals.clock()
        vitals = self._vitals.roles[role]
        vitals.partitions = {number: PartitionVitals(moved_at=now, committed_at=now) for number in partitions}
        vitals.unassigned_since = None
        vitals.assigned_once = True
        self._tell()

    def revoked(self, role: Role) -> None:
        """The role owns nothing for now."""
        vitals = self._vitals.roles[role]
        vitals.partitions = {}
        if vitals.unassigned_since is None:
            vitals.unassigned_since = self._vitals.clock()

    def waits(self, role: Role, who: object, server: str) -> None:
        """Something in the role waits for this server."""
        self._waiters[role][who] = server
        self._vitals.roles[role].waiting_for = server
        self._tell()

    def goes_on(self, role: Role, who: object) -> None:
        """It waits no more."""
        self._waiters[role].pop(who, None)
        self.excuse(role)
        self._vitals.roles[role].waiting_for = next(iter(self._waiters[role].values()), None)
        self._tell()

    def excuse(self, role: Role) -> None:
        """Time spent waiting for a server is no time without progress."""
        excuse(self._vitals.roles[role], self._vitals.clock())

    def _tell(self) -> None:
        roles = self._vitals.roles.values()
        missing = [str(role.role) for role in roles if not role.assigned_once]
        waits = sorted({f"{role.role} waits for {role.waiting_for}" for role in roles if role.waiting_for})
        if missing and not waits:
            self._say(f"waiting for Kafka to assign partitions to {', '.join(missing)}")
        elif waits:
            self._say("; ".join(waits))
        elif not self._was_ready:
            self._was_ready = True
            self._said = ""
            self._ready(self._well())
        else:
            self._say(self._well())

    def _well(self) -> str:
        return f"{', '.join(str(role) for role in self._vitals.roles)} running"

    def _say(self, status: str) -> None:
        if status != self._said:
            self._said = status
            self._waiting(status)
