"""The port of dispositions (``schemas/dispositions.py``): what became of dead letters. Writers: operators.

As the other ports (``repo/ports.py``): every method raises ``Unavailable``, every write may be repeated.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from schemas.dispositions import Disposition


class DispositionStore(Protocol):
    """MongoDB; each write is one document."""

    async def dispositions(self, letters: Collection[str]) -> dict[str, Disposition]:
        """Those of these letters that have one, by their place."""
        ...

    async def dispose(self, wanted: Sequence[Disposition], *, over: bool = False) -> set[str]:
        """Store one for each letter that has none (of a letter of that time); the places whose last word it now is.

        ``over``: whatever was said of them before. Of two who dispose of one letter at once, without it, one wins.
        """
        ...

    async def revoke(self, letters: Collection[str], replay_id: str) -> None:
        """Delete what was said of these letters for a replay that is not to be."""
        ...

    async def forget_dispositions(self, before: int) -> int:
        """Delete those of letters from before then (ms), which their topic keeps no more; how many there were."""
        ...
