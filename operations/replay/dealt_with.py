"""Which letters of a replay's scope operators have dealt with: a replay leaves those as they are.

Where the source is the dead letters, one that was discarded is not written, whatever the target. The dry run counts it
under a reason of its own; so what it finds is what is written, less what became of letters since:

- One that was discarded since the dry run is left out, too.
- Where letters go back to be processed, so is one that was edited or redriven since by somebody else. Among them may be
  one that was discarded when the dry run looked, and that must not be written because it is no longer: the dry run has
  not shown it. What this replay has noted itself is no reason: who goes on writes what was noted and not sent.

It is looked at just before a bundle is sent, so a word that comes in that moment is too late. Letters that were chosen
one by one are none of this: a redrive has claims on them, and whoever names a letter means it in spite of its fate.
"""

from collections.abc import Sequence

from operations.core.replay_records import Readable, Rules
from operations.core.replay_scope import Asked
from repo.letters import DispositionStore
from schemas.dispositions import Disposition, Fate
from schemas.topics import DEADLETTER

DISCARDED = "it was discarded"
SINCE = "it was edited or redriven since the dry run"


class DealtWith:
    """What operators said of letters, asked for many at once."""

    def __init__(self, store: DispositionStore, rules: Rules, since: int | None) -> None:
        """``since``: when (ms) the dry run was; None: this is it."""
        self._store = store
        self._replay_id = rules.replay_id
        self._since = since if rules.redrives else None

    async def reasons(self, partition: int, letters: Sequence[Readable]) -> list[str | None]:
        """Of each of these letters of a partition why it is left as it is, or None. Raises ``Unavailable``."""
        places = [f"{partition}:{one.offset}" for one in letters]
        known = await self._store.dispositions(places)
        return [self._reason(known.get(at), one.timestamp) for at, one in zip(places, letters, strict=True)]

    def _reason(self, word: Disposition | None, letter_at: int) -> str | None:
        if word is None or word.letter_at != letter_at:  # or it is about a topic that was made anew since
            return None
        if word.fate is Fate.DISCARDED:
            return DISCARDED
        is_since = self._since is not None and word.at >= self._since and word.replay_id != self._replay_id
        return SINCE if is_since else None


def dealt_with(store: DispositionStore, asked: Asked, rules: Rules, since: int | None = None) -> DealtWith | None:
    """None where nothing of the scope is to be asked for. ``since``: as ``DealtWith`` has it."""
    is_by_scope = asked.source == DEADLETTER.name and asked.chosen is None
    return DealtWith(store, rules, since) if is_by_scope else None
