"""The query of ``GET /v1/videos``."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.api.openai import LIST_DEFAULT, LIST_MAX, job_id_in


@dataclass(frozen=True, slots=True)
class Page:
    """``after``: the job after which it begins."""

    after: str | None
    limit: int
    oldest_first: bool


@dataclass(frozen=True, slots=True)
class BadPage:
    """What is wrong with which parameter."""

    param: str
    words: str


def page_of(query: Mapping[str, str]) -> Page | BadPage:
    """Read the query; parameters that are unknown are ignored."""
    limit = query.get("limit", str(LIST_DEFAULT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 6 and 1 <= int(limit) <= LIST_MAX):
        return BadPage("limit", f"limit must be a whole number from 1 to {LIST_MAX}.")
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        return BadPage("order", "order must be asc or desc.")
    after = job_id_in(query["after"]) if query.get("after") else None
    if after is None and query.get("after"):
        return BadPage("after", "after must be the id of a video of yours.")
    return Page(after, int(limit), order == "asc")
