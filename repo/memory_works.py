"""The memory twin of ``WorkStore``."""

from dataclasses import replace

from repo.core.documents import to_document
from repo.ports import Unavailable
from schemas.works import UNFINISHED, Work


class MemoryWorkStore:
    """Implements ``WorkStore``. ``away = True`` is an outage."""

    def __init__(self) -> None:
        self.away = False
        self._works: dict[str, Work] = {}

    async def work(self, work_id: str) -> Work | None:
        """See ``WorkStore.work``."""
        self._check()
        return self._works.get(work_id)

    async def store_work(self, work: Work, expected: int) -> bool:
        """See ``WorkStore.store_work``."""
        if work.version <= expected:
            raise ValueError(f"version {work.version} does not come after {expected}")
        self._check()
        to_document(work, work.work_id)
        stored = self._works.get(work.work_id)
        if (stored.version if stored else 0) != expected:
            return stored == work
        self._works[work.work_id] = work
        return True

    async def works(self, *, limit: int, before: tuple[int, str] | None = None) -> list[Work]:
        """See ``WorkStore.works``."""
        self._check()
        ordered = sorted(self._works.values(), key=_place, reverse=True)
        page = [one for one in ordered if before is None or _place(one) < before][: max(1, limit)]
        return [replace(one, arguments="{}", result=None) for one in page]

    async def unfinished_works(self, limit: int = 100) -> list[Work]:
        """See ``WorkStore.unfinished_works``."""
        self._check()
        return sorted((one for one in self._works.values() if one.state in UNFINISHED), key=_place)[:limit]

    async def forget_works(self, ended_before: int) -> None:
        """See ``WorkStore.forget_works``."""
        self._check()
        for one in list(self._works.values()):
            if one.state not in UNFINISHED and one.updated_at < ended_before:
                del self._works[one.work_id]

    def _check(self) -> None:
        if self.away:
            raise Unavailable("mongodb", "away")


def _place(work: Work) -> tuple[int, str]:
    return work.created_at, work.work_id
