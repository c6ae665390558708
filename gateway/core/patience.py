"""When a live connection must show something: a later credential, or that it is still there. All times in ms."""

WARN_MS = 20_000
GRACE_MS = 5_000
UNANSWERED_MAX = 3


def warn_before(life_ms: int) -> int:
    """How long before a credential's end its owner is told: 20 s, or a third of its life if that is less."""
    return min(WARN_MS, max(0, life_ms) // 3)


class Silence:
    """Counts heartbeats that a client left unanswered, once it has shown that it answers them.

    A client that never sent a ``pong`` says nothing by its silence: it may be one that relies on the protocol's pings.
    """

    __slots__ = ("_answers", "_heard", "_unanswered")

    def __init__(self) -> None:
        self._answers = False
        self._heard = False
        self._unanswered = 0

    def heard(self, *, pong: bool) -> None:
        """A message came; ``pong``: it answers a heartbeat."""
        self._heard = True
        self._answers = self._answers or pong

    def beat(self) -> bool:
        """Time for the next heartbeat: whether the client has left too many unanswered."""
        self._unanswered = 0 if self._heard or not self._answers else self._unanswered + 1
        self._heard = False
        return self._unanswered >= UNANSWERED_MAX
