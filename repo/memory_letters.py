"""The memory twin of ``DispositionStore``."""

from collections.abc import Collection, Sequence

from repo.core.documents import to_document
from repo.ports import Unavailable
from schemas.dispositions import Disposition


class MemoryDispositionStore:
    """Implements ``DispositionStore``. ``away = True`` is an outage."""

    def __init__(self) -> None:
        self.away = False
        self._known: dict[str, Disposition] = {}

    async def dispositions(self, letters: Collection[str]) -> dict[str, Disposition]:
        """See ``DispositionStore.dispositions``."""
        self._check()
        return {letter: self._known[letter] for letter in letters if letter in self._known}

    async def dispose(self, wanted: Sequence[Disposition], *, over: bool = False) -> set[str]:
        """See ``DispositionStore.dispose``."""
        self._check()
        for one in wanted:
            to_document(one, one.letter)
        for one in wanted:
            known = self._known.get(one.letter)
            if over or known is None or known.letter_at != one.letter_at:
                self._known[one.letter] = one
        return {one.letter for one in wanted if self._known[one.letter] == one}

    async def revoke(self, letters: Collection[str], replay_id: str) -> None:
        """See ``DispositionStore.revoke``."""
        self._check()
        for letter in letters:
            if (known := self._known.get(letter)) is not None and known.replay_id == replay_id:
                del self._known[letter]

    async def forget_dispositions(self, before: int) -> int:
        """See ``DispositionStore.forget_dispositions``."""
        self._check()
        old = [one.letter for one in self._known.values() if one.letter_at < before]
        for letter in old:
            del self._known[letter]
        return len(old)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("mongodb", "away")
